"""What went wrong once: divergence, environments that misbehave, damaged runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.commands import files_of, run_in_process
from support.environments import register

TINY = ("--preset", "tiny", "--quiet", "--device", "cpu")


class Misbehaving(gymnasium.Env[Any, Any]):
    """A two-dimensional environment that does one thing wrong in its fifteenth step.

    That is after those that ``init`` plays.
    """

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        now = self.steps >= 15
        if now and self.fault == "raises":
            raise ValueError("boom")
        observation = np.full(2, np.nan if now and self.fault == "observation" else 0.5, np.float32)
        return (
            observation,
            float("nan") if now and self.fault == "reward" else 1.0,
            False,
            False,
            {},
        )


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    register("Misbehaving-v0", Misbehaving)


@pytest.mark.parametrize(
    ("fault", "says"),
    [("raises", "boom"), ("observation", "not a number"), ("reward", "not a number")],
)
def test_an_environment_that_misbehaves_ends_the_stage_and_is_named(
    tmp_path: Path, fault: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = tmp_path / "lab"
    assert (
        run_in_process(
            "init", lab, "--source", "Misbehaving-v0", "--source-kwarg", f"fault={fault}", "--quiet"
        )
        == 0
    )
    for stage in ("train-dqn", "collect"):
        assert run_in_process(stage, "-p", lab, *TINY) == 1
        error = capsys.readouterr().err
        assert says in error and "Misbehaving-v0" in error and error.count("\n") == 1
    assert not list((lab / "memories").glob("*")) if (lab / "memories").exists() else True


@pytest.mark.parametrize(
    "command",
    [
        (
            "train-dqn",
            "--learning-rate",
            1e30,
            "--optimizer",
            "sgd",
            "--loss",
            "squared",
            "--max-gradient-norm",
            0,
        ),
        ("train-model", "--learning-rate", 1e30),
        ("learn-corr", "--learning-rate", 1e30, "--eval-games", 0),
    ],
    ids=lambda command: command[0],
)
def test_weights_that_diverged_are_never_written(
    cartpole: Callable[..., Path], command: tuple[Any, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    for stage in ("train-dqn", "collect", "train-model")[
        : {"train-dqn": 0, "train-model": 1, "learn-corr": 3}[command[0]]
    ]:
        assert run_in_process(stage, "-p", lab, *TINY) == 0
    before = sorted((lab / "weights").rglob("*.safetensors")) if (lab / "weights").exists() else []
    assert run_in_process(*command, "-p", lab, *TINY, "--name", "boom") == 1
    assert re.search("NaN or infinite|became nan|became inf", capsys.readouterr().err)
    assert [p for p in sorted((lab / "weights").rglob("*.safetensors")) if p not in before] == []


def test_damaged_weights_are_not_done_already(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pong_copy / "weights" / "model" / "source-dqn.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert run_in_process("train-model", "-p", pong_copy, *TINY) == 3
    assert "source-dqn.safetensors is damaged" in capsys.readouterr().err
    assert run_in_process("train-model", "-p", pong_copy, *TINY, "--overwrite") == 0


def test_dry_run_names_its_inputs(pong_lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_in_process("learn-corr", "-p", pong_lab, "--dry-run", "--json", "--name", "x") == 0
    assert json.loads(capsys.readouterr().out)["inputs"]["q"] == "q source-dqn"


def test_names_are_refused_before_the_work(pong_lab: Path) -> None:
    assert run_in_process("learn-corr", "-p", pong_lab, *TINY, "--name", "x" * 100) == 2


def test_an_overwrite_that_fails_leaves_the_finished_run(cartpole: Callable[..., Path]) -> None:
    lab = cartpole()
    assert run_in_process("collect", "-p", lab, *TINY) == 0
    run, memory = (
        lab / "runs" / "collect" / "target-random",
        lab / "memories" / "target-random.zarr",
    )
    before = files_of(run), files_of(memory)
    text = (lab / "corrtool.toml").read_text()
    (lab / "corrtool.toml").write_text(
        text.replace("CartPole-v1", "Misbehaving-v0") + '\n[target.kwargs]\nfault = "raises"\n'
    )
    assert run_in_process("collect", "-p", lab, *TINY, "--overwrite", "--records", 500) == 1
    (lab / "corrtool.toml").write_text(text)
    assert (files_of(run), files_of(memory)) == before
    assert [path.name for path in run.parent.iterdir()] == ["target-random"]
    assert run_in_process("collect", "-p", lab, *TINY) == 0


def test_a_process_that_died_right_after_stepping_aside_is_undone(
    cartpole: Callable[..., Path],
) -> None:
    lab = cartpole()
    assert run_in_process("collect", "-p", lab, *TINY) == 0
    run = lab / "runs" / "collect" / "target-random"
    before = files_of(run)
    run.rename(run.with_name(".target-random.replaced"))
    run.mkdir()
    assert run_in_process("collect", "-p", lab, *TINY) == 0
    assert files_of(run) == before


def test_a_dry_run_finds_a_damaged_input(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pong_copy / "weights" / "model" / "source-dqn.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert (
        run_in_process(
            "learn-corr", "-p", pong_copy, "--preset", "tiny", "--name", "x", "--dry-run"
        )
        == 3
    )
    assert "source-dqn.safetensors is damaged" in capsys.readouterr().err
