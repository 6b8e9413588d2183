"""Statistics of a suite of tasks, after Agarwal et al. (2021), arXiv 2108.13264.

Scores are normalised returns, a list for each task with one for each seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000
TRIMMED_SHARE = 0.25  # at each end
Scores = Sequence[Sequence[float]]


def interquartile_mean(values: Sequence[float]) -> float:
    """The mean of the middle half: a quarter of the values, rounded down, is left out at each end.

    Raises ValueError without values.
    """
    if not len(values):
        raise ValueError("an interquartile mean needs at least one value")
    return float(_middle_mean(np.asarray(values, dtype=np.float64)[None])[0])


def interquartile_mean_over_tasks(scores: Scores) -> float:
    """The interquartile mean of each task's mean over its seeds."""
    return interquartile_mean([float(np.mean(task)) for task in scores])


def stratified_bootstrap_interval(scores: Scores, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile interval of :func:`interquartile_mean_over_tasks`.

    Seeds are drawn anew within each task, so that each keeps its weight. Of tasks with one seed it
    knows no spread. Drawing is seeded: the same scores give the same interval.
    """
    generator = np.random.default_rng(0)
    means = np.stack([_resampled_means(np.asarray(task), generator) for task in scores], axis=1)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(_middle_mean(means), [tail, 1.0 - tail])
    return float(low), float(high)


def probability_of_improvement(ours: Scores, theirs: Scores) -> float:
    """How likely ours is better than theirs on a task drawn at random, each with a seed of its own.

    The mean over tasks of P(X > Y) + P(X = Y)/2 over all pairs of seeds.
    """
    each = []
    for mine, other in zip(ours, theirs, strict=True):
        difference = np.subtract.outer(np.asarray(mine), np.asarray(other))
        each.append(float((difference > 0).mean() + 0.5 * (difference == 0).mean()))
    return float(np.mean(each))


def _resampled_means(
    seeds: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    picks = generator.integers(0, len(seeds), (RESAMPLES, len(seeds)))
    return np.asarray(seeds[picks].mean(axis=1))


def _middle_mean(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row."""
    cut = int(TRIMMED_SHARE * rows.shape[1])
    ordered = np.sort(rows, axis=1)
    return np.asarray(ordered[:, cut : rows.shape[1] - cut].mean(axis=1))
