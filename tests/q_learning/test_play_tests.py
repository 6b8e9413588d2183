"""Play tests while a Q-function learns: which weights are kept."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from corrtool.play.games import Game
from corrtool.q_learning import play_tests
from corrtool.q_learning.play_tests import PlayTests
from corrtool.q_learning.progress import Progress
from corrtool.settings.stages import TrainDqnSettings
from corrtool.states import StateSpec


def choosing(settings: TrainDqnSettings, run: Any = None) -> PlayTests:
    lanes: Any = None  # no game is really played
    return PlayTests(run, settings, StateSpec("vector", (1,)), lanes, torch.device("cpu"), 0)


def test_play_tests_begin_where_the_average_begins_to_play() -> None:
    settings = TrainDqnSettings(env_steps=100, eval_every=20, greedy_from=0.5)

    def due(env_steps: int, evaluated_at: int = 0, **more: Any) -> bool:
        return choosing(replace(settings, **more)).due(
            Progress(env_steps=env_steps, evaluated_at=evaluated_at)
        )

    assert [step for step in range(0, 101, 10) if due(step)] == [50, 60, 70, 80, 90, 100]
    assert (
        not due(59, evaluated_at=50) and due(61, evaluated_at=50) and not due(79, evaluated_at=61)
    )
    assert due(20, greedy_from=1.0) and not due(19, greedy_from=1.0)
    assert not due(100, eval_every=0)


def test_what_looks_best_but_not_clearly_plays_as_many_games_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Games are played in pairs here, whose returns are written down.

    Real ones are in test_pipeline.py.
    """
    played = iter(
        [[3.0, 5.0], [1.0, 3.0], [0.0, 9.0], [-9.0, 1.0], [5.0, 5.0], [6.0, 6.0], [9.0, 9.0]]
    )
    monkeypatch.setattr(
        play_tests, "play_games", lambda *_, **__: [Game(r, 1, "over", "") for r in next(played)]
    )
    lines: list[dict[str, Any]] = []
    run: Any = SimpleNamespace(metrics=SimpleNamespace(write=lambda _, line: lines.append(line)))
    shown: list[float] = []
    saved: list[int] = []
    progress, settings = Progress(), TrainDqnSettings(eval_games=2)
    loop: Any = SimpleNamespace(
        poll=lambda: None,
        note=lambda numbers: shown.append(numbers["best play test"]),
        save=lambda: saved.append(progress.evaluated_at),
    )
    learner: Any = SimpleNamespace(ema=nn.Linear(1, 1))
    kept: list[float | None] = []
    for weight in range(5):
        nn.init.constant_(learner.ema.weight, weight)
        progress.env_steps += 10
        choosing(settings, run).play(learner, progress, loop)
        kept.append(progress.best_mean_return)
    # The second, with 2, is no better than the first, with 4. The third looks better by 0.5, of
    # which two standard errors are 9.1; over four games it has 0.25. The fourth, by 1 (2.0), has
    # 5.5 over four. The last is better by 3.5, clearly (0.6).
    assert kept == shown == [4.0, 4.0, 4.0, 5.5, 9.0]
    assert [line["mean_return"] for line in lines] == [4.0, 2.0, 0.25, 5.5, 9.0]
    assert saved == [0, 10, 20, 30, 40]  # before each: an environment that fails costs no learning
    assert [len(line["returns"]) for line in lines] == [2, 2, 4, 4, 2]
    assert progress.best_weights is not None and progress.best_weights["weight"].item() == 4
    assert progress.evaluated_at == 50


def test_a_checkpoint_that_knows_no_returns_of_its_best_test_is_taken_for_doubtful() -> None:
    """Those of before the returns were kept."""
    progress = Progress()
    progress.load_state({"best_mean_return": 3.0, "test_means": [3.0]})
    assert progress.is_best([9.0, 9.0]) and not progress.is_clearly_best([9.0, 9.0])
