"""What ``transfer`` tells below its table."""

from __future__ import annotations

from typing import Any

import pytest

from corrtool.correspondence.play_tests import PlayTestResults
from corrtool.workflows.transfer_rows import (
    has_failed,
    make_notes,
    make_rows,
    no_way,
    nothing_to_transfer,
)


def one_game_each(**returns: float) -> list[Any]:
    return [
        {"policy": policy, "mean_return": one, "returns": [one]} for policy, one in returns.items()
    ]


@pytest.mark.parametrize(
    ("share", "score", "explains"),
    [(0.95, 0.95, False), (0.89, 0.95, True), (0.95, 0.89, True), (None, None, False)],
)
def test_notes_name_explain_where_the_transfer_lacks_something(
    share: float | None, score: float | None, explains: bool
) -> None:
    rows = one_game_each(source=2.0, source_random=0.0, random=0.0, reuse=0.0, transfer=1.0)
    rows[-1]["normalised"] = share
    learnt: Any = {"score": None if score is None else {"value": score}}
    notes = make_notes(rows, learnt | {"settings": {"recipe_enough": 0.9}}, [], None)
    assert any("corrtool explain" in note for note in notes) is explains


def test_notes_say_what_was_not_looked_at_for_want_of_time() -> None:
    rows = one_game_each(source=2.0, source_random=0.0, random=0.0, reuse=0.0, transfer=1.0)
    learnt: Any = {"recipe_scores": {"linear": 0.6}, "recipe_untried": ["linear, actions learned"]}
    (note,) = make_notes(rows, learnt, [], None)
    assert "--action-map learned" in note and "larger --budget" in note


def played(share: float, random: list[float], transfer: list[float]) -> list[Any]:
    """The rows of games of the source's agent, random play and transfer."""
    games = {
        "source": [100.0],
        "source_random": random,
        "random": random,
        "transfer": transfer,
    }
    rows: list[Any] = [
        {"policy": policy, "returns": returns, "mean_return": sum(returns) / len(returns)}
        for policy, returns in games.items()
    ]
    rows[-1]["normalised"] = share
    return rows


@pytest.mark.parametrize(
    ("share", "random", "transfer", "failed"),
    [
        (0.19, [0.0, 0.0], [19.0, 19.0], "hardly better than random play, 19% of the way"),
        (0.2, [0.0, 0.0], [20.0, 20.0], None),
        (0.5, [0.0], [50.0], None),  # of one game nothing says how much they differ
        # Means 0 and 50, standard errors 10 and 20 (deviations 10√2 and 20√2 over √2): √500 = 22.4.
        (0.5, [-10.0, 10.0], [30.0, 70.0], None),
        (0.44, [-10.0, 10.0], [24.0, 64.0], "not clearly better than random play"),
        (-0.1, [10.0, 10.0], [0.0, 0.0], "worse than random play"),
    ],
)
def test_what_has_not_transferred_is_told(
    share: float, random: list[float], transfer: list[float], failed: str | None
) -> None:
    rows = played(share, random, transfer)
    learnt: Any = {"corr": "auto", "score": {"value": 0.99}}
    assert has_failed(rows) is (failed is not None)
    notes = make_notes(rows, learnt, [], "why")
    told = [note for note in notes if note.startswith("through auto the agent is ")]
    assert len(told) == (failed is not None)
    if failed is not None:
        assert failed in told[0] and "a score of 0.99 does not prove that it plays" in told[0]


@pytest.mark.parametrize(("action_map", "advised"), [("learned", True), ("[0, 1]", False)])
def test_a_map_of_the_actions_is_advised_where_none_was_given(
    action_map: str, advised: bool
) -> None:
    learnt: Any = {"corr": "auto", "settings": {"action_map": action_map}}
    note, *_ = make_notes(played(0.1, [0.0, 0.0], [10.0, 10.0]), learnt, [], "why")
    assert note.startswith("through auto") and ("--action-map" in note) is advised
    assert "a score of" not in note


def test_where_time_was_short_that_comes_first_and_no_other_advice_on_actions() -> None:
    learnt: Any = {"corr": "auto", "settings": {"action_map": "auto"}}
    first, second, *_ = make_notes(played(0.1, [0.0], [10.0]), learnt, ["train-model"], "why")
    assert first.startswith("ended early for want of time: train-model;")
    assert second.startswith("through auto the agent is hardly better") and "--act" not in second


@pytest.mark.parametrize(
    ("transfer", "like_reuse"),
    # Means -20.8 and -21, standard errors 0.2 and 0: one of them apart. Then 0.4 / 0.2.
    [([-21.0, -21.0, -20.0, -21.0, -21.0], True), ([-21.0, -20.0, -21.0, -20.0, -21.0], False)],
)
def test_a_little_better_than_reuse_is_told_as_no_better(
    transfer: list[float], like_reuse: bool
) -> None:
    transfer = [*transfer, *transfer] if not like_reuse else transfer
    results = PlayTestResults(best_returns=transfer, reuse_returns=[-21.0] * 5)
    assert results.like_reuse is like_reuse
    assert not PlayTestResults(best_returns=transfer).like_reuse
    rows = played(0.5, [-21.0], transfer)
    rows.insert(3, {"policy": "reuse", "returns": [-21.0] * 5, "mean_return": -21.0})
    notes = make_notes(rows, {"corr": "auto"}, [], None)  # type: ignore[typeddict-item]
    assert any("not clearly better than reuse" in note for note in notes) is like_reuse


