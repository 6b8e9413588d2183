"""``--keep-checkpoints``: how many there are, and which one a run goes on from.

That is an older one where a newer is damaged.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from faults.harness import assert_whole, begin, end, execute, run_of, verified, without_leftovers


def checkpoints(lab: Path, stage: str) -> list[str]:
    return sorted(path.name for path in run_of(lab, stage).glob("checkpoint*.safetensors"))


def stopped_with_three(lab: Path, stage: str) -> None:
    """End a stage with SIGTERM when it has three checkpoints."""
    process = begin(lab, stage, "--keep-checkpoints", "3", save_seconds=0.1)
    while len(checkpoints(lab, stage)) < 3:
        assert process.poll() is None, end(process)
    process.send_signal(signal.SIGTERM)
    assert end(process).code == 143
    assert checkpoints(lab, stage) == [
        "checkpoint-1.safetensors",
        "checkpoint-2.safetensors",
        "checkpoint.safetensors",
    ]
    assert_whole(lab)


@pytest.mark.parametrize(
    "stage", ["train-model", pytest.param("train-dqn", marks=pytest.mark.faults_full)]
)
def test_a_run_goes_on_from_an_older_checkpoint(pong_copy: Path, stage: str) -> None:
    stopped_with_three(pong_copy, stage)
    run = run_of(pong_copy, stage)
    whole = {path: path.read_bytes() for path in run.glob("checkpoint*.safetensors")}
    for path, content in whole.items():
        path.write_bytes(content[:-1])
    assert verified(pong_copy) == 3
    outcome = execute(pong_copy, stage)
    assert outcome.code == 3 and "checkpoint.safetensors is damaged" in outcome.err
    for path in (run / "checkpoint-1.safetensors", run / "checkpoint-2.safetensors"):
        path.write_bytes(whole[path])
    outcome = execute(pong_copy, stage, "--keep-checkpoints", "3")
    assert outcome.code == 0
    assert (
        "checkpoint.safetensors is damaged; resuming from checkpoint-1.safetensors, which is older"
        in outcome.err
    )
    without_leftovers(pong_copy)
    assert_whole(pong_copy)


@pytest.mark.faults_full
def test_one_is_kept_unless_more_are_asked_for(pong_copy: Path) -> None:
    process = begin(pong_copy, "train-model", save_seconds=0.1)
    most = 0
    while process.poll() is None:
        most = max(most, len(checkpoints(pong_copy, "train-model")))
    assert end(process).code == 0
    assert most == 1
