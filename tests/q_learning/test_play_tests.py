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


class Watched:
    """A run's tests of two games each, whose returns are written down; real ones: test_pipeline.py.

    Attributes:
        progress, lines: what is known, and what was logged.
        played: by which weight, at which environment steps it was tested, and why.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, returns: list[list[float]]) -> None:
        self.progress = Progress()
        self.lines: list[dict[str, Any]] = []
        self.played: list[tuple[float, str, int]] = []
        self._returns = iter(returns)
        monkeypatch.setattr(play_tests, "play_games", self._play)
        monkeypatch.setattr(play_tests, "derive_seeds", lambda _, purpose, n, at: [purpose, at])
        self.run: Any = SimpleNamespace(
            metrics=SimpleNamespace(write=lambda _, line: self.lines.append(line))
        )
        self.shown: list[float] = []
        self.saved: list[int] = []
        self.loop: Any = SimpleNamespace(
            poll=lambda: None,
            note=lambda numbers: self.shown.append(numbers["best play test"]),
            save=lambda: self.saved.append(self.progress.evaluated_at),
        )
        self.learner: Any = SimpleNamespace(ema=nn.Linear(1, 1))

    def _play(self, lanes: Any, values: Any, *, seeds: Any, **_: Any) -> list[Game]:
        self.played.append((values.q_function.weight.item(), *seeds))
        return [Game(game_return, 1, "over", "") for game_return in next(self._returns)]

    def test(self, weight: float, threshold: float | None = None) -> None:
        nn.init.constant_(self.learner.ema.weight, weight)
        self.progress.env_steps += 10
        tests = replace(
            choosing(TrainDqnSettings(eval_games=2), self.run), reward_threshold=threshold
        )
        tests.play(self.learner, self.progress, self.loop)

    def kept(self) -> tuple[float | None, float, int]:
        """The best mean return, the weight that had it, and when."""
        assert self.progress.best_weights is not None
        weight = self.progress.best_weights["weight"].item()
        return self.progress.best_mean_return, weight, self.progress.best_env_steps

    def finish(self) -> None:
        tests = choosing(TrainDqnSettings(eval_games=2), self.run)
        tests.finish(self.learner, self.progress, self.loop)


def test_the_best_plays_again_before_it_wins_against_a_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tests = Watched(
        monkeypatch,
        [[3.0, 5.0], [4.0, 6.0], [4.0, 4.0], [-9.0, 3.0], [1.0, 1.0], [7.0, 7.0], [9.0, 9.0]],
    )
    tests.test(1.0)  # 4: the first
    tests.test(2.0)  # 5: better, so that the first need not play again
    tests.test(3.0)  # 4: the second has 1 over four games, and so the third is the best
    assert tests.progress.best_mean_return == 4.0
    tests.test(4.0)  # 1: the third has 5.5 over four, and stays the best
    assert tests.kept() == (5.5, 3.0, 30)
    tests.test(5.0)
    assert tests.kept() == (9.0, 5.0, 50)
    assert tests.played == [
        (1.0, "select", 10),
        (2.0, "select", 20),
        (3.0, "select", 30),
        (2.0, "select again", 20),
        (4.0, "select", 40),
        (3.0, "select again", 30),
        (5.0, "select", 50),
    ]
    told = [(line["event"], line["env_steps"], line.get("mean_return")) for line in tests.lines]
    assert told == [
        ("play_test", 10, 4.0),
        ("play_test", 20, 5.0),
        ("play_test_again", 30, None),
        ("play_test", 30, 4.0),
        ("play_test_again", 40, None),
        ("play_test", 40, 1.0),
        ("play_test", 50, 9.0),
    ]
    assert [line["tested_at"] for line in tests.lines if "tested_at" in line] == [20, 30]
    assert tests.saved == [0, 10, 20, 30, 40]  # an environment that fails costs no learning
    assert tests.shown[-1] == 9.0
    assert tests.progress.evaluated_at == 50


def test_what_only_luck_made_the_best_gives_way_to_the_best_of_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tests = Watched(
        monkeypatch,
        [[4.0, 4.0], [1.0, 1.0], [6.0, 6.0], [9.0, 9.0], [9.5, 9.5], [0.0, 0.0], [-9.0, -9.0]],
    )
    tests.test(1.0)
    tests.test(2.0)  # 1: the first has 5 over four games
    tests.test(3.0)  # 9
    tests.test(4.0)  # 9.5: neither of the two has played again
    assert tests.kept() == (9.5, 4.0, 40)
    tests.test(5.0)  # 0: the fourth has 0.25 over four
    assert tests.kept() == (5.0, 1.0, 10)
    assert not tests.progress.unconfirmed and tests.progress.runner_up is None


def test_a_stop_while_the_best_plays_again_leaves_no_trace_of_the_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tests = Watched(monkeypatch, [[3.0, 5.0], [1.0, 1.0]])
    tests.test(1.0)
    before = dict(tests.progress.state())
    with pytest.raises(StopIteration):  # there are no games for it to play again
        tests.test(2.0)
    assert tests.progress.state() == before | {"env_steps": 20}
    assert len(tests.lines) == 1


def test_the_best_plays_again_in_the_end_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tests = Watched(monkeypatch, [[3.0, 5.0], [0.0, 0.0]])
    tests.test(1.0)
    tests.finish()
    tests.finish()
    assert tests.played == [(1.0, "select", 10), (1.0, "select again", 10)]
    assert tests.progress.best_mean_return == 2.0


def test_the_last_test_is_played_in_the_end_where_it_has_not_been(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tests = Watched(monkeypatch, [[3.0, 5.0], [6.0, 8.0], [6.0, 8.0]])
    tests.test(1.0)
    tests.progress.env_steps += 5
    tests.finish()
    assert tests.played[1:] == [(1.0, "select", 15), (1.0, "select again", 15)]


def test_what_would_solve_the_task_plays_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tests = Watched(monkeypatch, [[3.0, 5.0], [6.0, 8.0], [2.0, 2.0]])
    tests.test(1.0, threshold=6.0)
    tests.test(2.0, threshold=6.0)
    assert tests.played[1:] == [(2.0, "select", 20), (2.0, "select again", 20)]
    assert tests.kept() == (4.5, 2.0, 20) and not tests.progress.unconfirmed
    assert tests.lines[-1]["returns"] == [6.0, 8.0, 2.0, 2.0]


def test_a_checkpoint_of_before_has_a_best_test_that_has_played_again() -> None:
    progress = Progress()
    progress.load_state({"best_mean_return": 3.0, "test_means": [3.0]})
    assert progress.is_best([3.0]) and not progress.is_best([2.0]) and not progress.unconfirmed
