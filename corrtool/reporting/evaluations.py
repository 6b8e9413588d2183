"""Protocol and outcome of an evaluation, as values and as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from corrtool.runs.results import Returns
from corrtool.settings.stages import EvaluateSettings
from corrtool.statistics import Interval, interval_over_games
from corrtool.tasks.task import TaskDescription

STICKY = 0.25  # Machado et al. 2018: the noise under which every table shows the players once more
_USUAL = EvaluateSettings()


@dataclass(frozen=True)
class Protocol:
    """The way the games of an evaluation were played; only numbers of one protocol can be compared.

    Attributes:
        epsilon: share of random actions; None for random play.
        idle_frames: frames without a reward after which a game was ended, 0 for any number.
        sticky: how often the last action was repeated.
    """

    epsilon: float | None
    games: int
    idle_frames: int
    sticky: float

    @classmethod
    def of(cls, settings: dict[str, Any], task: TaskDescription) -> Protocol:
        """Of an evaluation with these settings and this task, as JSON.

        Older ones lack some of the settings.
        """
        sticky = settings.get("repeat_action_probability")
        for part in (task.get("kwargs", {}), task.get("preprocessing", {})):
            sticky = part.get("repeat_action_probability") if sticky is None else sticky
        return cls(
            None if settings["policy"] == "random" else float(settings["epsilon"]),
            int(settings["games"]),
            int(settings.get("max_idle_frames", _USUAL.max_idle_frames)),
            float(sticky or 0.0),
        )

    @property
    def is_usual(self) -> bool:
        """True for the default protocol of ``evaluate``, sticky actions aside."""
        usual = (self.games, self.idle_frames) == (_USUAL.games, _USUAL.max_idle_frames)
        return usual and self.epsilon in (None, _USUAL.epsilon)

    def __str__(self) -> str:
        """Without what the tables have columns for: sticky actions of none or :data:`STICKY`."""
        parts = [f"{self.games} {'game' if self.games == 1 else 'games'}"]
        parts += [] if self.epsilon is None else [f"ε {self.epsilon:g}"]
        parts += [] if self.sticky in (0.0, STICKY) else [f"sticky actions {self.sticky:g}"]
        if self.idle_frames != _USUAL.max_idle_frames:
            parts.append(
                f"idle frames {self.idle_frames:,}" if self.idle_frames else "idle without end"
            )
        return ", ".join(parts)


def interval_of(result: Returns) -> Interval:
    """Mean and interval of an evaluation's result.

    Older results do not say how many games differ.
    """
    return interval_over_games(result["returns"], result.get("distinct_games"))


def format_mean(interval: Interval) -> str:
    """``20.1``; three digits where the returns are on a very small scale, or a very large one."""
    return format(interval.mean, _form(interval))


def format_bounds(interval: Interval) -> str:
    """``[19.9, 20.1]``, or a dash where the games or seeds are too few to tell."""
    if interval.bounds is None:
        return "–"
    low, high = (format(bound, _form(interval)) for bound in interval.bounds)
    return f"[{low}, {high}]"


def _form(interval: Interval) -> str:
    """How numbers of an interval are shown: one decimal says nothing of returns below a tenth."""
    largest = max(abs(number) for number in (interval.mean, *(interval.bounds or ())))
    return ".1f" if largest == 0 or 1 <= largest < 1e6 else ".3g"


def format_counts(interval: Interval) -> str:
    """``5 seeds``, or ``30 games, 4 distinct``: the same game again is no news."""
    over = interval.over if interval.count != 1 else interval.over.removesuffix("s")
    return f"{interval.count} {over}" + (
        "" if interval.distinct is None else f", {interval.distinct} distinct"
    )


def format_interval(interval: Interval) -> str:
    """All of it, as a cell of a table."""
    return f"{format_mean(interval)} {format_bounds(interval)}, {format_counts(interval)}"
