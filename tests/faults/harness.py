"""Real subcommands on real Pong as processes, which a test interferes with.

It looks at what they leave.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from faults.victim import live
from support.commands import Outcome, run_in_process

from corrtool.project.artifacts import (
    KINDS,
    artifact_names,
    artifact_path,
    artifact_problems,
    read_artifact,
)
from corrtool.project.directory import Project
from corrtool.runs.checkpoints import load_checkpoint
from corrtool.runs.overview import damaged_runs

# A few seconds each, of which several checkpoints take their part; every one makes what no other
# one makes.
COMMANDS: dict[str, tuple[str, ...]] = {
    "collect": ("collect", "--records", "3000", "--name", "hit-memory"),
    "train-dqn": ("train-dqn", "--env-steps", "2000", "--env-steps-per-update", "40",
                  "--name", "hit-q"),
    "train-model": ("train-model", "--gradient-steps", "60", "--name", "hit-model"),
    "learn-corr": ("learn-corr", "--gradient-steps", "40", "--eval-games", "0", "--lambda-q", "1",
                   "--name", "hit-corr"),
    "finetune": ("finetune", "--env-steps", "800", "--env-steps-per-update", "40",
                 "--name", "hit-finetuned"),
}  # fmt: skip
INPUTS = {  # named, or what one victim makes would be the newest input of the next
    "collect": (),
    "train-dqn": (),
    "train-model": ("--memory", "source-dqn"),
    "learn-corr": ("--q", "source-dqn", "--model", "source-dqn",
                   "--source-memory", "source-dqn", "--target-memory", "target-random"),
    "finetune": ("--q", "source-dqn", "--corr", "resnet-cyc1-q1-m1"),
}  # fmt: skip
MAKES = {
    "collect": "memory",
    "train-dqn": "q",
    "train-model": "model",
    "learn-corr": "corr",
    "finetune": "q",
}


_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    [
        "corrtool.cli",
        *(f"corrtool.stages.{stage.replace('-', '_')}" for stage in COMMANDS),
    ]
)
_READERS = ThreadPoolExecutor()


class Victim:
    """A stage as a process."""

    def __init__(self, arguments: list[str], **how: Any) -> None:
        readers, writers = zip(
            *(_PROCESSES.Pipe(duplex=False) for _ in ("out", "err")), strict=True
        )
        self._process = _PROCESSES.Process(target=live, args=(arguments, *writers), kwargs=how)
        self._process.start()
        for writer in writers:
            writer.close()
        self._streams = [_READERS.submit(_read, reader) for reader in readers]

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code, the negative of the signal that ended it, or None while it lives."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """As :meth:`subprocess.Popen.send_signal`."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def end(self, timeout: float) -> Outcome:
        """Waits until it has ended."""
        self._process.join(timeout)
        code = self.poll()
        assert code is not None, f"it still lives after {timeout} s"
        return Outcome(code, *(stream.result(timeout=10) for stream in self._streams))


def _read(stream: Connection) -> str:
    """All that is written into a pipe.

    A pipe is neither limited nor full where files and disks are.
    """
    with stream, open(stream.fileno(), encoding="utf-8", closefd=False) as text:
        return text.read()


def begin(
    lab: Path,
    stage: str,
    *more: str,
    save_seconds: float = 0.3,
    die_at: int = 0,
    before: Callable[[], None] | None = None,
) -> Victim:
    """A stage as a process that saves often; see :func:`faults.victim.live`."""
    arguments = [
        *COMMANDS[stage],
        *INPUTS[stage],
        *more,
        "-p",
        str(lab),
        "--preset",
        "tiny",
        "--device",
        "cpu",
    ]
    return Victim(arguments, save_seconds=save_seconds, die_at=die_at, before=before)


def end(process: Victim, timeout: float = 240) -> Outcome:
    """Wait for a process that ends by itself, or was killed."""
    return process.end(timeout)


def execute(lab: Path, stage: str, *more: str, **how: Any) -> Outcome:
    """A stage from where it stands to its end."""
    return end(begin(lab, stage, *more, **how))


def run_of(lab: Path, stage: str) -> Path:
    """The directory of the run that :data:`COMMANDS` begin."""
    return lab / "runs" / stage / COMMANDS[stage][COMMANDS[stage].index("--name") + 1]


