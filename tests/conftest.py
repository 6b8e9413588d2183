"""Shared fixtures: real projects, made once, and the command line as a process."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock
import pytest
from support.commands import Outcome, run_example, run_in_process

from corrtool.workflows.sweeps import running

pytest_plugins = ["support.hub_fixtures"]
# Workers side by side: more threads than cores only wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the smoke run comes first.

    ``worksteal`` gives each worker a share, so the others need not wait for it.
    """
    items.sort(key=lambda item: "smoke_run" not in getattr(item, "fixturenames", ()))


@dataclass(frozen=True)
class SmokeRun:
    """What `examples/smoke.sh` did and left."""

    outcome: Outcome
    lab: Path


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    """`examples/smoke.sh`, run once.

    It has every stage on real Pong and rotated Pong at `--preset tiny`.
    """
    shared = (
        tmp_path_factory.getbasetemp().parent
        if "PYTEST_XDIST_WORKER" in os.environ
        else tmp_path_factory.getbasetemp()
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
    """What makes an empty CartPole project with the given views of the target."""

    def make(*views: str) -> Path:
        lab = tmp_path / "cartpole"
        flags = [flag for view in views for flag in ("--target-view", view)]
        assert run_in_process("init", lab, "--source", "CartPole-v1", *flags, "--quiet") == 0
        return lab

    return make


@pytest.fixture
def seeded() -> None:
    """Torch's random numbers, begun anew."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    """A stage on vectors leaves its process with one thread.

    A later run in it must equal one in a process of its own.
    """
    import torch

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


_TINY = ("--preset", "tiny", "--device", "cpu")


@pytest.fixture(scope="session")
def cartpole_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, made once. Copy it before changing it."""
    lab = tmp_path_factory.mktemp("sweeps") / "lab"
    init = ("init", lab, "--source", "CartPole-v1", "--target-view", "scale:-1,1,1,1", "--quiet")
    assert run_in_process(*init) == 0
    for stage in ("train-dqn", "collect", "train-model"):
        assert run_in_process(stage, "-p", lab, *_TINY, "--quiet") == 0
    return lab


@pytest.fixture
def cartpole_lab(cartpole_template: Path, tmp_path: Path) -> Path:
    """A copy of the project."""
    return shutil.copytree(cartpole_template, tmp_path / "lab")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps in this process do not wait between attempts."""
    monkeypatch.setattr(running, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(running, "LOOK_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(running, "LONGEST_PAUSE_SECONDS", 0.0)
