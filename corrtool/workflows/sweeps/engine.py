"""Where the commands of a sweep run: what a sweep asks of an engine, and how it reads exit codes.

An engine knows no cells, no runs and no project. It begins a command line somewhere, says whether
it still runs, passes signals on and tells its exit code. What is done is told by the project's
runs, so that no engine's own state matters, and one that loses a job loses only time.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Protocol


class Job(Protocol):
    """A command that was begun."""

    @property
    def host(self) -> str:
        """The machine it runs on, and what else finds it there."""

    def poll(self) -> int | None:
        """Its exit code, the negative of a signal that killed it, or None while it runs."""

    def signal(self, number: int) -> None:
        """Pass a signal on; one that has ended hears nothing."""


class Engine(Protocol):
    """What begins commands."""

    @property
    def name(self) -> str:
        """As ``--engine`` says it."""

    @property
    def slots(self) -> int:
        """How many commands it takes at once, as things stand now."""

    def submit(self, words: Sequence[str], log: Path) -> Job:
        """Begin ``corrtool`` with these words; what it says goes to the end of ``log``."""


class Outcome(Enum):
    """What an exit code means for the run behind it."""

    DONE = "done"
    INTERRUPTED = "interrupted"
    HELD = "held"
    FAILED = "failed"


def outcome_of(code: int) -> Outcome:
    """What the exit code of a command says (docs/cli.md).

    Whoever was killed, by a signal or by a shell's account of one, can go on where it was. Where
    another process writes the run (5) there is nothing to do but to look again.
    """
    if code == 0:
        return Outcome.DONE
    if code < 0 or code > 128:
        return Outcome.INTERRUPTED
    return Outcome.HELD if code == 5 else Outcome.FAILED