def wait_until_it_works(process: Victim, lab: Path, stage: str, timeout: float = 120) -> None:
    """Returns when the stage's loop has saved once."""
    until = time.monotonic() + timeout
    while not (run_of(lab, stage) / "checkpoint.safetensors").exists():
        assert process.poll() is None, end(process)
        assert time.monotonic() < until, "it never saved"
        time.sleep(0.02)


def make_undone(lab: Path, stage: str) -> None:
    """Take away what the stage made, and its run."""
    path = artifact_path(lab, MAKES[stage], run_of(lab, stage).name)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    for partner in path.parent.glob(f"{run_of(lab, stage).name}.*"):
        partner.unlink()
    shutil.rmtree(run_of(lab, stage))


def wait_for_checkpoint(process: Victim, lab: Path, stage: str) -> None:
    """Returns when the stage has saved anew, or has ended."""

    def inode() -> int:
        with contextlib.suppress(FileNotFoundError):
            return (run_of(lab, stage) / "checkpoint.safetensors").stat().st_ino
        return 0

    before = inode()
    while process.poll() is None and inode() in (before, 0):
        time.sleep(0.02)


def result_sha256(lab: Path, stage: str) -> str:
    """Identifies what the stage made."""
    return read_artifact(lab, MAKES[stage], run_of(lab, stage).name).sha256


def committed(lab: Path) -> dict[str, str]:
    """Every file of every artifact, by its path, with the SHA-256 of its bytes."""
    files = [
        path
        for part in ("memories", "weights")
        for path in (lab / part).rglob("*")
        if path.is_file()
    ]
    return {
        path.relative_to(lab).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(lab).parts)
    }


def saved_seconds(lab: Path, stage: str) -> float:
    """How long a stage had worked at its last checkpoint, 0 where there is none.

    A half-written one raises.
    """
    path = run_of(lab, stage) / "checkpoint.safetensors"
    return float(load_checkpoint(path)["seconds"]) if path.exists() else 0.0


def assert_whole(lab: Path) -> None:
    """No artifact and no run of the project is damaged."""
    problems = [
        str(problem)
        for kind in KINDS
        for name in artifact_names(lab, kind)
        for problem in artifact_problems(lab, kind, name)
    ]
    assert problems + damaged_runs(Project(lab)) == []


def without_leftovers(lab: Path) -> None:
    """Nothing that only a run under way needs has stayed."""
    left = [
        path.relative_to(lab).as_posix()
        for path in lab.rglob("*")
        if path.name.endswith((".partial", ".replaced"))
    ]
    left += [
        path.relative_to(lab).as_posix() for path in (lab / "runs").rglob("checkpoint*.safetensors")
    ]
    assert left == []


def verified(lab: Path) -> int:
    """The exit code of ``corrtool verify``."""
    return run_in_process("verify", "-p", lab, "--quiet")


def games_recorded(lab: Path, stage: str) -> list[int]:
    """The numbers of the games in a run's metrics, in their order.

    None is missing and none is there twice.
    """
    lines = (run_of(lab, stage) / "metrics.jsonl").read_text().splitlines()
    return [event["game"] for event in map(json.loads, lines) if event.get("event") == "game"]


# A command that reads the artifact at each place.
READERS = {
    "memories/source-dqn.zarr": ("train-model", "--memory", "source-dqn", "--name", "x"),
    "memories/source-dqn-random.zarr": ("train-model", "--memory", "source-dqn", "--name", "x"),
    "memories/target-random.zarr": (
        "learn-corr",
        "--target-memory",
        "target-random",
        "--name",
        "x",
    ),
    "weights/q/source-dqn": (
        "collect",
        "--task",
        "source",
        "--policy",
        "q:source-dqn",
        "--name",
        "x",
    ),
    "weights/model": ("learn-corr", "--model", "source-dqn", "--name", "x"),
    "weights/corr/resnet-cyc1-q1-m1.": ("evaluate", "--corr", "resnet-cyc1-q1-m1", "--name", "x"),
}


def artifact_files(lab: Path) -> list[Path]:
    """Every file of every artifact."""
    paths = [artifact_path(lab, kind, name) for kind in KINDS for name in artifact_names(lab, kind)]
    files = [
        file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])
    ]
    return [file for file in files if file.is_file()]
