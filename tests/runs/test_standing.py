"""Where a run stands, by its record, its checkpoint and its lock."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from corrtool.errors import ArtifactError
from corrtool.files.atomic import write_atomic
from corrtool.files.sealed import seal_json
from corrtool.project.locks import lock_artifacts
from corrtool.runs.standing import RECENT_SECONDS, equal_runs, standing_of

MADE = [["corr", "c"], ["corr", "c-last"]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The directory of the run `learn-corr c`."""
    (tmp_path / "runs" / ".locks").mkdir(parents=True)
    directory = tmp_path / "runs" / "learn-corr" / "c"
    directory.mkdir(parents=True)
    return directory


def record(directory: Path, state: str, fingerprint: str = "f", **more: Any) -> None:
    value: dict[str, Any] = {
        **dict.fromkeys(("stage", "command", "created"), "x"),
        **{part: {} for part in ("settings", "tasks", "parents", "machine", "identity", "result")},
        "name": directory.name,
        "seed": 0,
        "locks": [],
        "artifacts": [],
        "state": state,
        "fingerprint": fingerprint,
        **more,
    }
    write_atomic(directory / "run.json", seal_json(value))


def state(run: Path, fingerprint: str = "f") -> str:
    return standing_of(run.parents[2], "learn-corr", "c", fingerprint, MADE).state


def publish(run: Path) -> None:
    for _, name in MADE:
        write_atomic(run.parents[2] / "weights" / "corr" / f"{name}.safetensors", b"")


def held_by(run: Path, holder: str) -> None:
    (run.parents[1] / ".locks" / "corr-c.holder").write_text(holder)


def test_nothing_is_there(run: Path) -> None:
    assert state(run) == "missing"
    run.rmdir()
    assert state(run) == "missing"


def test_finished(run: Path) -> None:
    record(run, "finished")
    assert state(run) == "missing"  # what it made is gone
    publish(run)
    assert state(run) == "done" and state(run, "g") == "other"


def test_begun(run: Path) -> None:
    record(run, "running")
    assert state(run) == "missing"  # it had nothing to lose
    assert state(run, "g") == "missing"  # so that it does not claim the name
    (run / "checkpoint.safetensors").touch()
    standing = standing_of(run.parents[2], "learn-corr", "c", "f", MADE)
    assert standing.state == "interrupted" and state(run, "g") == "other"
    assert standing.saved_seconds_ago is not None and standing.saved_seconds_ago < 60


def test_under_way_on_this_machine(run: Path) -> None:
    record(run, "running")
    with lock_artifacts(run.parents[2], [("corr", "c"), ("corr", "c-last")]):
        standing = standing_of(run.parents[2], "learn-corr", "c", "f", MADE)
        assert standing.state == "running"
        assert standing.holder == f"process {os.getpid()} on {socket.gethostname()}"
    assert state(run) == "missing"
    held_by(run, f"process {os.getpid()} on {socket.gethostname()}")
    assert state(run) == "missing"  # it was killed: the lock is free


def test_under_way_on_another_machine(run: Path) -> None:
    record(run, "running")
    held_by(run, "process 1 on elsewhere")
    assert state(run) == "running"
    long_ago = time.time() - RECENT_SECONDS - 1
    os.utime(run / "run.json", (long_ago, long_ago))
    assert state(run) == "missing"
    (run / "checkpoint.safetensors").touch()
    assert state(run) == "running"
    os.utime(run / "checkpoint.safetensors", (long_ago, long_ago))
    assert state(run) == "interrupted"


def test_a_damaged_record(run: Path) -> None:
    (run / "run.json").write_text("{}")
    with pytest.raises(ArtifactError, match="is damaged"):
        state(run)
    assert equal_runs([run]) == {}


def test_runs_by_what_they_were_asked_for(run: Path) -> None:
    other = run.with_name("d")
    record(run, "finished", "f")
    record(other, "running", "g")
    assert equal_runs([run, other]) == {"f": "c", "g": "d"}
