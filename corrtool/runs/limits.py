"""The time limit of a run, ``--max-minutes``: how much of it is left, and whether it is over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from corrtool.runs.run import Run


@dataclass(frozen=True)
class TimeLimit:
    """The limit that a run's settings have, if they have one.

    Attributes:
        agreed: of processes that share the work, what the first of them says.
    """

    run: Run
    agreed: Callable[[bool], bool] = bool

    def seconds_left(self) -> float | None:
        """Until the run has had its minutes, at least 0; None without a limit."""
        minutes = getattr(self.run.request.settings, "max_minutes", None)
        return None if minutes is None else max(0.0, 60 * minutes - self.run.seconds)

    def over(self) -> bool:
        """True once the run has had its minutes.

        Asked in all processes that share the work or in none, since they must end together.
        """
        left = self.seconds_left()
        return False if left is None else self.agreed(left <= 0)
