"""Intervals for reported returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BOOTSTRAP_RESAMPLES = 10_000


def bootstrap_interval(returns: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of ``returns``.

    The percentile method, because the bias-corrected one is undefined on constant samples and a solved Pong is
    constant. Resampling is seeded: the same returns give the same interval. A single return gives a
    degenerate interval, since one game says nothing about spread.

    Raises:
        ValueError: no returns.
    """
    if not len(returns):
        raise ValueError("an interval needs at least one return")
    values = np.asarray(returns, dtype=np.float64)
    picks = np.random.default_rng(0).integers(0, len(values), (BOOTSTRAP_RESAMPLES, len(values)))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(values[picks].mean(axis=1), [tail, 1.0 - tail])
    return float(low), float(high)


def moving_mean(returns: Sequence[float], window: int = 20) -> float | None:
    """Mean of the last ``window`` returns (fewer while there are fewer), the paper's Figures 5 and 8; None without any."""
    recent = returns[-window:]
    return float(np.mean(recent)) if len(recent) else None
