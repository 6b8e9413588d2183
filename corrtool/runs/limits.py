"""The time limit of a run, ``--max-minutes``: how much of it is left, and whether it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from corrtool.runs.run import Run


@dataclass(frozen=True)
class TimeLimit:
    """The limit that a run's settings have, if they have one.

    Attributes:
        agreed: of processes that share the work, what the first of them says.
        until: the seconds of the run at which a part of it is over; None for the limit itself.
    """

    run: Run
    agreed: Callable[[bool], bool] = bool
    until: float | None = None

    def part(self, share: float) -> TimeLimit:
        """What is over once this share, in [0, 1], of what is left now is used up.

        Itself where there is no limit.
        """
        left = self.seconds_left()
        return self if left is None else replace(self, until=self.run.seconds + share * left)

    def seconds_left(self) -> float | None:
        """Until the run has had its minutes, or a part of them, at least 0; None for no limit."""
        minutes = getattr(self.run.request.settings, "max_minutes", None)
        if minutes is None:
            return None
        until = 60 * minutes if self.until is None else self.until
        return max(0.0, until - self.run.seconds)

    def over(self) -> bool:
        """True once the run has had its minutes.

        Asked in all processes that share the work or in none, since they must end together.
        """
        left = self.seconds_left()
        return False if left is None else self.agreed(left <= 0)
