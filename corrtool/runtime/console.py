"""Output for people: messages and progress on stderr, the result on stdout."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeAlias

from rich.console import Console as RichConsole
from rich.live import Live
from rich.measure import Measurement
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from corrtool.errors import CorrtoolError
from corrtool.runtime.printable import PrintableConsole

PLAIN_LINE_SECONDS = 10.0
RATE_SECONDS = 60.0
_last_line_at = time.monotonic()

# Numbers to show while something runs, each under its name; None where there is none yet.
Numbers: TypeAlias = Mapping[str, int | float | str | None]
SecondsLeft: TypeAlias = Callable[[], float | None]  # None where there is no limit


@dataclass(frozen=True)
class Console:
    """Messages of a stage on stderr, unless ``quiet``.

    stdout holds the result and, with ``json``, nothing else.
    """

    quiet: bool = False
    json: bool = False

    def say(self, message: str) -> None:
        """One line for the person who waits."""
        if not self.quiet:
            _print_on_stderr(message)

    def say_if_silent(self, message: str) -> None:
        """The same where nothing was written for ten seconds and no bar moves."""
        if time.monotonic() - _last_line_at >= PLAIN_LINE_SECONDS and not sys.stderr.isatty():
            self.say(message)

    @contextmanager
    def used(self) -> Iterator[None]:
        """While a stage runs: what waits far from any stage speaks through this console."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def say_all(self, messages: list[str]) -> None:
        """Several lines for the person who waits."""
        for message in messages:
            self.say(message)

    def result(self, result: Mapping[str, object], lines: list[str] | Table) -> None:
        """Print the outcome of a command: ``result`` as one JSON object, or ``lines`` for people.

        Raises:
            CorrtoolError: stdout cannot be written, such as a file on a full disk; a pipe whose
                reader went away is none.
        """
        try:
            self._print(result, lines)
        except BrokenPipeError:
            raise
        except OSError as error:
            discard_stdout()
            raise CorrtoolError(
                f"standard output cannot be written: {error.strerror}", "redirect it elsewhere"
            ) from None

    def _print(self, result: Mapping[str, object], lines: list[str] | Table) -> None:
        out = PrintableConsole(highlight=False, soft_wrap=not isinstance(lines, Table))
        if self.json:
            print(json.dumps(result), flush=True)
        elif not self.quiet:
            if isinstance(lines, Table):
                out.width = max(
                    out.width, Measurement.get(out, out.options.update(width=200), lines).minimum
                )
                out.print(lines)
            else:
                for line in lines:
                    out.print(line)

    def progress(
        self,
        title: str,
        total: int,
        unit: str,
        start: int = 0,
        *,
        steady: bool = True,
        seconds_left: SecondsLeft = lambda: None,
    ) -> ProgressBar:
        """A progress display over ``total`` ``unit``, such as environment steps; a context manager.

        Args:
            steady: whether what is done so far tells the time left; games that are played side by
                side end together.
        """
        return ProgressBar(
            self, title, total, unit, start, steady=steady, seconds_left=seconds_left
        )

    def transient_progress(self, title: str, total: int, unit: str) -> ProgressBar:
        """A progress display of which nothing stays: for what is often done at once."""
        return ProgressBar(self, title, total, unit, 0, steady=True, transient=True)


_current: ContextVar[Console | None] = ContextVar("current_console", default=None)


def current_console() -> Console:
    """The console of the stage that runs, else a quiet one."""
    return _current.get() or Console(quiet=True)


