"""No stage leaves a person without an answer.

A signal has one within two seconds, and stderr says something every ten.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import run_in_process

TOOL = Path(__file__).parents[1] / "support" / "attention.py"
TINY = ("--preset", "tiny", "--device", "cpu")


def stretches(*arguments: object) -> dict[str, float]:
    """What ``tests/support/attention.py`` measured, in seconds."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(TOOL), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return {
        what: float(seconds)
        for seconds, what in re.findall(r"^ *([\d.]+) s (.*), from", done.stdout, re.M)
    }


@pytest.mark.timeout(600)
def test_the_stages_answer(cartpole: Callable[..., Path]) -> None:
    lab = cartpole()
    for stage in ("train-dqn", "collect", "train-model"):
        assert run_in_process(stage, "-p", lab, *TINY, "--quiet") == 0
    for stage in ("learn-corr", "evaluate"):
        longest = stretches(stage, "-p", lab, *TINY)
        assert longest.keys() == {"without a handler", "without a poll in a loop", "without a line"}
        assert longest["without a handler"] < 2 and longest["without a poll in a loop"] < 2
        assert longest["without a line"] < 10
