"""Intervals for reported returns, and the metrics of transfer."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

import numpy as np

BOOTSTRAP_RESAMPLES = 10_000
MIN_DISTINCT_GAMES = (
    20  # a bootstrap of fewer is too narrow: of 5 it holds the mean 84 times in 100 instead of 95
)
MOVING_MEAN_GAMES = 20  # the paper's Figures 5 and 8


def bootstrap_interval(returns: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of ``returns``.

    The percentile method, because the bias-corrected one is undefined on constant samples and a
    solved Pong is constant. Resampling is seeded: the same returns give the same interval. A single
    return gives a degenerate interval, since one game says nothing about spread.

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


@functools.cache
def student_t_quantile(probability: float, degrees_of_freedom: int) -> float:
    """The value below which Student's t lies with ``probability``, at least ½."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        if (1.0 + _student_t_within(angle, degrees_of_freedom)) / 2 < probability:
            low = angle
        else:
            high = angle
    return math.sqrt(degrees_of_freedom) * math.tan(low)


def _student_t_within(angle: float, degrees_of_freedom: int) -> float:
    """P(|t| < √ν tan(angle)) for ν degrees of freedom, exactly.

    Abramowitz & Stegun, 26.7.3 and 26.7.4.
    """
    sine, cosine, odd = math.sin(angle), math.cos(angle), degrees_of_freedom % 2
    term, total = cosine if odd else 1.0, 0.0
    for power in range(odd, degrees_of_freedom - 1, 2):
        total += term
        term *= (power + 1) / (power + 2) * cosine**2
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def student_t_interval(
    means: Sequence[float], confidence: float = 0.95
) -> tuple[float, float] | None:
    """Student's t interval of the mean of independent ``means``, such as those of seeds.

    None for fewer than two.
    """
    if len(means) < 2:
        return None
    values = np.asarray(means, dtype=np.float64)
    quantile = student_t_quantile((1.0 + confidence) / 2, len(values) - 1)
    half = quantile * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def clearly_better(returns: Sequence[float], others: Sequence[float]) -> bool:
    """True if the mean of ``returns`` is higher by two standard errors; one game has none."""
    gain = fmean(returns) - fmean(others)
    if min(len(returns), len(others)) < 2:
        return gain > 0
    error = math.sqrt(sum(variance(games) / len(games) for games in (returns, others)))
    return gain > 0 and gain >= 2 * error


THE_WAY = "of the way from random play to the agent"  # what :func:`normalised` is called in tables


def normalised(transfer: float, random: float, source: float) -> float | None:
    """(R − R_random) / (R_source − R_random); None for an agent no better than random play."""
    return None if source <= random else (transfer - random) / (source - random)


RANDOM_PLAY_APART, TOO_FAR = 0.5, 2.0  # ways from random play to the agent


def random_play_differs(random: float, source: float, source_random: float) -> bool:
    """True if random play on the two tasks differs by half as much as the agent is better than it.

    Then the same return may be good on one and bad on the other.
    """
    return abs(random - source_random) >= RANDOM_PLAY_APART * (source - source_random)


def comes_too_far(transfer: float, random: float, source: float) -> bool:
    """True if who transfers comes twice the way from random play to the agent, or further."""
    share = normalised(transfer, random, source)
    return share is not None and share >= TOO_FAR


def comparable_share(
    transfer: float, random: float, source: float, source_random: float | None
) -> float | None:
    """:func:`normalised`; None where returns on the two tasks seem to be on other scales.

    Args:
        source_random: of random play on the source's own task, where that is known.
    """
    apart = source_random is not None and random_play_differs(random, source, source_random)
    if apart or comes_too_far(transfer, random, source):
        return None
    return normalised(transfer, random, source)


