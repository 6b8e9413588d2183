"""A project of CartPole up to F, and sweeps that do not wait."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.commands import run_in_process

from corrtool.workflows.sweeps import running

TINY = ("--preset", "tiny", "--device", "cpu")


@pytest.fixture(scope="session")
def cartpole_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, made once. Copy it before changing it."""
    lab = tmp_path_factory.mktemp("sweeps") / "lab"
    init = ("init", lab, "--source", "CartPole-v1", "--target-view", "scale:-1,1,1,1", "--quiet")
    assert run_in_process(*init) == 0
    for stage in ("train-dqn", "collect", "train-model"):
        assert run_in_process(stage, "-p", lab, *TINY, "--quiet") == 0
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
