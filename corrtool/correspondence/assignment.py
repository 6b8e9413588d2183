"""Which of one set goes with which of another at the least cost: actions, channels, coordinates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def assign(costs: NDArray[np.floating]) -> tuple[int, ...]:
    """The column of each row of ``costs`` (n, m) such that they cost least together.

    Each column is taken once if there are as many as rows; otherwise every row takes its cheapest.
    """
    rows, columns = costs.shape
    if rows != columns:
        return tuple(int(column) for column in costs.argmin(1))
    return _hungarian(costs.astype(np.float64))


def _hungarian(costs: NDArray[np.float64]) -> tuple[int, ...]:
    """The least of all one-to-one assignments, in O(n³).

    The Hungarian method by shortest augmenting paths (Jonker and Volgenant 1987): rows are
    assigned one by one, each along the cheapest path of exchanges, where costs are reduced by
    ``of_row`` and ``of_column``. Row and column 0 stand for none.
    """
    n = len(costs)
    of_row, of_column = np.zeros(n + 1), np.zeros(n + 1)
    row_of = np.zeros(n + 1, np.int64)
    for row in range(1, n + 1):
        row_of[0], column = row, 0
        least, before = np.full(n + 1, np.inf), np.zeros(n + 1, np.int64)
        done = np.zeros(n + 1, bool)
        while row_of[column]:
            done[column] = True
            reduced = costs[row_of[column] - 1] - of_row[row_of[column]] - of_column[1:]
            closer = ~done[1:] & (reduced < least[1:])
            least[1:][closer], before[1:][closer] = reduced[closer], column
            following = int(np.where(done, np.inf, least).argmin())
            step = least[following]
            of_row[row_of[done]] += step
            of_column[done] -= step
            least[~done] -= step
            column = following
        while column:
            row_of[column], column = row_of[before[column]], int(before[column])
    order = np.zeros(n, np.int64)
    order[row_of[1:] - 1] = np.arange(n)
    return tuple(int(column) for column in order)
