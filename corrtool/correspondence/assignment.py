"""Which of one set goes with which of another at the least cost: actions, channels, coordinates."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

EXHAUSTIVE = 6  # rows up to which all orders are compared: 720


def assign(costs: NDArray[np.floating]) -> tuple[int, ...]:
    """The column of each row of ``costs`` (n, m) such that they cost least together.

    Each column is taken once if there are as many as rows; otherwise every row takes its cheapest.
    Up to six rows the result is the least of all; beyond, the cheapest pairs are taken one by one
    and exchanged as long as that helps.
    """
    rows, columns = costs.shape
    if rows != columns:
        return tuple(int(column) for column in costs.argmin(1))
    if rows <= EXHAUSTIVE:
        orders = np.array(list(permutations(range(rows))))
        return tuple(int(c) for c in orders[costs[np.arange(rows), orders].sum(1).argmin()])
    return _improved(costs, _greedy(costs))


def _greedy(costs: NDArray[np.floating]) -> list[int]:
    left = costs.astype(np.float64)
    order = [0] * len(costs)
    for _ in order:
        row, column = np.unravel_index(left.argmin(), left.shape)
        order[int(row)] = int(column)
        left[row], left[:, column] = np.inf, np.inf
    return order


def _improved(costs: NDArray[np.floating], order: list[int]) -> tuple[int, ...]:
    """The order after all exchanges of two columns that make it cheaper."""
    better = True
    while better:
        better = False
        for i, j in combinations(range(len(order)), 2):
            a, b = order[i], order[j]
            if costs[i, b] + costs[j, a] < costs[i, a] + costs[j, b] - 1e-12:
                order[i], order[j], better = b, a, True
    return tuple(order)
