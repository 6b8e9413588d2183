"""Two processes on one artifact: the second is told who writes it; a dead writer blocks nobody."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from faults.harness import COMMANDS, assert_whole, begin, end, execute, wait_until_it_works


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param(stage, marks=[] if stage == "train-model" else pytest.mark.faults_full)
        for stage in COMMANDS
    ],
)
def test_the_second_exits_and_names_the_first_which_blocks_nobody_once_killed(
    pong_copy: Path, stage: str
) -> None:
    first = begin(pong_copy, stage, save_seconds=0.1)
    wait_until_it_works(first, pong_copy, stage)
    first.send_signal(signal.SIGSTOP)  # or it may end before the second has imported torch
    second = execute(pong_copy, stage)
    assert second.code == 5, second.err
    assert f"process {first.pid}" in second.err and second.err.count("\n") == 1
    assert execute(pong_copy, stage, "--dry-run").code == 5
    first.send_signal(signal.SIGKILL)
    end(first)
    assert execute(pong_copy, stage).code == 0
    assert_whole(pong_copy)
