"""What learn-corr finds out on the way, says in the end, and keeps when something fails."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.commands import run_in_process
from support.environments import register

from corrtool.correspondence import play_tests as correspondence_tests
from corrtool.correspondence.losses import GanLoss
from corrtool.play.games import Game
from corrtool.project.artifacts import read_artifact
from corrtool.reporting.result_lines import learn_corr as lines_of
from corrtool.runs.checkpoints import load_checkpoint
from corrtool.runs.metrics import read_metrics
from corrtool.runs.results import LearnCorrResult
from corrtool.settings.stages import LearnCorrSettings
from corrtool.stages.learn_corr import _warn_of_discriminators

TINY = ("--preset", "tiny", "--device", "cpu", "--quiet")
LEARN = ("learn-corr", *TINY, "--gradient-steps", "20", "--eval-every", "10", "--eval-games", "1")


class Fragile(gymnasium.Env[Any, Any]):
    """Games of five steps, a point a step.

    ``fails_at`` says at which reset, of all together, it raises.
    """

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    resets, fails_at = 0, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        Fragile.resets += 1
        if Fragile.resets == Fragile.fails_at:
            raise RuntimeError("the licence server does not answer")
        self._steps = 0
        return self._observed(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        return self._observed(), 1.0, self._steps == 5, False, {}

    def _observed(self) -> Any:
        return self.np_random.uniform(-1.0, 1.0, 2).astype(np.float32)


@pytest.fixture
def fragile(tmp_path: Path) -> Path:
    """A project on :class:`Fragile`, ready for learn-corr."""
    if "Fragile-v0" not in gymnasium.registry:
        register("Fragile-v0", Fragile)
    Fragile.fails_at = 0
    return ready(tmp_path / "lab", "Fragile-v0")


def ready(lab: Path, task: str, *more: str) -> Path:
    assert run_in_process("init", lab, "--source", task, *more, "--quiet") == 0
    for stage in ("train-dqn", "collect", "train-model"):
        assert run_in_process(stage, "-p", lab, *TINY) == 0
    return lab


def metrics_of(lab: Path, name: str) -> list[dict[str, Any]]:
    return read_metrics(lab / "runs" / "learn-corr" / name / "metrics.jsonl")


@pytest.mark.parametrize(("fails_at", "goes_on_at"), [(1, 0), (2, 10), (3, 20)])
def test_an_environment_that_fails_in_a_play_test_costs_no_learning(
    fragile: Path, capsys: pytest.CaptureFixture[str], fails_at: int, goes_on_at: int
) -> None:
    assert run_in_process(*LEARN, "-p", fragile, "--name", "unbroken") == 0
    Fragile.resets, Fragile.fails_at = 0, fails_at  # the first is that of the test of reuse
    assert run_in_process(*LEARN, "-p", fragile, "--name", "broken") == 1
    assert "the licence server does not answer" in capsys.readouterr().err
    checkpoint = load_checkpoint(
        fragile / "runs" / "learn-corr" / "broken" / "checkpoint.safetensors"
    )
    assert checkpoint["stage"]["learner"]["gradient_steps"] == goes_on_at
    loud = [word for word in LEARN if word != "--quiet"]
    assert run_in_process(*loud, "-p", fragile, "--name", "broken") == 0
    events = [line["event"] for line in metrics_of(fragile, "broken")]
    assert events.count("reuse_test") == 1 and events.count("play_test") == 2
    for name in ("", "-last"):
        ends = {read_artifact(fragile, "corr", run + name).sha256 for run in ("unbroken", "broken")}
        assert len(ends) == 1
    summary = read_artifact(fragile, "corr", "broken").manifest["summary"]
    assert (
        summary["reuse_mean_return"] == summary["best_mean_return"] == summary["mean_return"] == 5.0
    )


@pytest.mark.parametrize(
    ("returns", "best", "said"),
    [
        ([5.0, 7.0, 3.0], 7.0, "reuse, without a correspondence, has 5.00"),
        ([7.0, 7.0, 3.0], 7.0, "not clearly better than reuse (mean 7.00)"),
    ],
)
def test_each_correspondence_has_its_own_play_test_and_reuse_is_named(
    fragile: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    returns: list[float],
    best: float,
    said: str,
) -> None:
    left = iter(returns)
    monkeypatch.setattr(
        correspondence_tests, "play_games", lambda *_, **__: [Game(next(left), 1, "over", "")]
    )
    assert (
        run_in_process(*[word for word in LEARN if word != "--quiet"], "-p", fragile, "--name", "c")
        == 0
    )
    assert said in capsys.readouterr().out
    events = [
        (line["event"], line["mean_return"])
        for line in metrics_of(fragile, "c")
        if "returns" in line
    ]
    assert events == [
        ("reuse_test", returns[0]),
        ("play_test", returns[1]),
        ("play_test", returns[2]),
    ]
    capsys.readouterr()
    assert run_in_process("status", "-p", fragile, "--json") == 0
    summaries = {
        a["name"]: a["summary"]
        for a in json.loads(capsys.readouterr().out)["artifacts"]
        if a["kind"] == "corr"
    }
    assert (summaries["c"]["mean_return"], summaries["c-last"]["mean_return"]) == (best, returns[2])
    assert run_in_process("status", "-p", fragile) == 0
    shown = capsys.readouterr().out
    assert f"play test {best:.1f}" in shown and f"play test {returns[2]:.1f}" in shown


def test_tasks_of_different_states_have_no_reuse(fragile: Path) -> None:
    lab = ready(fragile.with_name("other"), "Fragile-v0", "--target", "CartPole-v1")
    assert run_in_process(*LEARN, "-p", lab, "--name", "c") == 0
    assert not [line for line in metrics_of(lab, "c") if line["event"] == "reuse_test"]
    assert read_artifact(lab, "corr", "c").manifest["summary"]["reuse_mean_return"] is None


def test_the_closing_line_without_reuse_is_as_it_was() -> None:
    result: LearnCorrResult = {
        "corr": "c",
        "sha256": "",
        "gradient_steps": 20,
        "best_mean_return": 7.0,
        "best_gradient_steps": 10,
        "best_angle_degrees": None,
        "angle_degrees": None,
    }
    assert (
        lines_of(result)[0]
        == "correspondence c: 20 gradient steps; kept is that of step 10, of a play test of 7.00"
    )


@pytest.mark.parametrize(
    ("gan_loss", "source", "target", "won"),
    [("lsgan", 0.02, 0.01, True), ("lsgan", 0.02, 0.03, False), ("log", 0.01, 0.01, False)],
)
def test_discriminators_that_have_won_are_named(
    gan_loss: GanLoss, source: float, target: float, won: bool
) -> None:
    said: list[str] = []
    console: Any = SimpleNamespace(say=said.append)
    settings = LearnCorrSettings(gan_loss=gan_loss)
    _warn_of_discriminators(
        console, settings, {"source_discriminator": source, "target_discriminator": target}
    )
    assert bool(said) is won
    assert not won or "losses 0.0200 and 0.0100" in said[0]
