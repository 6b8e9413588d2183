"""Which of one set goes with which of another at the least cost."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from corrtool.correspondence.assignment import assign


def cost_of(costs: np.ndarray, order: tuple[int, ...]) -> float:
    return float(sum(costs[row, column] for row, column in enumerate(order)))


def test_two_that_want_one_column_share_by_what_is_least_together() -> None:
    # Row 0 alone would take column 0; 1 + 9 is more than 2 + 1.
    assert assign(np.array([[1.0, 2.0], [1.0, 9.0]])) == (1, 0)
    assert assign(np.array([[5.0]])) == (0,)


def test_other_numbers_of_columns_give_each_row_its_cheapest() -> None:
    costs = np.array([[3.0, 1.0, 2.0], [5.0, 0.0, 9.0]])
    assert assign(costs) == (1, 1)
    assert assign(costs.T) == (0, 1, 0)


@pytest.mark.parametrize("size", range(1, 8))
def test_nothing_is_cheaper(size: int) -> None:
    for seed in range(10):
        costs = np.random.default_rng((size, seed)).normal(size=(size, size))
        found = assign(costs)
        assert sorted(found) == list(range(size))
        least = min(cost_of(costs, order) for order in permutations(range(size)))
        assert cost_of(costs, found) == pytest.approx(least)


@pytest.mark.parametrize("size", [9, 20])
def test_of_many_rows_no_exchange_is_cheaper(size: int) -> None:
    for seed in range(5):
        costs = np.random.default_rng((size, seed)).normal(size=(size, size))
        found = list(assign(costs))
        assert sorted(found) == list(range(size))
        for i in range(size):
            for j in range(i):
                other = found.copy()
                other[i], other[j] = other[j], other[i]
                assert cost_of(costs, tuple(found)) <= cost_of(costs, tuple(other)) + 1e-9


def test_the_cheapest_pair_is_given_up_where_the_rest_costs_more() -> None:
    """Of seven rows two want columns 0 and 1; the others have columns of their own."""
    costs = np.full((7, 7), 100.0)
    np.fill_diagonal(costs, 0.0)
    costs[:2, :2] = [[0.0, 1.0], [1.0, 50.0]]
    assert assign(costs) == (1, 0, 2, 3, 4, 5, 6)


@pytest.mark.parametrize("size", [4, 12])
def test_a_hidden_order_is_found(size: int) -> None:
    random = np.random.default_rng(size)
    order = tuple(int(column) for column in random.permutation(size))
    costs = random.uniform(1, 2, (size, size))
    costs[np.arange(size), order] = 0
    kept = costs.copy()
    assert assign(costs) == order
    assert (costs == kept).all()
