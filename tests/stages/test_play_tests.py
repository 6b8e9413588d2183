"""Play tests while a Q-function learns: which weights are kept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from corrtool.config import TrainDqnSettings
from corrtool.stages import learning_by_playing
from corrtool.stages.learning_by_playing import Progress
from corrtool.states import StateSpec


def test_what_looks_best_plays_as_many_games_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Games are played in pairs here, whose returns are written down; real ones are in test_pipeline.py."""
    played = iter([[3.0, 5.0], [1.0, 3.0], [0.0, 2.0], [9.0, 9.0], [-9.0, 1.0], [4.0, 4.0], [2.0, 6.0]])
    monkeypatch.setattr(learning_by_playing, "play_games", lambda *_, **__: next(played))
    lines: list[dict[str, Any]] = []
    run: Any = SimpleNamespace(metrics=SimpleNamespace(write=lambda _, line: lines.append(line)))
    loop: Any = SimpleNamespace(poll=lambda: None)
    learner: Any = SimpleNamespace(average=nn.Linear(1, 1))
    progress, settings = Progress(), TrainDqnSettings(eval_games=2)
    kept: list[float | None] = []
    for weight in range(4):
        nn.init.constant_(learner.average.weight, weight)
        progress.env_steps += 10
        learning_by_playing._play_test(
            run, loop, progress, settings, StateSpec("vector", (1,)), learner, lambda _: None, 0, torch.device("cpu")
        )
        kept.append(progress.best_mean_return)
    # The first has 3 over four games; the second, with 1, is no better; the third looks better, but has 2.5; the last has 4.
    assert kept == [3.0, 3.0, 3.0, 4.0]
    assert [line["mean_return"] for line in lines] == [3.0, 1.0, 2.5, 4.0]
    assert [len(line["returns"]) for line in lines] == [4, 2, 4, 4]
    assert progress.best_weights is not None and progress.best_weights["weight"].item() == 3
    assert progress.evaluated_at == 40