def normalised_interval(
    transfer: Sequence[float], random: Sequence[float], source: Sequence[float]
) -> tuple[float, float] | None:
    """95 % bootstrap interval of :func:`normalised`, over the games of all three players.

    For games that differ: a bootstrap of few that repeat is far too narrow. None where the agent
    may be no better than random play: a share of nothing has no bounds.
    """
    resample = np.random.default_rng(0)
    through, low, high = (
        np.asarray(games, np.float64)[
            resample.integers(0, len(games), (BOOTSTRAP_RESAMPLES, len(games)))
        ].mean(axis=1)
        for games in (transfer, random, source)
    )
    way = high - low
    if np.quantile(way, 0.025) <= 0.0:
        return None
    shares = (through - low)[way > 0.0] / way[way > 0.0]
    least, most = np.quantile(shares, [0.025, 0.975])
    return float(least), float(most)


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval, and what it is an interval over.

    Attributes:
        bounds: None where there are too few to tell.
        over: ``"games"`` or ``"seeds"``, ``count`` of them.
        distinct: how many of the games differ, where that is known.
    """

    mean: float
    bounds: tuple[float, float] | None
    over: str
    count: int
    distinct: int | None = None


def interval_over_games(returns: Sequence[float], distinct: int | None = None) -> Interval:
    """Mean and bootstrap interval of the returns of one player's games.

    The interval needs :data:`MIN_DISTINCT_GAMES` games that differ, for the same game again is no
    news; where nobody counted them, so many different returns.
    """
    enough = (len(set(returns)) if distinct is None else distinct) >= MIN_DISTINCT_GAMES
    return Interval(
        float(np.mean(returns)),
        bootstrap_interval(returns) if enough else None,
        "games",
        len(returns),
        distinct,
    )


def interval_over_seeds(returns: Sequence[Sequence[float]]) -> Interval:
    """Mean and Student's t interval of the seeds' mean returns.

    Seeds differ more than the games of one of them.
    """
    means = [float(np.mean(games)) for games in returns]
    return Interval(float(np.mean(means)), student_t_interval(means), "seeds", len(means))


def moving_mean(returns: Sequence[float], window: int = MOVING_MEAN_GAMES) -> float | None:
    """Mean of the last ``window`` returns, as in the paper's Figures 5 and 8.

    Of all while there are fewer; None without any.
    """
    recent = returns[-window:]
    return float(np.mean(recent)) if len(recent) else None


def moving_means(returns: Sequence[float], window: int = MOVING_MEAN_GAMES) -> list[float]:
    """:func:`moving_mean` after each game."""
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(returns, dtype=np.float64))])
    ends = np.arange(1, len(sums))
    starts = np.maximum(0, ends - window)
    return [float(mean) for mean in (sums[ends] - sums[starts]) / (ends - starts)]


def first_at_least(
    curve: Sequence[float], threshold: float, window: int = MOVING_MEAN_GAMES
) -> int | None:
    """Index of the first game whose moving mean reaches ``threshold``; None if none does.

    Only from the first whole ``window`` on.
    """
    return next(
        (index for index in range(window - 1, len(curve)) if curve[index] >= threshold), None
    )


@dataclass(frozen=True)
class TransferMetrics:
    """Metrics of a learning curve on the target task (Taylor & Stone 2009).

    Attributes:
        jumpstart: mean return of the first 20 games.
        asymptote: mean return of the last 20 games.
        games_to, env_steps_to: by threshold, games and environment steps until the 20-game mean
            reached it; None if never.
    """

    jumpstart: float
    asymptote: float
    games_to: dict[float, int | None]
    env_steps_to: dict[float, int | None]


def transfer_metrics(
    returns: Sequence[float],
    env_steps: Sequence[int],
    thresholds: Sequence[float] = (0.0, 10.0, 18.0),
) -> TransferMetrics:
    """Metrics of a curve of games, with the environment steps at which each ended.

    Raises ValueError without games.
    """
    if not len(returns):
        raise ValueError("a learning curve needs at least one game")
    curve = moving_means(returns)
    reached = {threshold: first_at_least(curve, threshold) for threshold in thresholds}
    return TransferMetrics(
        jumpstart=float(np.mean(returns[:MOVING_MEAN_GAMES])),
        asymptote=float(np.mean(returns[-MOVING_MEAN_GAMES:])),
        games_to={threshold: None if at is None else at + 1 for threshold, at in reached.items()},
        env_steps_to={
            threshold: None if at is None else int(env_steps[at])
            for threshold, at in reached.items()
        },
    )
