"""SIGKILL at any moment.

What was committed stays, nothing is half there, and the same command ends the work.
"""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from faults.harness import (
    COMMANDS,
    assert_whole,
    begin,
    committed,
    end,
    execute,
    games_recorded,
    make_undone,
    result_sha256,
    run_of,
    saved_seconds,
    wait_for_checkpoint,
    without_leftovers,
)

from corrtool.project.artifacts import artifact_names, read_artifact
from corrtool.runs.metrics import read_metrics

REPEATABLE = (
    "train-model",
    "learn-corr",
)  # no emulator's state, which cannot be saved, enters their weights
DEATHS = {"collect": (700, 1900), "train-dqn": (800, 1400), "finetune": (300, 600)}


def kill_and_finish(lab: Path, stage: str, kills: int, seed: int) -> None:
    """Kill a stage ``kills`` times at random moments of its life, and let it end.

    A run that is over too early begins anew. Every second kill comes some time after a new
    checkpoint, the others some time after the start of the process.
    """
    moments = random.Random(f"{stage} {seed}")
    began = time.monotonic()
    there, seconds, killed, working, over = committed(lab), 0.0, 0, 0, 0
    while killed < kills:
        process = begin(lab, stage)
        if killed % 2:
            wait_for_checkpoint(process, lab, stage)
        time.sleep(moments.uniform(0.0, 2.0))
        process.send_signal(signal.SIGKILL)
        outcome = end(process)
        assert outcome.code in (0, -signal.SIGKILL), outcome.err
        assert_whole(lab)
        now = committed(lab)
        assert there.items() <= now.items()
        there = now
        if outcome.code == 0:
            without_leftovers(lab)
            make_undone(lab, stage)
            there, seconds, over = committed(lab), 0.0, over + 1
            continue
        reached = saved_seconds(lab, stage)
        assert reached >= seconds or f"{stage} is done" in outcome.err
        killed, working, seconds = killed + 1, working + (reached > seconds), reached
    outcome = execute(lab, stage)
    assert outcome.code == 0, outcome.err
    assert_whole(lab)
    without_leftovers(lab)
    assert there.items() <= committed(lab).items()
    took = time.monotonic() - began
    print(
        f"{stage}: {killed} kills ({working} after new checkpoints), "
        f"{1 + over} runs ended, {took:.0f} s"
    )


def test_a_killed_stage_loses_nothing_and_ends(pong_copy: Path) -> None:
    kill_and_finish(pong_copy, "collect", kills=1, seed=0)


@pytest.mark.faults_full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("stage", COMMANDS)
def test_200_kills_lose_nothing(pong_copy: Path, stage: str, seed: int) -> None:
    whole = (
        shutil.copytree(pong_copy, pong_copy.with_name("whole")) if stage in REPEATABLE else None
    )
    kill_and_finish(pong_copy, stage, kills=8, seed=1 + seed)
    if whole is not None:
        assert execute(whole, stage, save_seconds=1e9).code == 0
        assert result_sha256(pong_copy, stage) == result_sha256(whole, stage)


@pytest.mark.parametrize(
    "stage", [pytest.param("train-model", marks=pytest.mark.faults_full), "learn-corr"]
)
def test_weights_and_metrics_after_a_kill_are_those_of_an_unbroken_run(
    pong_copy: Path, stage: str
) -> None:
    whole = shutil.copytree(pong_copy, pong_copy.with_name("whole"))
    short = ("--gradient-steps", "12")
    assert execute(whole, stage, *short, save_seconds=1e9).code == 0
    assert execute(pong_copy, stage, *short, die_at=7).code == -signal.SIGKILL
    assert execute(pong_copy, stage, *short).code == 0
    assert result_sha256(pong_copy, stage) == result_sha256(whole, stage)
    assert read_metrics(run_of(pong_copy, stage) / "metrics.jsonl") == read_metrics(
        run_of(whole, stage) / "metrics.jsonl"
    )


def test_a_killed_collect_writes_exactly_its_records(pong_copy: Path) -> None:
    short = ("--records", "900")
    assert execute(pong_copy, "collect", *short, die_at=500).code == -signal.SIGKILL
    assert "hit-memory" not in artifact_names(pong_copy, "memory")
    assert execute(pong_copy, "collect", *short).code == 0
    manifest = read_artifact(pong_copy, "memory", "hit-memory").manifest
    assert manifest["records"] == 900 and manifest["resumptions"] == 1
    assert_whole(pong_copy)


def test_a_killed_dqn_goes_on_with_its_memory_and_counters(pong_copy: Path) -> None:
    few = ("--env-steps-per-update", "200", "--random-records", "40")
    assert execute(pong_copy, "train-dqn", *few, die_at=1100).code == -signal.SIGKILL
    journal = run_of(pong_copy, "train-dqn") / "journal"
    assert list(journal.glob("*.zarr"))
    assert execute(pong_copy, "train-dqn", *few).code == 0
    events = read_metrics(run_of(pong_copy, "train-dqn") / "metrics.jsonl")
    steps = [event["env_steps"] for event in events if event["event"] == "progress"]
    assert steps == [1000, 2000]
    assert not journal.exists()
    assert_whole(pong_copy)


@pytest.mark.faults_full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stage", DEATHS)
def test_two_runs_with_the_same_interruptions_are_equal(pong_copy: Path, stage: str) -> None:
    twin = shutil.copytree(pong_copy, pong_copy.with_name("twin"))
    for lab in (pong_copy, twin):
        for place in DEATHS[stage]:
            assert execute(lab, stage, save_seconds=1e9, die_at=place).code == -signal.SIGKILL
        assert execute(lab, stage, save_seconds=1e9).code == 0
        games = games_recorded(lab, stage)
        assert games == list(range(1, len(games) + 1))
    assert result_sha256(pong_copy, stage) == result_sha256(twin, stage)
