"""Which correspondence plays best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corrtool.reporting.best import best_correspondence
from corrtool.reporting.finished import FinishedRun


def learnt(name: str, created: int, play_test: float | None, score: float | None) -> Any:
    result = {
        "best_mean_return": play_test,
        "score": None if score is None else {"value": score},
    }
    record: Any = {
        "result": result,
        "created": f"2026-01-{created:02}",
        "artifacts": [{"kind": "corr", "name": name, "sha256": f"of {name}"}],
    }
    return FinishedRun("learn-corr", name, Path(), record)


def played(corr: str, mean: float, *, created: int = 9, of: str | None = None, **more: Any) -> Any:
    settings = {"task": "target", "policy": "q", "epsilon": 0.0, "games": 10, **more}
    record: Any = {
        "result": {"mean_return": mean},
        "created": f"2026-01-{created:02}",
        "settings": settings,
        "tasks": {"target": {}},
        "parents": {"corr": {"name": corr, "sha256": of or f"of {corr}"}},
    }
    return FinishedRun("evaluate", f"e-{corr}", Path(), record)


AUTO, TINY = learnt("auto", 1, 11.0, 0.99), learnt("tiny", 2, 30.0, 1.0)


def test_fresh_games_count_more_than_what_learning_said() -> None:
    assert best_correspondence([AUTO, TINY], [played("auto", 11.0), played("tiny", -4.0)]) == "auto"
    assert best_correspondence([AUTO, TINY], [played("auto", 11.0)]) == "auto"
    games = [played("auto", 11.0), played("tiny", -4.0, games=2)]  # however many they are
    assert best_correspondence([AUTO, TINY], games) == "auto"


def test_the_newest_games_of_one_count() -> None:
    games = [played("auto", -7.0, created=8), played("tiny", 0.0), played("auto", 11.0, created=3)]
    assert best_correspondence([AUTO, TINY], games) == "tiny"


def test_games_through_what_has_been_replaced_and_on_the_source_do_not_count() -> None:
    games = [played("auto", 99.0, of="a former one"), played("auto", 99.0, task="source")]
    assert best_correspondence([AUTO, TINY], games) == "tiny"


@pytest.mark.parametrize("probability", [0.25, 0.5])
def test_only_one_protocol_is_compared_that_of_most(probability: float) -> None:
    sticky = played("tiny", 50.0, repeat_action_probability=probability)
    plain = [played("auto", 11.0), played("tiny", -4.0)]
    assert best_correspondence([AUTO, TINY], [sticky, *plain]) == "auto"


def test_without_games_play_tests_count_then_scores_then_which_is_newer() -> None:
    assert best_correspondence([AUTO, TINY], []) == "tiny"
    scored = [learnt("a", 1, None, 0.9), learnt("b", 2, None, 0.8), learnt("c", 3, None, None)]
    assert best_correspondence(scored, []) == "a"
    assert best_correspondence([learnt("a", 1, 3.0, 0.9), learnt("b", 2, 3.0, 0.9)], []) == "b"


def test_nothing_is_best_where_nothing_has_a_number() -> None:
    assert best_correspondence([], []) is None
    assert best_correspondence([learnt("a", 1, None, None)], []) is None
