"""Prioritized replay: transitions whose targets were missed by much are chosen more often."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from corrtool.memory.rows import Rows

MIN_ERROR = 1e-3  # so that no transition is forgotten


class Priorities:
    r"""Proportional prioritization (Schaul et al. 2016, section 3.3).

    Transition i is chosen with probability :math:`P(i) = p_i^\alpha / \sum_k p_k^\alpha`, where
    :math:`p_i = |\delta_i| + \epsilon` is how far its target was missed last.

    New transitions get the largest priority so far. Choosing takes a sum over all candidates
    instead of the paper's tree of sums: half a millisecond for 40,000 of them, where an update
    takes twenty.

    Args:
        rows: of the memory.
        exponent: α > 0.
    """

    def __init__(self, rows: int, exponent: float) -> None:
        self._exponent = exponent
        self._scaled = np.zeros(rows, np.float32)  # p ** α
        self._largest = 1.0

    def add(self, rows: Rows | slice) -> None:
        """New transitions at ``rows``."""
        self._scaled[rows] = self._largest

    def choose(
        self, candidates: Rows, count: int, random: np.random.Generator, importance_exponent: float
    ) -> tuple[Rows, NDArray[np.float32]]:
        r"""Stratified: one of ``candidates`` (N,) from each of ``count`` equal parts of the sum.

        Also their importance weights :math:`(N P(i))^{-\beta}`, as a share of the largest of them.
        """
        sums = np.cumsum(self._scaled[candidates], dtype=np.float64)
        total = sums[-1]
        points = (np.arange(count) + random.random(count)) * (total / count)
        chosen = candidates[
            np.minimum(np.searchsorted(sums, points, side="right"), len(candidates) - 1)
        ]
        weights = (self._scaled[chosen] * (len(candidates) / total)) ** -importance_exponent
        return chosen, (weights / weights.max()).astype(np.float32)

    def set_errors(self, rows: Rows, errors: NDArray[np.float32]) -> None:
        """``errors`` (B,): by how much the targets of ``rows`` (B,) were missed, of either sign."""
        scaled = (np.abs(errors) + MIN_ERROR) ** self._exponent
        self._scaled[rows] = scaled
        self._largest = max(self._largest, float(scaled.max()))

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"scaled": self._scaled, "largest": self._largest}

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self._scaled, self._largest = np.array(state["scaled"], np.float32), float(state["largest"])
