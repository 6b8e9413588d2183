"""Intervals for reported returns, and the metrics of transfer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BOOTSTRAP_RESAMPLES = 10_000
MOVING_MEAN_GAMES = 20  # the paper's Figures 5 and 8


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


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval, and what it is an interval over: ``"games"`` or ``"seeds"``, ``count`` of them."""

    mean: float
    low: float
    high: float
    over: str
    count: int


def interval_over_games(returns: Sequence[float]) -> Interval:
    """Mean and bootstrap interval of the returns of one player's games."""
    return Interval(float(np.mean(returns)), *bootstrap_interval(returns), "games", len(returns))


def interval_over_seeds(returns: Sequence[Sequence[float]]) -> Interval:
    """Mean and bootstrap interval of the seeds' mean returns: seeds differ more than the games of one of them."""
    means = [float(np.mean(games)) for games in returns]
    return Interval(float(np.mean(means)), *bootstrap_interval(means), "seeds", len(means))


def moving_mean(returns: Sequence[float], window: int = MOVING_MEAN_GAMES) -> float | None:
    """Mean of the last ``window`` returns (fewer while there are fewer), the paper's Figures 5 and 8; None without any."""
    recent = returns[-window:]
    return float(np.mean(recent)) if len(recent) else None


def moving_means(returns: Sequence[float], window: int = MOVING_MEAN_GAMES) -> list[float]:
    """:func:`moving_mean` after each game."""
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(returns, dtype=np.float64))])
    ends = np.arange(1, len(sums))
    starts = np.maximum(0, ends - window)
    return [float(mean) for mean in (sums[ends] - sums[starts]) / (ends - starts)]


def first_at_least(curve: Sequence[float], threshold: float, window: int = MOVING_MEAN_GAMES) -> int | None:
    """Index of the first game, not before a whole ``window``, whose moving mean reaches ``threshold``; None if none does."""
    return next((index for index in range(window - 1, len(curve)) if curve[index] >= threshold), None)


@dataclass(frozen=True)
class TransferMetrics:
    """How a learning curve on the target task went (Taylor & Stone 2009).

    Attributes:
        jumpstart: mean return of the first 20 games.
        asymptote: mean return of the last 20 games.
        games_to, env_steps_to: by threshold, games and environment steps until the 20-game mean reached it; None if never.
    """

    jumpstart: float
    asymptote: float
    games_to: dict[float, int | None]
    env_steps_to: dict[float, int | None]


def transfer_metrics(
    returns: Sequence[float], env_steps: Sequence[int], thresholds: Sequence[float] = (0.0, 10.0, 18.0)
) -> TransferMetrics:
    """Metrics of a curve of games, with the environment steps at which each ended. Raises ValueError without games."""
    if not len(returns):
        raise ValueError("a learning curve needs at least one game")
    curve = moving_means(returns)
    reached = {threshold: first_at_least(curve, threshold) for threshold in thresholds}
    return TransferMetrics(
        jumpstart=float(np.mean(returns[:MOVING_MEAN_GAMES])),
        asymptote=float(np.mean(returns[-MOVING_MEAN_GAMES:])),
        games_to={threshold: None if at is None else at + 1 for threshold, at in reached.items()},
        env_steps_to={threshold: None if at is None else int(env_steps[at]) for threshold, at in reached.items()},
    )
