"""The settings of every stage that trains: how its networks are computed, and how long."""

from __future__ import annotations

from typing import Any

from corrtool.settings.base import setting


def precision_setting() -> Any:
    """``--precision``."""
    return setting(
        "float32",
        "numbers that the networks compute with while they learn; weights and losses are float32 "
        "all the same. 'auto' is bf16 where the device has instructions for it",
    )


def compile_setting() -> Any:
    """``--compile/--no-compile``."""
    return setting(
        False,
        "compile the networks and their losses with torch.compile: half a minute or more at each "
        "start, for shorter steps; CUDA graphs on a GPU",
    )


def max_minutes_setting() -> Any:
    """``--max-minutes``."""
    return setting(
        None,
        "minutes of this run after which learning ends as if it were through: what was learnt is "
        "tested, kept and told; the minutes before a resumption count",
        above=0,
    )
