"""The loop of a sweep: begins what is missing, reads exit codes, and stops when it is asked to."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from corrtool.errors import CorrtoolError, InterruptedRunError
from corrtool.project.directory import Project
from corrtool.runs.loop import StopSignals
from corrtool.runs.records import RunRecord, run_directory
from corrtool.runs.standing import Standing, saved_seconds_ago
from corrtool.runs.sweeps import log_path
from corrtool.workflows.call import StageCall
from corrtool.workflows.sweeps.engine import Engine, Job, Outcome, outcome_of
from corrtool.workflows.sweeps.planning import PlannedCell
from corrtool.workflows.sweeps.steps import Step

POLL_SECONDS = 0.2
LOOK_AGAIN_SECONDS = 5.0  # at a run that somebody else writes
LONGEST_PAUSE_SECONDS = 60.0  # before another attempt; the first waits a second, each twice as long
_LOG_TAIL_BYTES = 10_000


@dataclass(frozen=True)
class Limits:
    """When a sweep gives up.

    Attributes:
        retries: how often a cell whose process died is begun again.
        fail_fast: whether the first cell that fails ends the sweep.
    """

    retries: int = 3
    fail_fast: bool = False


class Pruner(Protocol):
    """Whoever says which cells are to wait (``--prune``)."""

    def worse(self, step: Step) -> str | None:
        """Why the first run of a cell should wait; None where nothing new says so."""

    def left_out(self) -> list[str]:
        """Which cells cannot be compared, and why; each is told once."""


class Watcher(Protocol):
    """Whoever shows how a sweep goes on."""

    def begun(self, step: Step, host: str) -> None:
        """A run was begun, or begun again."""

    def ended(self, step: Step, record: RunRecord, *, here: bool) -> None:
        """A run is done, and was begun ``here`` or not."""

    def failed(self, work: Work, line: str) -> None:
        """A cell failed, or was given up."""

    def interrupted(self, step: Step, code: int) -> None:
        """A run's process died, and will be begun again."""

    def paused(self, work: Work, line: str) -> None:
        """A cell was saved, and waits."""

    def left_out(self, line: str) -> None:
        """A cell cannot be compared with the others."""

    def tick(self, works: Sequence[Work]) -> None:
        """Nothing in particular; called several times a second."""


@dataclass
class Work:
    """A cell as it is being worked on.

    Attributes:
        state: ``waiting`` for a place or for another cell, ``running`` here, ``held`` by somebody
            else, ``done``, ``failed``, or ``paused``.
        job, log: of its command that runs.
        interruptions: of the run that is its next.
        to_pause: why its command was told to save and end.
        not_before: the monotonic clock at which it is looked at again.
    """

    planned: PlannedCell
    project_root: Path
    at: int = 0
    state: str = "waiting"
    job: Job | None = None
    log: Path | None = None
    interruptions: int = 0
    to_pause: str | None = None
    not_before: float = 0.0

    @property
    def over(self) -> bool:
        """True if nothing more will be done for it."""
        return self.state in ("done", "failed", "paused")

    @property
    def saved_seconds_ago(self) -> float | None:
        """The age of the newest checkpoint of its next run."""
        root, step = self.project_root, self.step
        return saved_seconds_ago(run_directory(root, step.stage, step.name))

    @property
    def step(self) -> Step:
        """The run that is its next, or is running."""
        return self.planned.steps[self.at]


