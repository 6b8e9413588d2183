"""A disk that is full, read-only or taken away.

One line says so, what was there stays, and the work ends once there is room.
"""

from __future__ import annotations

import functools
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.harness import (
    COMMANDS,
    assert_whole,
    begin,
    committed,
    end,
    execute,
    wait_until_it_works,
)

LIMITS = (
    0,
    1_000,
    20_000,
    150_000,
    1_000_000,
)  # bytes a file may have: a record, metrics, small and large weights, checkpoints


def no_larger_files(limit: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python has it when it starts
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def fails_without_harm(lab: Path, stage: str, limit: int, *more: str) -> bool:
    """Whether a stage fails where no file may grow beyond ``limit`` bytes.

    It fails in one line, and nothing is lost.
    """
    there = committed(lab)
    outcome = execute(
        lab, stage, "--quiet", *more, before=functools.partial(no_larger_files, limit)
    )
    assert there.items() <= committed(lab).items()
    assert_whole(lab)
    if outcome.code == 0:
        return False
    assert (
        outcome.code == 1 and outcome.err.startswith("corrtool: ") and outcome.err.count("\n") == 1
    ), outcome.err
    assert "File too large" in outcome.err and "unexpected" not in outcome.err
    return True


@pytest.mark.parametrize(("stage", "limit"), [("train-model", 20_000)])
def test_a_full_disk_loses_nothing(pong_copy: Path, stage: str, limit: int) -> None:
    short = ("--gradient-steps", "10")
    assert fails_without_harm(pong_copy, stage, limit, *short)
    assert execute(pong_copy, stage, *short).code == 0


@pytest.mark.faults_full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("stage", COMMANDS)
def test_a_full_disk_at_every_kind_of_write(pong_copy: Path, stage: str) -> None:
    failed = [fails_without_harm(pong_copy, stage, limit) for limit in LIMITS]
    assert failed[0] and failed == sorted(failed, reverse=True)
    assert execute(pong_copy, stage).code == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; making one takes root."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], capture_output=True
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.faults_full
@pytest.mark.parametrize("stage", COMMANDS)
def test_a_file_system_without_room(pong_copy: Path, small_disk: Path, stage: str) -> None:
    lab = shutil.copytree(pong_copy, small_disk / "lab")
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
    there = committed(lab)
    outcome = execute(lab, stage, "--quiet")
    assert outcome.code == 1 and "No space left" in outcome.err and outcome.err.count("\n") == 1, (
        outcome.err
    )
    assert committed(lab) == there
    filler.unlink()
    assert execute(lab, stage).code == 0
    assert_whole(lab)


@pytest.mark.faults_full
@pytest.mark.parametrize("stage", COMMANDS)
def test_a_read_only_file_system(pong_copy: Path, small_disk: Path, stage: str) -> None:
    lab = shutil.copytree(pong_copy, small_disk / "lab")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    outcome = execute(lab, stage, "--quiet")
    assert (
        outcome.code == 1
        and "Read-only file system" in outcome.err
        and outcome.err.count("\n") == 1
    ), outcome.err
    assert_whole(lab)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert execute(lab, stage).code == 0


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param(stage, marks=[] if stage == "collect" else pytest.mark.faults_full)
        for stage in COMMANDS
    ],
)
def test_a_project_that_is_removed_under_a_running_stage(pong_copy: Path, stage: str) -> None:
    process = begin(pong_copy, stage, "--quiet", save_seconds=0.1)
    wait_until_it_works(process, pong_copy, stage)
    process.send_signal(signal.SIGSTOP)
    shutil.rmtree(pong_copy)
    process.send_signal(signal.SIGCONT)
    outcome = end(process)
    assert outcome.code in (1, 3), outcome.err
    assert outcome.err.count("\n") == 1 and "unexpected" not in outcome.err, outcome.err
