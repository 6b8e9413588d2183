"""What ``transfer`` tells below its table."""

from __future__ import annotations

from typing import Any

import pytest

from corrtool.workflows.transfer_rows import make_notes


@pytest.mark.parametrize(
    ("share", "score", "explains"),
    [(0.95, 0.95, False), (0.89, 0.95, True), (0.95, 0.89, True), (None, None, False)],
)
def test_notes_name_explain_where_the_transfer_lacks_something(
    share: float | None, score: float | None, explains: bool
) -> None:
    rows: list[Any] = [
        {"policy": policy, "mean_return": mean}
        for policy, mean in (("source", 2.0), ("random", 0.0), ("reuse", 0.0), ("transfer", 1.0))
    ]
    rows[-1]["normalised"] = share
    learnt: Any = {"score": None if score is None else {"value": score}}
    notes = make_notes(rows, learnt | {"settings": {"recipe_enough": 0.9}}, [], None)
    assert any("corrtool explain" in note for note in notes) is explains


def test_notes_say_what_was_not_looked_at_for_want_of_time() -> None:
    rows: list[Any] = [
        {"policy": policy, "mean_return": mean}
        for policy, mean in (("source", 2.0), ("random", 0.0), ("reuse", 0.0), ("transfer", 1.0))
    ]
    learnt: Any = {"recipe_scores": {"linear": 0.6}, "recipe_untried": ["linear, actions learned"]}
    (note,) = make_notes(rows, learnt, [], None)
    assert "--action-map learned" in note and "larger --budget" in note
