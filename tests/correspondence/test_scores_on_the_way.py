"""Scores while a correspondence is learnt: which is kept as the best, what is shown and logged."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from corrtool.correspondence import scores as module
from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.scores import (
    ScoreResults,
    Scores,
    scored_transitions,
)
from corrtool.errors import TrainingDivergedError
from corrtool.runs.results import Score
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

NUMBERS = StateSpec("vector", (2,))


def score_of(value: float) -> Score:
    return {
        "model_loss": 0.1, "source_model_loss": 0.1, "model_share": 1.0,
        "bellman_error": None, "source_bellman_error": None, "bellman_share": None,
        "cycle_error": 0.0, "value": value,
    }  # fmt: skip


class Setting:
    """A linear correspondence, scores that are given, and a loop that notes what it is told."""

    def __init__(self, *values: float, action_map: ActionMap | None = None) -> None:
        torch.manual_seed(0)
        kind = GeneratorDescription("linear")
        scalings = StateScaling(NUMBERS), StateScaling(NUMBERS)
        self.correspondence = Correspondence(*scalings, kind, action_map)
        self.events: list[Any] = []
        self.modes: list[bool] = []
        self._values = iter(values)
        self.loop: Any = SimpleNamespace(
            checked=self._checked,
            note=lambda numbers: self.events.append(("note", numbers)),
            show=lambda count, numbers: self.events.append(("show", count, numbers)),
            poll=lambda: self.events.append("poll"),
        )
        run: Any = SimpleNamespace(metrics=SimpleNamespace(write=self._write))
        scorer: Any = SimpleNamespace(score=self._score)
        self.scores, self.results = Scores(run, self.correspondence, scorer), ScoreResults()

    def _score(self, correspondence: Correspondence, advance: Callable[[int], None]) -> Score:
        self.modes.append(correspondence.training)
        advance(5)
        return score_of(next(self._values))

    def _write(self, step: int, line: dict[str, Any]) -> None:
        self.events.append(("write", step, line))

    def _checked(self, numbers: dict[str, float]) -> None:
        if numbers["value"] != numbers["value"]:
            raise TrainingDivergedError("value became nan", "learn slower")

    def score(self, step: int, **given: bool) -> None:
        """After ``step`` steps, of which each leaves the weights at its number."""
        with torch.no_grad():
            for weights in self.correspondence.parameters():
                weights.fill_(step)
        self.scores.score(self.results, self.loop, step, **given)


def test_the_dearer_a_transition_the_fewer_are_scored() -> None:
    specs = [
        StateSpec(kind, shape)
        for kind, shape in (("image", (1, 84, 84)), ("signal", (2, 99)), ("image", (1, 10, 10)))
    ]
    known: list[Any] = [SimpleNamespace(target=SimpleNamespace(spec=s)) for s in (*specs, NUMBERS)]
    found = [scored_transitions(knowledge) for knowledge in known]
    assert found == [256, 1_000, 2_000, 10_000]


@pytest.mark.parametrize(
    ("values", "best"), [((0.3, 0.5, 0.4), 20), ((0.5, 0.1, 0.5), 30), ((0.9, 0.1, 0.2), 10)]
)
def test_without_games_the_best_score_is_kept_of_equals_the_later(
    values: tuple[float, ...], best: int
) -> None:
    setting = Setting(*values, action_map=ActionMap((1, 0), 2))
    for step in (10, 20, 30):
        setting.score(step)
    results = setting.results
    assert results.best is not None and results.last is not None
    assert (results.best["value"], results.best_gradient_steps) == (max(values), best)
    assert results.best_weights is not None and results.best_source_of == [1, 0]
    assert all((w == best).all() for n, w in results.best_weights.items() if "weight" in n)
    assert (results.last["value"], results.scored_at) == (values[-1], 30)
    assert results.best_angle_degrees is None  # no spatial layer


def test_without_an_action_map_none_is_kept() -> None:
    setting = Setting(0.5)
    setting.correspondence.action_map = None
    setting.score(1)
    assert setting.results.best_gradient_steps == 1 and setting.results.best_source_of is None


def test_games_decide_where_there_are_any() -> None:
    setting = Setting(0.2, 0.9)
    assert setting.results.value is None
    for step in (10, 20):
        setting.score(step, decides=False)
    results = setting.results
    assert results.best is None and results.best_weights is None and results.value == 0.9
    assert results.best_gradient_steps == 0 and results.scored_at == 20


def test_what_is_shown_and_logged() -> None:
    setting = Setting(0.5)
    assert setting.results.numbers() == {}
    setting.score(10)
    (_, step, line) = setting.events[2]
    assert setting.events == [
        ("show", 0, {"score": "under way"}),
        "poll",
        ("write", 10, line),
        ("note", {"score": 0.5}),
    ]
    assert step == 10 and setting.results.last is not None
    assert line == {"event": "score", "gradient_steps": 10, **setting.results.last}
    assert setting.results.numbers() == {"score": 0.5}


def test_networks_are_scored_as_they_play_and_go_on_as_they_learnt() -> None:
    setting = Setting(0.5)
    setting.correspondence.train()
    setting.score(1)
    assert setting.modes == [False] and setting.correspondence.training


def test_a_score_that_is_no_number_ends_the_run_before_it_is_kept() -> None:
    setting = Setting(float("nan"))
    with pytest.raises(TrainingDivergedError):
        setting.score(1)
    assert setting.results == ScoreResults()


def test_scores_draw_from_a_generator_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Scorer", lambda *given: given)
    monkeypatch.setattr(module, "numpy_generator", lambda *given: given)
    knowledge: Any = SimpleNamespace(target=SimpleNamespace(spec=NUMBERS))
    run: Any = SimpleNamespace(request=SimpleNamespace(seed=4))
    correspondence = Setting().correspondence
    made: Any = Scores.of(run, correspondence, knowledge)
    assert (made.run, made.correspondence) == (run, correspondence)
    assert made.scorer == (knowledge, (4, "learn-corr score"), 10_000)


def with_values(*values: float) -> ScoreResults:
    results = ScoreResults()
    for step, value in enumerate(values):
        results.add(step, score_of(value))
    return results


@pytest.mark.parametrize(
    ("values", "settled"),
    [
        ((), False),
        ((0.95,), False),
        ((0.95, 0.95), False),
        ((0.95, 0.95, 0.95), True),
        ((0.95, 0.94, 0.98, 0.98), False),  # a higher one in between
        ((0.948, 0.952, 0.961), True),  # higher, but not clearly
        ((0.93, 0.945, 0.96), False),  # little by little
        ((0.95, 0.2, 0.1), True),
        ((0.89, 0.8, 0.7), False),  # not enough
    ],
)
def test_learning_settles_where_two_scores_are_no_better_than_one_that_is_enough(
    values: tuple[float, ...], settled: bool
) -> None:
    assert with_values(*values).settled(2, 0.9) is settled
    assert not with_values(*values).settled(0, 0.9)
