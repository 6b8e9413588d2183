"""Shared fixtures: real projects, made once, and the command line as a process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers side by side: more threads than cores only wait


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the smoke run comes first: worksteal gives each worker a half, so the other one need not wait for it."""
    items.sort(key=lambda item: "smoke_run" not in getattr(item, "fixturenames", ()))


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run_corrtool(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> Outcome:
    """Runs the command line in a process of its own."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("CORRTOOL_")}
    done = subprocess.run(
        [sys.executable, "-m", "corrtool", *map(str, arguments)],
        cwd=cwd,
        env=clean | (env or {}),
        capture_output=True,
        text=True,
        timeout=280,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def run_in_process(*arguments: object) -> int:
    """Runs the command line in this process: the same code without the seconds that importing torch takes."""
    from corrtool.cli import run

    return run([str(argument) for argument in arguments])


def run_interrupted(lab: Path, *arguments: object, logged: bool = False) -> int:
    """Runs a stage in this process and sends it SIGTERM once its loop has worked for a while, or has ``logged`` something.

    Before its loop works a signal would end this process.
    """
    record = lab / "runs" / str(arguments[0])

    def stop() -> None:
        while not getattr(getattr(signal.getsignal(signal.SIGTERM), "__self__", None), "polled", False):
            time.sleep(0.05)
        while logged and not any(path.stat().st_size for path in record.glob("*/metrics.jsonl")):
            time.sleep(0.05)
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    code = run_in_process(*arguments, "-p", lab)
    thread.join()
    return code


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def run_example(name: str, *arguments: object) -> Outcome:
    """Runs a script of `examples/` with this interpreter's `corrtool` on the path."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("CORRTOOL_")}
    clean["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{clean['PATH']}"
    script = Path(__file__).parents[1] / "examples" / name
    done = subprocess.run(["bash", str(script), *map(str, arguments)], env=clean, capture_output=True, text=True)
    return Outcome(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class SmokeRun:
    """What `examples/smoke.sh` did and left."""

    outcome: Outcome
    lab: Path


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    """`examples/smoke.sh`, run once: every stage on real Pong and rotated Pong at `--preset tiny`."""
    shared = (
        tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else tmp_path_factory.getbasetemp()
    )
    lab, record = shared / "smoke" / "lab", shared / "smoke.json"
    with filelock.FileLock(shared / "smoke.lock"):  # the workers of pytest-xdist share one run
        if not record.exists():
            outcome = run_example("smoke.sh", lab)
            record.write_text(json.dumps([outcome.code, outcome.out, outcome.err]))
    return SmokeRun(Outcome(*json.loads(record.read_text())), lab)


@pytest.fixture
def pong_lab(smoke_run: SmokeRun) -> Path:
    """The project that `examples/smoke.sh` made. Copy it before changing it."""
    assert smoke_run.outcome.code == 0, smoke_run.outcome.err
    return smoke_run.lab


@pytest.fixture
def pong_copy(pong_lab: Path, tmp_path: Path) -> Path:
    """A copy of the finished Pong project, to break."""
    return shutil.copytree(pong_lab, tmp_path / "lab")


@pytest.fixture
def cartpole(tmp_path: Path) -> Callable[..., Path]:
    """Makes an empty CartPole project with the given views of the target."""

    def make(*views: str) -> Path:
        lab = tmp_path / "cartpole"
        flags = [flag for view in views for flag in ("--target-view", view)]
        assert run_in_process("init", lab, "--source", "CartPole-v1", *flags, "--quiet") == 0
        return lab

    return make


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    """A stage on vectors leaves its process with one thread; a later run in it must equal one in a process of its own."""
    import torch

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
