"""The loop of a suite: the cells of one source and seed one after the other, several side by side.

They share an agent, so that they wait for each other; cells of other sources and seeds need not.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from corrtool.errors import CorrtoolError, InterruptedRunError
from corrtool.runs.loop import StopSignals
from corrtool.workflows.suites.projects import Cell, Command, Suite
from corrtool.workflows.sweeps.engine import Engine, Job, Outcome, outcome_of
from corrtool.workflows.sweeps.running import (
    LONGEST_PAUSE_SECONDS,
    LOOK_AGAIN_SECONDS,
    POLL_SECONDS,
    Limits,
    last_error,
)


@dataclass
class Lane:
    """The cells of one source and seed, and the command of the first that runs.

    Attributes:
        ended: the words of the first cell's commands that have ended well.
        not_before: the monotonic clock at which it goes on.
    """

    cells: list[Cell]
    command: Command | None = None
    job: Job | None = None
    ended: list[tuple[str, ...]] = field(default_factory=list)
    interruptions: int = 0
    not_before: float = 0.0

    def drop(self) -> None:
        """The first cell is over."""
        del self.cells[0]
        self.ended, self.interruptions = [], 0


@dataclass
class SuiteRunner:
    """Runs cells until each is done or has failed.

    Attributes:
        tell: told a line of what happens.
        failures: of the cells that failed, by cell.
    """

    suite: Suite
    engine: Engine
    limits: Limits
    tell: Callable[[str], None]
    failures: dict[Cell, str] = field(default_factory=dict)

    def run(self, cells: Sequence[Cell]) -> None:
        """Run what is missing of these cells.

        Raises:
            InterruptedRunError: a signal came; the commands were told, and have ended.
        """
        lanes = lanes_of(cells)
        with StopSignals(polled=True) as stop:
            try:
                while any(lane.cells for lane in lanes):
                    if stop.received is not None:
                        self._stop(lanes, stop.received)
                        raise InterruptedRunError(stop.received, str(self.suite.root))
                    if self.limits.fail_fast and self.failures:
                        return
                    self._begin(lanes)
                    time.sleep(POLL_SECONDS)
                    self._poll(lanes)
            finally:
                self._stop(lanes, signal.SIGTERM)

    def _begin(self, lanes: Sequence[Lane]) -> None:
        """Begin what can be begun, in order."""
        free = self.engine.slots - sum(lane.job is not None for lane in lanes)
        for lane in lanes:
            if free > 0 and lane.job is None and lane.not_before <= time.monotonic():
                free -= self._begin_next(lane)

    def _begin_next(self, lane: Lane) -> bool:
        """Begin the next command of a lane; True if one now runs."""
        while lane.cells:
            cell = lane.cells[0]
            try:
                lane.command = self.suite.next_command(cell, lane.ended)
            except CorrtoolError as error:
                self._fail(lane, str(error))
                continue
            if lane.command is None:
                self.tell(f"done: {cell}{self._came_to(cell)}")
                lane.drop()
                continue
            if lane.command.words in lane.ended:
                self._fail(lane, "its commands ended well, but its games are not there")
                continue
            lane.job = self.engine.submit(lane.command.words, lane.command.log)
            return True
        return False

    def _came_to(self, cell: Cell) -> str:
        means = [one["means"] for one in self.suite.played(cell.pair, cell.seed)]
        found = [each[cell.method] for each in means if cell.method in each]
        return f", mean return {found[0]:.1f}" if found else ""

    def _poll(self, lanes: Sequence[Lane]) -> None:
        """Look at every command that runs."""
        for lane in lanes:
            code = None if lane.job is None else lane.job.poll()
            if code is not None:
                lane.job = None
                self._ended(lane, code)

    def _ended(self, lane: Lane, code: int) -> None:
        """Read the exit code of a command."""
        assert lane.command is not None
        outcome = outcome_of(code)
        if outcome is Outcome.DONE:
            lane.command.finish()
            lane.ended.append(lane.command.words)
            lane.interruptions = 0
        elif outcome is Outcome.HELD:
            lane.not_before = time.monotonic() + LOOK_AGAIN_SECONDS
        elif outcome is Outcome.INTERRUPTED and lane.interruptions < self.limits.retries:
            pause = min(LONGEST_PAUSE_SECONDS, 2.0**lane.interruptions)
            lane.not_before = time.monotonic() + pause
            lane.interruptions += 1
        else:
            said = last_error(lane.command.log) or f"exit code {code}"
            self._fail(lane, f"{lane.command.words[0]}: {said} ({lane.command.log})")

    def _fail(self, lane: Lane, line: str) -> None:
        """Give a cell up, and go on with the others; all of a lane, where what they share fails."""
        shared = lane.command is not None and lane.command.shared
        for cell in lane.cells[:] if shared else lane.cells[:1]:
            self.failures[cell] = line
            self.tell(f"failed: {cell}: {line}")
            lane.drop()

    def _stop(self, lanes: Sequence[Lane], number: int) -> None:
        """Pass a signal on to every command that runs, once, and wait until all have ended."""
        jobs = [lane.job for lane in lanes if lane.job is not None]
        for job in jobs:
            job.signal(number)
        while any(job.poll() is None for job in jobs):
            time.sleep(POLL_SECONDS)
        for lane in lanes:
            lane.job = None


def lanes_of(cells: Sequence[Cell]) -> list[Lane]:
    """The cells by source and seed, in their order."""
    lanes: dict[tuple[str, int], Lane] = {}
    for cell in cells:
        key = cell.pair.source.name, cell.seed
        lanes.setdefault(key, Lane([])).cells.append(cell)
    return list(lanes.values())
