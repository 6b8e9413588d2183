"""Mini-batches of rows in epochs: every row once, in a new random order each time."""

from __future__ import annotations

from typing import Any

import numpy as np

from corrtool.memory.rows import Rows


class ShuffledRows:
    """Endless mini-batches over ``rows``; the last, smaller part of an epoch begins the next batch.

    All randomness comes from ``random``; :meth:`state` makes it resumable.
    """

    def __init__(self, rows: Rows, batch_size: int, random: np.random.Generator) -> None:
        self._rows, self._batch_size, self._random = rows, batch_size, random
        self._order: Rows = np.zeros(0, np.int64)

    def next(self) -> Rows:
        """The next ``batch_size`` rows."""
        epochs = -(-max(0, self._batch_size - len(self._order)) // len(self._rows))
        if epochs:
            permutations = [self._random.permutation(self._rows) for _ in range(epochs)]
            self._order = np.concatenate([self._order, *permutations])
        batch, self._order = self._order[: self._batch_size], self._order[self._batch_size :]
        return batch

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"order": self._order, "random": self._random.bit_generator.state}

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self._order = state["order"]
        self._random.bit_generator.state = state["random"]
