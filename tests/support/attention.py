"""How long a command leaves a person without an answer.

``python tests/support/attention.py learn-corr -p DIR …`` runs it and tells three figures, each the
longest stretch: in which no handler of a signal could run; between two looks of a loop at the
signals that it has received; and in which nothing was written on stderr. Not where stderr is a
terminal: there a bar moves.
"""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

from corrtool.cli import run
from corrtool.runs.loop import Loop
from corrtool.runtime import console

TICK_SECONDS = 0.05


class Longest:
    """The longest stretch between two marks, and when it began."""

    def __init__(self) -> None:
        self.seconds, self.at, self._last = 0.0, 0.0, time.monotonic()

    def mark(self) -> None:
        """Now."""
        now = time.monotonic()
        if now - self._last > self.seconds:
            self.seconds, self.at = now - self._last, self._last
        self._last = now

    def begin(self) -> None:
        """The next stretch begins now."""
        self._last = time.monotonic()


def measure(arguments: list[str]) -> tuple[int, dict[str, Longest]]:
    """The exit code of a command, run in this process, and what it showed."""
    deaf, unpolled, silent = Longest(), Longest(), Longest()
    signal.signal(signal.SIGALRM, lambda *_: deaf.mark())
    signal.setitimer(signal.ITIMER_REAL, TICK_SECONDS, TICK_SECONDS)
    enter, poll, write = Loop.__enter__, Loop.poll, console._print_on_stderr

    def entered(self: Loop) -> Loop:
        unpolled.begin()
        return enter(self)

    def polled(self: Loop) -> None:
        unpolled.mark()
        poll(self)

    def written(line: str) -> None:
        silent.mark()
        write(line)

    places: list[tuple[Any, str, Any]] = [
        (Loop, "__enter__", entered),
        (Loop, "poll", polled),
        (console, "_print_on_stderr", written),
    ]
    before = [(place, name, getattr(place, name)) for place, name, _ in places]
    try:
        for place, name, function in places:
            setattr(place, name, function)
        code = run(arguments)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for place, name, function in before:
            setattr(place, name, function)
    silent.mark()
    return code, {
        "without a handler": deaf,
        "without a poll in a loop": unpolled,
        "without a line": silent,
    }


if __name__ == "__main__":
    began = time.monotonic()
    code, longest = measure(sys.argv[1:])
    for what, stretch in longest.items():
        print(f"{stretch.seconds:6.1f} s {what}, from {stretch.at - began:.1f} s on")
    sys.exit(code)
