"""Numbers that go wrong: settings beyond reason, and environments that fail late.

What is kept is finite, and a line says what happened.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.commands import run_in_process
from support.environments import register
from support.falling import FALLING

from corrtool.runs.checkpoints import load_checkpoint

TINY = ("--preset", "tiny", "--quiet", "--device", "cpu")


class FailsLate(gymnasium.Env[Any, Any]):
    """A walk whose 500th step raises, or whose worker process dies then."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, fault: str) -> None:
        self.fault, self.steps, self.worker = fault, 0, os.fork() if fault == "worker" else 0
        if fault == "worker" and self.worker == 0:
            signal.pause()  # the worker: it only lives
            os._exit(0)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.steps == 500:
            if self.worker:
                os.kill(self.worker, signal.SIGKILL)
                os.waitpid(self.worker, 0)
                raise BrokenPipeError(32, "the worker process is gone")
            raise RuntimeError("the emulator crashed")
        return np.full(2, 0.5, np.float32), 1.0, self.steps % 50 == 0, False, {}

    def close(self) -> None:
        if self.worker:
            try:
                os.kill(self.worker, signal.SIGKILL)
                os.waitpid(self.worker, 0)
            except (ProcessLookupError, ChildProcessError):
                pass


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    register("FailsLate-v0", FailsLate)


@pytest.mark.parametrize(
    ("fault", "says"),
    [("raises", "the emulator crashed"), ("worker", "the worker process is gone")],
)
def test_an_environment_that_fails_in_step_500_is_named(
    tmp_path: Path, fault: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = tmp_path / "lab"
    assert (
        run_in_process(
            "init", lab, "--source", "FailsLate-v0", "--source-kwarg", f"fault={fault}", "--quiet"
        )
        == 0
    )
    for stage in (
        ("train-dqn", "--env-steps", 20_000),
        ("collect", "--task", "source", "--records", 20_000),
    ):
        capsys.readouterr()
        assert run_in_process(*stage, "-p", lab, *TINY) == 1
        error = capsys.readouterr().err
        assert says in error and "FailsLate-v0" in error and error.count("\n") == 1
    assert not (lab / "memories").exists() or not list((lab / "memories").glob("*.zarr"))


@pytest.fixture(scope="module")
def _pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = tmp_path_factory.mktemp("numbers") / "pictures"
    assert run_in_process("init", lab, "--source", FALLING, "--quiet") == 0
    for stage in ("train-dqn", "collect", "train-model"):
        assert run_in_process(stage, "-p", lab, *TINY) == 0
    resnet = ("--generator", "resnet", "--gradient-steps", 1, "--eval-games", 0)
    assert run_in_process("learn-corr", "-p", lab, *TINY, *resnet) == 0
    return lab


@pytest.fixture
def pictures(_pictures: Path, tmp_path: Path) -> Path:
    """A project of small pictures with an artifact of every kind, to add to."""
    return shutil.copytree(_pictures, tmp_path / "lab")


@pytest.mark.parametrize(
    "more",
    [
        ("--lambda-cyc", "1e30"),
        ("--lambda-q", "1e30"),
        ("--lambda-m", "1e30"),
        ("--learning-rate", "1e3"),
        ("--lambda-cyc", "1e300"),
    ],
    ids=" ".join,
)
def test_settings_beyond_reason_end_with_finite_weights_or_a_line(
    pictures: Path, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_in_process(
        "learn-corr",
        "-p",
        pictures,
        *TINY,
        *more,
        "--generator",
        "resnet",
        "--gradient-steps",
        "10",
        "--eval-games",
        "0",
        "--name",
        "beyond",
    )
    error = capsys.readouterr().err
    made = sorted((pictures / "weights" / "corr").glob("beyond*.safetensors"))
    if code == 0:
        assert len(made) == 2
        assert all(
            bool(torch.isfinite(tensor).all())
            for path in made
            for tensor in load_file(path).values()
        )
    else:
        assert code in (1, 2) and not made and error.count("\n") == 1, error
        assert code == 2 or re.search("NaN or infinite|became nan|became inf", error)


@pytest.mark.parametrize(
    "command",
    [
        ("train-dqn", "--learning-rate", "1e3", "--env-steps", "600"),
        ("train-model", "--learning-rate", "1e3", "--gradient-steps", "20"),
        ("finetune", "--learning-rate", "1e3", "--env-steps", "600"),
    ],
    ids=lambda command: command[0],
)
def test_a_learning_rate_beyond_reason_ends_with_finite_weights_or_a_line(
    pictures: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_in_process(*command, "-p", pictures, *TINY, "--name", "beyond")
    error = capsys.readouterr().err
    made = sorted((pictures / "weights").rglob("beyond*.safetensors"))
    assert bool(made) == (code == 0), (code, made)
    assert all(
        bool(torch.isfinite(tensor).all()) for path in made for tensor in load_file(path).values()
    )
    if code != 0:
        assert (
            code == 1
            and error.count("\n") == 1
            and re.search("NaN or infinite|became nan|became inf", error)
        ), error


def test_the_last_good_state_of_a_run_that_diverges_is_kept(
    cartpole: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from corrtool.q_learning.learner import DqnLearner
    from corrtool.runs import loop

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)
    update = DqnLearner.update

    def poisoned(self: DqnLearner, *arguments: Any) -> Any:
        result = update(self, *arguments)
        if self.gradient_steps == 8:
            next(self.q_function.parameters()).data[0] = float("nan")
        return result

    monkeypatch.setattr(DqnLearner, "update", poisoned)
    lab, often = cartpole(), ("--learning-starts", "20", "--env-steps-per-update", "4")
    assert run_in_process("train-dqn", "-p", lab, *TINY, *often, "--weight-ema", "0") == 1
    error = capsys.readouterr().err
    assert "the last good state is kept" in error and "smaller --learning-rate" in error
    state = load_checkpoint(lab / "runs" / "train-dqn" / "source-dqn" / "checkpoint.safetensors")
    assert all(
        bool(torch.isfinite(tensor).all())
        for tensor in state["stage"]["learner"]["q_function"].values()
    )
    assert state["stage"]["learner"]["gradient_steps"] == 7
    assert not (lab / "weights").exists() or not list((lab / "weights").rglob("*.safetensors"))