def discard_stdout() -> None:
    """Discard what is still to be written to stdout, since nobody can read it.

    The interpreter would complain when it ends.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class ProgressBar:
    """A bar with rate, time left and the numbers that matter.

    Plain lines at intervals where there is no terminal.
    """

    def __init__(
        self,
        console: Console,
        title: str,
        total: int,
        unit: str,
        start: int,
        *,
        steady: bool,
        transient: bool = False,
        seconds_left: SecondsLeft = lambda: None,
    ) -> None:
        self._seconds_left = seconds_left
        self._title, self._total, self._unit, self._steady = title, total, unit, steady
        self._done = self._start = start
        self._began = self._last_call = time.monotonic()
        self._last_line = max(
            _last_line_at, self._began - PLAIN_LINE_SECONDS / 2
        )  # the silence before counts as well
        self._printed_count: int | None = None  # how many were done at the last plain line
        self._recent = deque([(self._began, start)])
        self._pinned: dict[str, int | float | str | None] = {}
        self._numbers: Numbers = {}
        self._temporary: Numbers = {}
        self._quiet, self._transient = console.quiet, transient
        self._terminal, self._spinner = RichConsole(stderr=True), Spinner("dots")
        self._live: Live | None = None
        if not console.quiet and self._terminal.is_terminal:
            self._live = Live(
                console=self._terminal,
                get_renderable=self._line,
                refresh_per_second=4,
                transient=transient,
            )

    def __enter__(self) -> ProgressBar:
        if self._live is not None:
            self._live.start()
        elif (
            not (self._quiet or self._transient)
            and self._began - _last_line_at >= PLAIN_LINE_SECONDS / 2
        ):
            # What came before was silent, and the first step may take long as well.
            self._print_line()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        elif not self._quiet and not (
            self._transient and self._printed_count in (None, self._done)
        ):
            self._print_line()

    def advance(self, count: int, numbers: Numbers | None = None) -> None:
        """``count`` more are done.

        ``numbers``, the most important first, are shown from now on in place of those before.
        """
        if numbers is not None:
            self._numbers = numbers
        self.show(count, {})

    def show(self, count: int, numbers: Numbers | None = None) -> None:
        """``count`` more are done.

        ``numbers`` take the place of the others until :meth:`advance` or :meth:`note` is called.
        """
        self._done += count
        if numbers is not None:
            self._temporary = numbers
        now = time.monotonic()
        if now - self._recent[-1][0] >= RATE_SECONDS / 60:
            self._recent.append((now, self._done))
            while now - self._recent[1][0] >= RATE_SECONDS:
                self._recent.popleft()
        if self._live is None and not self._quiet:
            next_call = now + (
                now - self._last_call
            )  # a line that waited for it would come too late
            if next_call - self._last_line >= PLAIN_LINE_SECONDS:
                self._print_line()
        self._last_call = now

    def end_at(self, total: int) -> None:
        """There are other ``total`` units to do than was thought."""
        self._total = total

    def note(self, numbers: Numbers) -> None:
        """Show ``numbers`` from now on, before those of :meth:`advance`."""
        self._pinned, self._temporary = {**numbers, **self._pinned, **numbers}, {}

    @property
    def rate(self) -> float:
        """Units per second over the last minute.

        Stages such as DQN's slow down when learning begins.
        """
        since, done = self._recent[0]
        return (self._done - done) / max(time.monotonic() - since, 1e-9)

    def _numbers_shown(self) -> list[str]:
        return _shown({**self._pinned, **(self._temporary or self._numbers)})

    def _rate_shown(self) -> str:
        return _rate(self.rate) if self._steady else ""

    def _time_shown(self) -> str:
        if not self._steady or self._done >= self._total:
            return f"{_clock(time.monotonic() - self._began)} taken"
        seconds = (self._total - self._done) / self.rate if self.rate > 0 else float("inf")
        limit = self._seconds_left()
        return f"{_clock(seconds if limit is None else min(seconds, limit))} left"

    def _print_line(self) -> None:
        self._last_line, self._printed_count = time.monotonic(), self._done
        count = f"{self._title}: {self._done:,}/{self._total:,} {self._unit}"
        parts = [count, self._rate_shown(), self._time_shown(), _GAP.join(self._numbers_shown())]
        _print_on_stderr(", ".join(p for p in parts if p))

    def _line(self) -> Text:
        """The parts that fit into the terminal's width; the least important are left out first."""
        numbers = [Text(number, "cyan") for number in self._numbers_shown()]
        count, unit = Text(f"{self._done:,}/{self._total:,}", "green"), Text(self._unit, "green")
        rate, left = Text(self._rate_shown()), Text(self._time_shown(), "yellow")
        title, spinner = (
            Text(self._title, "bold"),
            Text(str(self._spinner.render(time.monotonic()))),
        )
        bar = _bar(self._done / max(self._total, 1), self._terminal.options.ascii_only)
        first, others = numbers[:FIRST_NUMBERS], numbers[FIRST_NUMBERS:]
        shown, room = set(), self._terminal.width - 1
        for part in [count, left, *first, title, rate, unit, *others, bar, spinner]:
            if part and part.cell_len <= room:
                shown.add(id(part))
                room -= part.cell_len + len(_GAP)
        parts = [spinner, title, bar, count, unit, rate, left, *numbers]
        return Text(_GAP).join(part for part in parts if id(part) in shown)


FIRST_NUMBERS = 3  # those for which the name of the run makes room
_GAP = "  "
_BAR_WIDTH = 12


def _bar(share: float, ascii_only: bool) -> Text:
    done, line = round(min(share, 1.0) * _BAR_WIDTH), "-" if ascii_only else "━"
    return Text.assemble((line * done, "green"), (line * (_BAR_WIDTH - done), "bright_black"))


class _Stderr(PrintableConsole):
    """rich ends the process, and closes its stdout, where the reader of what it prints is gone."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _print_on_stderr(line: str) -> None:
    """One line. Whoever read the log may be gone; a training of many hours goes on without him."""
    global _last_line_at
    _last_line_at = time.monotonic()
    try:
        _Stderr(stderr=True, highlight=False, soft_wrap=True).print(line)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)


def _shown(numbers: Numbers) -> list[str]:
    def one(value: int | float | str | None) -> str:
        if value is None:
            return "–"
        return (
            f"{value:.4g}"
            if isinstance(value, float)
            else f"{value:,}"
            if isinstance(value, int)
            else str(value)
        )

    return [f"{name} {one(value)}" for name, value in numbers.items()]


def _rate(per_second: float) -> str:
    """A rate as text; anything that takes longer than a second is counted by the minute."""
    return f"{per_second:,.1f}/s" if per_second >= 1 else f"{60 * per_second:,.1f}/min"


def _clock(seconds: float) -> str:
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
