"""Statistics over tasks, by hand."""

from __future__ import annotations

import pytest

from corrtool.reporting.suite_statistics import (
    interquartile_mean,
    interquartile_mean_over_tasks,
    probability_of_improvement,
    stratified_bootstrap_interval,
)


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([7.0], 7.0),
        ([1.0, 2.0, 6.0], 3.0),  # a quarter of three is none
        ([-100.0, 1.0, 3.0, 100.0], 2.0),
        ([9.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, -9.0], 2.5),  # 1 … 4 are left
    ],
)
def test_the_middle_half(values: list[float], mean: float) -> None:
    assert interquartile_mean(values) == pytest.approx(mean)


def test_of_nothing_there_is_no_mean() -> None:
    with pytest.raises(ValueError, match="at least one"):
        interquartile_mean([])


def test_tasks_weigh_the_same_whatever_their_seeds() -> None:
    scores = [[0.0, 2.0], [3.0], [5.0, 5.0, 5.0], [100.0]]  # means 1, 3, 5, 100
    assert interquartile_mean_over_tasks(scores) == pytest.approx(4.0)


def test_the_interval_is_of_the_seeds_alone() -> None:
    assert stratified_bootstrap_interval([[0.2], [0.4], [0.9]]) == pytest.approx((0.5, 0.5))
    low, high = stratified_bootstrap_interval([[0.0, 1.0]])  # means of two seeds: 0, ½ or 1
    assert (low, high) == (0.0, 1.0)
    low, high = stratified_bootstrap_interval([[0.5, 0.6, 0.7], [0.5, 0.6, 0.7]])
    assert 0.5 <= low < 0.6 < high <= 0.7


def test_improvement_is_counted_task_by_task() -> None:
    """Of the first task 3 of 4 pairs are better and one is equal, of the second none is."""
    ours, theirs = [[1.0, 2.0], [0.0]], [[1.0, 0.0], [5.0]]
    assert probability_of_improvement(ours, theirs) == pytest.approx((3.5 / 4 + 0) / 2)
    assert probability_of_improvement(theirs, ours) == pytest.approx((0.5 / 4 + 1) / 2)
