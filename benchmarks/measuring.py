"""How a row is measured: ours and the peer's alternate, and medians are compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        work: what is done.
        peer: what stands beside it.
        unit: of ``ours`` and ``theirs``, such as ``"records/s"``.
        ours, theirs: one value per round.
        goal: what the ratio of the medians should reach.
    """

    work: str
    peer: str
    unit: str
    ours: list[float]
    theirs: list[float]
    goal: float

    @property
    def ratio(self) -> float:
        """Median of ours by median of theirs."""
        return statistics.median(self.ours) / statistics.median(self.theirs)

    def to_json(self) -> dict[str, object]:
        """As a JSON object."""
        return {**vars(self), "ratio": self.ratio}


def per_second(count: int, work: Callable[[], object]) -> float:
    """``count`` by the seconds that ``work`` takes."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def alternate(ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> tuple[list[float], list[float]]:
    """Measures both in turn, ``rounds`` times after one round that does not count."""
    pairs = [(ours(), theirs()) for _ in range(rounds + 1)][1:]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