def test_an_agent_no_better_than_random_play_has_nothing_to_transfer() -> None:
    rows = played(0.0, [100.0], [100.0])
    rows[-1]["normalised"] = None
    learnt: Any = {"corr": "auto"}
    assert not has_failed(rows)
    assert not any("through auto" in note for note in make_notes(rows, learnt, [], "why"))


def rows_of(**returns: list[float]) -> list[Any]:
    results: Any = {
        policy: {
            "returns": games,
            "mean_return": sum(games) / len(games),
            "ci95": [0.0, 0.0],
            "distinct_games": len(set(games)),
        }
        for policy, games in returns.items()
    }
    return make_rows(results)


def test_an_interval_needs_twenty_games_that_differ_of_each_player() -> None:
    """A bootstrap of four games that repeat holds the true share 43 times in 100."""
    differ = [float(60 + k) for k in range(30)]
    repeat = [float(60 + k % 4) for k in range(30)]
    for source, transfer, is_told in (
        (differ, differ, True),
        (differ, repeat, False),
        (repeat, differ, False),
        (differ, [60.0, 61.0] * 15, False),
    ):
        found = {"source": source, "source_random": [0.0] * 30, "random": [0.0, 1.0] * 15}
        results: Any = {
            policy: {
                "returns": games,
                "mean_return": sum(games) / 30,
                "ci95": [0.0, 0.0],
                "distinct_games": len(set(games)),
            }
            for policy, games in (found | {"transfer": transfer}).items()
        }
        row = make_rows(results)[-1]
        assert row["normalised"] is not None
        assert (row["normalised_ci95"] is not None) is is_told
        # Different games may have the same returns.
        results["transfer"]["distinct_games"] = results["source"]["distinct_games"] = 20
        assert make_rows(results)[-1]["normalised_ci95"] is not None


@pytest.mark.parametrize(
    ("source", "random", "is_better"),
    [
        # MinAtar's Asterix after 300,000 environment steps: 0.87 and 0.7 in 30 games each.
        ([2.0, 1.0, 0.0, 0.0, 2.0], [1.0, 1.0, 0.0, 0.0, 2.0], False),
        # Variances 2 and 0 of two games: a standard error of 1.
        ([1.0, 3.0], [0.0, 0.0], True),
        ([1.0, 3.0], [0.1, 0.1], False),
        ([0.0, 0.0], [1.0, 1.0], False),
        ([1.0], [0.0], True),
    ],
)
def test_of_an_agent_that_hardly_beats_random_play_no_share_is_told(
    source: list[float], random: list[float], is_better: bool
) -> None:
    rows = rows_of(source=source, source_random=random, random=random, transfer=[1.5, 1.5])
    assert (rows[-1]["normalised"] is not None) is is_better
    nothing = nothing_to_transfer(*rows[:2])
    assert (nothing is None) is is_better and no_way(rows) == nothing
    if nothing is not None:
        assert "nothing to transfer until it learns more" in nothing
        assert not has_failed(rows)


@pytest.mark.parametrize(
    ("random", "told"),
    [(10.0, True), (13.0, True), (7.0, True), (14.0, False), (2.0, False), (95.0, False)],
)
def test_no_share_is_told_of_returns_on_other_scales(random: float, told: bool) -> None:
    """The agent is 8 better than random play: random play 4 away from that says too much."""
    rows = rows_of(
        source=[18.0, 18.0],
        source_random=[10.0, 10.0],
        random=[random, random],
        transfer=[random + 1.0, random + 1.0],
    )
    assert (rows[-1]["normalised"] is not None) is told
    assert not (not told and has_failed(rows))  # it is better than random play
    learnt: Any = {"corr": "auto"}
    notes = make_notes(rows, learnt, [], "why")
    assert any("on other scales" in note for note in notes) is not told


@pytest.mark.parametrize(("through", "told"), [(25.9, True), (26.0, False), (500.0, False)])
def test_no_share_is_told_of_twice_the_way(through: float, told: bool) -> None:
    """With rewards times ten, and random play that has next to none, only transfer tells."""
    games = {"source": 18.0, "source_random": 10.0, "random": 10.0, "transfer": through}
    rows = rows_of(**{who: [mean, mean] for who, mean in games.items()})
    assert (rows[-1]["normalised"] is not None) is told
    learnt: Any = {"corr": "auto"}
    notes = make_notes(rows, learnt, [], "why")
    assert any("is 2 times the way" in note for note in notes) is not told
    assert not has_failed(rows)


def test_the_share_has_an_interval_over_games_where_enough_differ() -> None:
    source, random = [float(game) for game in range(90, 110)], [0.0] * 20
    through = [game / 2 for game in source]
    (row,) = rows_of(source=source, source_random=random, random=random, transfer=through)[-1:]
    assert row["normalised"] == pytest.approx(0.5)
    low, high = row["normalised_ci95"]
    assert 0.48 < low < 0.5 < high < 0.52
    (row,) = rows_of(source=[5.0] * 9, source_random=random, random=random, transfer=[5.0] * 9)[-1:]
    assert row["normalised"] == 1.0 and row["normalised_ci95"] is None
