"""A limit for several stages in a row, and the share of it that each of them may take."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from corrtool.errors import UsageError

SHARES = {
    "train-dqn": 0.6,
    "train-model": 1 / 3,
    "learn-corr": 0.9,
}  # of what is left as each begins
# Of what learn-corr has left as its search for a start begins: the rest is for the search with the
# map of the actions open, and for learning.
SEARCH_SHARE = 0.5
LEAST_MINUTES = 0.01
_UNITS = {"s": 1 / 60, "m": 1.0, "h": 60.0}


def minutes_of(text: str) -> float:
    """The minutes of a duration such as ``90s``, ``20m`` or ``1.5h``.

    Raises:
        UsageError: it is no such text, or no time at all.
    """
    matched = re.fullmatch(r"(\d+\.?\d*|\.\d+)([smh])", text.strip(), re.ASCII)
    minutes = 0.0 if matched is None else float(matched[1]) * _UNITS[matched[2]]
    if not 0 < minutes < float("inf"):
        raise UsageError(f"--budget is {text!r}", "give it a time, such as 90s, 20m or 2h")
    return minutes


@dataclass
class Budget:
    """A number of minutes that begins to be used up when this is made.

    Attributes:
        minutes: in all; None for any number.
        began: the monotonic clock at that time, in seconds.
        planned_minutes: in a dry run, what the stages planned so far would take of it.
    """

    minutes: float | None
    began: float = field(default_factory=time.monotonic)
    planned_minutes: float = 0.0

    @property
    def used_minutes(self) -> float:
        """Minutes since it began."""
        return (time.monotonic() - self.began) / 60

    def share(self, stage: str, reserved: float = 0.0) -> float | None:
        """The minutes that a stage which begins now may learn; None for any number.

        In hundredths, never none: whoever learns takes a step at least.

        Args:
            reserved: minutes that are to be left for the stages after it.
        """
        if self.minutes is None or stage not in SHARES:
            return None
        left = self.minutes - self.used_minutes - self.planned_minutes
        return max(LEAST_MINUTES, round(min(SHARES[stage] * left, left - reserved), 2))

    def plan(self, minutes: float) -> None:
        """Count what a stage would take, so that those planned after it share the rest."""
        self.planned_minutes += minutes