@dataclass
class Runner:
    """Runs cells through an engine until each is done or has failed.

    Attributes:
        calls: what is said of each stage that comes after the first of a cell.
        on_change: called when a run was planned, or a cell has failed: the manifest is to be
            written.
        pruner: says which cells are paused; those that were before stay so.
    """

    project: Project
    sweep: str
    engine: Engine
    calls: Mapping[str, StageCall]
    limits: Limits
    watcher: Watcher
    on_change: Callable[[], None]
    works: list[Work] = field(default_factory=list)
    pruner: Pruner | None = None

    def run(self, planned: Sequence[PlannedCell]) -> None:
        """Run what is missing of these cells; returns when nothing is left to do.

        Raises:
            InterruptedRunError: a signal came; the commands were told, and have ended.
        """
        self.works = [Work(one, self.project.root) for one in planned]
        for work in self.works:
            self._skip_done(work)
            if work.planned.paused is not None and work.at == 0:
                self._pause(work, work.planned.paused)
        self._tell_left_out()
        with StopSignals(polled=True) as stop:
            try:
                while not all(work.over for work in self.works):
                    if stop.received is not None:
                        self._stop(stop.received)
                        raise InterruptedRunError(stop.received, str(self.project.root / "runs"))
                    if self.limits.fail_fast and any(w.state == "failed" for w in self.works):
                        return
                    self._begin()
                    self.watcher.tick(self.works)
                    time.sleep(POLL_SECONDS)
                    self._poll()
                    self._prune()
            finally:
                self._stop(signal.SIGTERM)

    def _skip_done(self, work: Work) -> None:
        """Pass over what was done before."""
        while not work.over and work.at < len(work.planned.steps):
            standing = self._standing(work)
            if standing is None or standing.state != "done":
                return
            self._advance(work, standing)

    def _poll(self) -> None:
        """Look at every command that runs."""
        for work in self.works:
            code = None if work.job is None else work.job.poll()
            if code is not None:
                work.job = None
                self._ended(work, code)

    def _ended(self, work: Work, code: int) -> None:
        """Read the exit code of a command."""
        outcome, to_pause = outcome_of(code), work.to_pause
        work.to_pause = None
        if outcome is Outcome.DONE:
            standing = self._standing(work)
            if standing is not None and standing.state == "done":
                self._advance(work, standing)
            elif standing is not None:
                self._fail(work, "its command ended well, but its run is not there")
        elif outcome is Outcome.HELD:
            self._wait(work, "held", LOOK_AGAIN_SECONDS)
        elif outcome is Outcome.INTERRUPTED and to_pause is not None:
            self._pause(work, to_pause)
        elif outcome is Outcome.INTERRUPTED:
            work.interruptions += 1
            if work.interruptions > self.limits.retries:
                self._fail(work, f"interrupted {work.interruptions} times, exit code {code}")
            else:
                pause = min(LONGEST_PAUSE_SECONDS, 2.0 ** (work.interruptions - 1))
                self._wait(work, "waiting", pause)
                self.watcher.interrupted(work.step, code)
        else:
            self._fail(work, last_error(work.log) or f"exit code {code}")

    def _begin(self) -> None:
        """Begin what can be begun, in the order of the cells."""
        free = self.engine.slots - sum(work.job is not None for work in self.works)
        names = {work.planned.name: work for work in self.works}
        for work in self.works:
            if free <= 0:
                return
            if work.state not in ("waiting", "held") or work.not_before > time.monotonic():
                continue
            if self._is_ready(work, names) and self._begin_next(work):
                free -= 1

    def _is_ready(self, work: Work, names: Mapping[str, Work]) -> bool:
        """True if all is done that a cell needs of another one."""
        needed = names.get(work.planned.cell.after or "")
        if needed is None or needed.state == "done":
            return True
        if needed.state == "failed":
            self._fail(work, f"it needs {needed.planned.name}, which failed")
        return False

    def _begin_next(self, work: Work) -> bool:
        """Begin the next run of a cell that is not done yet; True if a command now runs."""
        while not work.over:
            if work.at == len(work.planned.steps) and not self._plan(work):
                return False
            standing = self._standing(work)
            if standing is None:
                return False
            if standing.state == "done":
                self._advance(work, standing)
            elif standing.state == "running":
                self._wait(work, "held", LOOK_AGAIN_SECONDS)
                return False
            elif standing.state == "interrupted" and (reason := self._reason_to_wait(work)):
                self._pause(work, reason)
            else:
                step = work.step
                work.log = log_path(self.project.root, self.sweep, step.name, step.stage)
                work.job = self.engine.submit(step.words(self.project), work.log)
                work.state = "running"
                self.watcher.begun(step, work.job.host)
                return True
        return False

    def _plan(self, work: Work) -> bool:
        """Plan the run that could not be planned before; False where its stage refuses it."""
        try:
            work.planned.plan_next(self.project, self.calls)
        except CorrtoolError as error:
            self._fail(work, str(error))
            return False
        self.on_change()
        return True

    def _standing(self, work: Work) -> Standing | None:
        """Where the next run of a cell stands; None where its record is damaged: it has failed."""
        try:
            return work.step.standing(self.project)
        except CorrtoolError as error:
            self._fail(work, str(error))
            return None

    def _advance(self, work: Work, standing: Standing) -> None:
        """The next run of a cell is done: on to the one after it."""
        assert standing.record is not None
        self.watcher.ended(work.step, standing.record, here=work.log is not None)
        work.at, work.interruptions, work.log = work.at + 1, 0, None
        work.state = "done" if work.at == 1 + len(work.planned.cell.then) else "waiting"
        if work.state == "done" and work.planned.failure is not None:
            work.planned.failure = None
            self.on_change()

    def _prune(self) -> None:
        """Tell the commands of cells that are to wait, once, to save and end."""
        for work in self.works:
            if work.job is not None and work.to_pause is None:
                work.to_pause = self._reason_to_wait(work)
                if work.to_pause is not None:
                    work.job.signal(signal.SIGTERM)
        self._tell_left_out()

    def _tell_left_out(self) -> None:
        """Tell of cells that newly cannot be compared."""
        for line in [] if self.pruner is None else self.pruner.left_out():
            self.watcher.left_out(line)

    def _reason_to_wait(self, work: Work) -> str | None:
        """Why a cell is to wait whose first run is its next; what follows that never waits."""
        return None if self.pruner is None or work.at > 0 else self.pruner.worse(work.step)

    def _pause(self, work: Work, line: str) -> None:
        """Let a cell wait that has something to go on from; another one begins anew."""
        standing, before = self._standing(work), work.planned.paused
        if standing is None:
            return
        saved = standing.state == "interrupted"
        work.state, work.planned.paused = ("paused", line) if saved else ("waiting", None)
        if work.planned.paused != before:
            work.planned.failure = None
            self.on_change()
        if saved and before is None:
            self.watcher.paused(work, line)

    def _wait(self, work: Work, state: str, seconds: float) -> None:
        work.state, work.not_before = state, time.monotonic() + seconds

    def _fail(self, work: Work, line: str) -> None:
        """Give a cell up, and go on with the others."""
        work.state, work.planned.failure, work.planned.paused = "failed", line, None
        self.watcher.failed(work, line)
        self.on_change()

    def _stop(self, number: int) -> None:
        """Pass a signal on to every command that runs, once, and wait until all have ended."""
        jobs = [work.job for work in self.works if work.job is not None]
        for job in jobs:
            job.signal(number)
        while any(job.poll() is None for job in jobs):
            time.sleep(POLL_SECONDS)
        for work in self.works:
            if work.job is not None and work.to_pause is not None:
                self._pause(work, work.to_pause)
            work.job = None


def last_error(log: Path | None, begins: int = 0) -> str | None:
    """The last line in which a command said what went wrong; None where it said nothing.

    Args:
        begins: bytes of the log that others have said before.
    """
    said = [line for line in log_tail(log, begins) if line.startswith("corrtool: ")]
    return said[-1].removeprefix("corrtool: ") if said else None


def log_tail(log: Path | None, begins: int = 0) -> list[str]:
    """The last lines that a command said, from that byte on."""
    if log is None or not log.is_file():
        return []
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(begins, size - _LOG_TAIL_BYTES))
        return file.read().decode(errors="replace").splitlines()
