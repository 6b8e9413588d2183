"""Signals, as batch systems and people send them.

A run is saved at its next step and has the documented exit code; a second signal ends at once.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from faults.harness import COMMANDS, assert_whole, begin, end, execute, run_of, wait_until_it_works

CODES = {
    signal.SIGTERM: 143,
    signal.SIGINT: 130,
    signal.SIGUSR1: 143,
    signal.SIGUSR2: 143,
    signal.SIGHUP: 143,
}


def interrupt_and_finish(lab: Path, stage: str, number: signal.Signals) -> None:
    process = begin(lab, stage)
    wait_until_it_works(process, lab, stage)
    process.send_signal(number)
    outcome = end(process)
    assert outcome.code == CODES[number], outcome.err
    assert re.search(
        rf"resumable: [\d,]+ of [\d,]+ [a-z ]+ are saved in runs/{stage}/",
        outcome.err.splitlines()[-1],
    )
    assert_whole(lab)
    assert execute(lab, stage).code == 0
    assert not (run_of(lab, stage) / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(("stage", "number"), [("collect", signal.SIGUSR1)])
def test_a_signal_saves_and_says_that_the_run_is_resumable(
    pong_copy: Path, stage: str, number: signal.Signals
) -> None:
    interrupt_and_finish(pong_copy, stage, number)


@pytest.mark.faults_full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("stage", COMMANDS)
def test_every_signal_in_every_stage(pong_copy: Path, stage: str, number: signal.Signals) -> None:
    interrupt_and_finish(pong_copy, stage, number)


@pytest.mark.parametrize(
    "stage",
    [pytest.param(stage, marks=pytest.mark.faults_full) for stage in COMMANDS] + ["train-model"],
)
def test_a_second_signal_ends_at_once_and_harms_nothing(pong_copy: Path, stage: str) -> None:
    process = begin(pong_copy, stage)
    wait_until_it_works(process, pong_copy, stage)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    outcome = end(process, timeout=30)
    assert outcome.code == 143
    assert "interrupted" in outcome.err.splitlines()[-1]
    assert_whole(pong_copy)
    assert execute(pong_copy, stage).code == 0
