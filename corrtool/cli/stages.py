"""The six stage commands together, for the commands that run several of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from corrtool.cli import collect, evaluate, finetune, learn_corr, train_dqn, train_model
from corrtool.errors import UsageError

_LINES = {
    "train-dqn": train_dqn.lines,
    "collect": collect.lines,
    "train-model": train_model.lines,
    "learn-corr": learn_corr.lines,
    "evaluate": evaluate.lines,
    "finetune": finetune.lines,
}


@contextmanager
def in_another_directory(flag: str) -> Iterator[None]:
    """Where a stage says "choose another --name, or --overwrite it", which these commands do not have, says ``flag``."""
    try:
        yield
    except UsageError as error:
        if "--overwrite" not in error.hint:
            raise
        raise UsageError(error.message, f"give another {flag}, or settle it with the stage's own command") from None


def stage_lines(stage: str, result: dict[str, Any]) -> list[str]:
    """A stage's result for people, as its own command prints it."""
    return _LINES[stage](result)
