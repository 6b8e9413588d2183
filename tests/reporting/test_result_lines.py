"""What a stage's result says to the person who ran it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from corrtool.reporting.result_lines import learn_corr, passed_over_note, untried_note
from corrtool.runs.results import LearnCorrResult


def result(settings: dict[str, Any] | None = None, **more: Any) -> LearnCorrResult:
    """A correspondence that was played and beat reuse, by one recipe with the identity."""
    usual = {"recipe": "auto", "action_map": "auto", "recipe_patience": 2}
    made = {
        "corr": "c",
        "gradient_steps": 750,
        "best_gradient_steps": 500,
        "best_mean_return": 11.0,
        "reuse_mean_return": -7.0,
        "angle_degrees": None,
        "recipe_scores": {"linear": 0.69},
        "settings": usual | (settings or {}),
    }
    return cast(LearnCorrResult, made | more)


def test_why_learning_ended_early_is_said() -> None:
    line = learn_corr(result(settled=True))[0]
    assert line.startswith("correspondence c: 750 gradient steps; it ended early, since 2 scores")
    assert "ended early" not in learn_corr(result())[0]
    assert "ended early" not in learn_corr(result(settled=True, gradient_steps=0))[0]


def test_a_higher_score_that_games_passed_over_is_told() -> None:
    scores = {"linear": 0.99, "linear, actions learned": 0.62, "mlp": 0.63}
    note = passed_over_note(result(recipe="linear, actions learned", recipe_scores=scores))
    assert note is not None and note.endswith("higher score: linear (0.99)")
    assert note in learn_corr(result(recipe="linear, actions learned", recipe_scores=scores))
    assert passed_over_note(result(recipe="linear", recipe_scores=scores)) is None
    assert passed_over_note(result()) is None


@pytest.mark.parametrize(
    ("settings", "tried"),
    [
        ({"recipe": "none", "action_map": "identity"}, "--action-map learned, --recipe auto, more"),
        ({"recipe": "none"}, "try --recipe auto, more --gradient-steps"),
        ({"action_map": "identity"}, "try --action-map learned, more --gradient-steps"),
        ({}, "try more --gradient-steps"),
    ],
)
def test_what_was_not_tried_is_advised_first(settings: dict[str, Any], tried: str) -> None:
    line = learn_corr(result(settings, best_mean_return=-7.0))[1]
    assert line.startswith("no transfer expected") and tried in line


@pytest.mark.parametrize(
    ("tried", "untried", "words"),
    [
        (["linear"], ["linear, actions learned", "mlp"], "a map of the actions was not looked at"),
        (["linear"], ["linear, actions learned"], "its own command with --action-map learned and"),
        (["linear", "linear, actions learned"], ["mlp", "mlp, actions learned"], "the rest of the"),
        (["linear"], ["mlp"], "its own command with --overwrite and more time"),
    ],
)
def test_what_was_not_looked_at_for_want_of_time_is_named_with_a_command(
    tried: list[str], untried: list[str], words: str
) -> None:
    short = result(recipe_scores=dict.fromkeys(tried, 0.5), recipe_untried=untried)
    note = untried_note(short)
    assert note is not None and words in note and "; ".join(untried) in note
    assert learn_corr(short)[-1] == note
    assert untried_note(result()) is None


def test_a_search_that_was_cut_short_is_named_with_a_command() -> None:
    note = untried_note(result(search_cut=True))
    assert note is not None and "its own command with --overwrite and more time" in note
    assert learn_corr(result(search_cut=True))[-1] == note


def test_the_angle_is_of_what_is_kept() -> None:
    turned = result(angle_degrees=-89.5, best_angle_degrees=-90.0, mirrored=True)
    assert "; its angle is -90.00°, mirrored;" in learn_corr(turned)[0]
    assert (
        "; its angle is -90.00°;"
        in learn_corr(result(angle_degrees=0.0, best_angle_degrees=-90))[0]
    )
    turned["best_angle_degrees"] = None  # without games the end is kept
    assert "; its angle is -89.50°, mirrored;" in learn_corr(turned)[0]


def test_a_map_of_all_actions_onto_one_is_told() -> None:
    assert "are [0, 0, 0] of the source: all one" in learn_corr(result(action_map=[0, 0, 0]))[0]
    assert "all one" not in learn_corr(result(action_map=[0, 0, 1]))[0]
    assert "all one" not in learn_corr(result(action_map=[0]))[0]


@pytest.mark.parametrize(("score", "words"), [(0.9, "plays as well (mean"), (0.89, "no transfer")])
def test_what_plays_as_reuse_does_and_has_a_good_score_is_no_failure(
    score: float, words: str
) -> None:
    found = {"value": score, "model_share": 1.0, "bellman_share": None}
    line = learn_corr(result(best_mean_return=-7.0, score=found))[1]
    assert words in line
