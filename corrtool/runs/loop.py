"""The frame of every long loop of a stage: progress, checkpoints, orderly stops."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from corrtool.errors import InterruptedRunError, TrainingDivergedError
from corrtool.runs.limits import TimeLimit
from corrtool.runs.resumable import Resumable
from corrtool.runs.run import Run
from corrtool.runtime.console import Console, Numbers
from corrtool.runtime.signals import exit_now, stop_signals

CHECKPOINT_SECONDS = 60.0
CHECKPOINT_SHARE = (
    0.02  # of the time spent; a slow disk gets fewer checkpoints, not a slower training
)
MAX_LOST_SECONDS = 10.0  # of what a loop has done, where what follows it fails or is ended


class StopSignals:
    """The response to a signal that asks to stop.

    The process ends at once, but while somebody polls the signal is only remembered. A loop polls:
    it saves at its next step, since saving inside a handler would cut into whatever is being
    written; a second signal ends at once all the same. Before and after a loop there is nothing to
    save, and every write is atomic.

    Args:
        polled: whether somebody looks at ``received`` every second or so.
    """

    def __init__(self, *, polled: bool = False) -> None:
        self.polled = polled
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in stop_signals():
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if not self.polled or self.received is not None:
            exit_now(number)
        self.received = number


class Loop:
    """A loop over ``total`` ``unit``, from ``start``.

    Use as a context manager, with all that takes long and may be saved inside.

    Args:
        trial: what an unbroken run did before ``start``, if that is to be told.
        resumable: what a checkpoint must hold; asked between steps only.
        steady: as in :meth:`Console.progress`.
        after_checkpoint: called when a new checkpoint is on disk.
        agreed: of processes that share the work, what the first of them says.
    """

    def __init__(
        self,
        run: Run,
        console: Console,
        stop: StopSignals,
        *,
        total: int,
        unit: str,
        start: int,
        trial: str = "",
        resumable: Resumable,
        steady: bool = True,
        after_checkpoint: Callable[[], None] = lambda: None,
        agreed: Callable[[bool], bool] = bool,
    ) -> None:
        self._run, self._stop, self._resumable, self._after = run, stop, resumable, after_checkpoint
        self.done, self.total, self.unit = start, total, unit
        self._limit, self._cut = TimeLimit(run, agreed), False
        title = f"{run.request.settings.stage} {run.request.name}"
        self._progress = console.progress(
            title, total, unit, start, steady=steady, seconds_left=self._limit.seconds_left
        )
        if start:
            goes_on = "resuming at" if run.resumptions else f"going on from {trial}"
            console.say(f"{title}: {goes_on.rstrip()} {start:,} of {total:,} {unit}")
        self._began = self._saved = time.monotonic()
        self._spent_saving = 0.0

    def __enter__(self) -> Loop:
        self._progress.__enter__()
        self._stop.polled = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Save what was done, for what follows may fail, and for a run with more time to go on.

        Raises:
            InterruptedRunError: a signal came.
        """
        try:
            if kind is None:
                self.poll()
                if self._cut or time.monotonic() - self._saved >= MAX_LOST_SECONDS:
                    self.save()
        finally:
            self._stop.polled = False
            self._progress.__exit__(kind, error, trace)

    @property
    def rate(self) -> float:
        """Units per second since this process began."""
        return self._progress.rate

    def out_of_time(self) -> bool:
        """True once the run has had its ``--max-minutes``: learning ends as if it were through.

        A loop asks at every step, in all processes that share it or in none, since they must end
        together.
        """
        self._cut = self._limit.over()
        return self._cut

    def advance(self, count: int, numbers: Numbers | None = None) -> None:
        """``count`` more are done. Shows ``numbers``, saves when it is time, stops when asked to.

        Raises:
            InterruptedRunError: a signal came; everything is saved.
            TrainingDivergedError: a weight is NaN or infinite.
        """
        self.done += count
        self._progress.advance(count, numbers)
        self.poll()

    def advance_to(self, done: int, numbers: Numbers | None = None) -> None:
        """As :meth:`advance`, but the display was moved by :meth:`show` already."""
        self.done = done
        self._progress.advance(0, numbers)
        self.poll()

    def show(self, count: int, numbers: Numbers | None = None) -> None:
        """Move the display alone: work under way, that is not done in the sense of a checkpoint."""
        self._progress.show(count, numbers)

    def checked(self, numbers: dict[str, float]) -> dict[str, float]:
        """``numbers`` as they are.

        Raises:
            TrainingDivergedError: one of them is NaN or infinite; the last checkpoint stays.
        """
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise TrainingDivergedError(
                    f"{name} became {value} by {self.done:,} {self.unit}; the last good state is "
                    "kept",
                    "use a smaller --learning-rate (or --lambda-…) under another --name",
                )
        return numbers

    def end_at(self, total: int) -> None:
        """There are other ``total`` units to do than was thought."""
        self.total = total
        self._progress.end_at(total)

    def note(self, numbers: Numbers) -> None:
        """Show ``numbers`` before the others from now on."""
        self._progress.note(numbers)

    def poll(self) -> None:
        """Save when it is time and stop when asked to, also in the middle of a play test."""
        if self._stop.received is not None:
            self.save()
            raise InterruptedRunError(
                self._stop.received,
                self._run.project.relative(self._run.directory),
                f"{self.done:,} of {self.total:,} {self.unit} are saved",
            )
        now = time.monotonic()
        if now - self._saved >= CHECKPOINT_SECONDS and self._spent_saving <= CHECKPOINT_SHARE * (
            now - self._began
        ):
            self.save()

    def save(self) -> None:
        """Write a checkpoint now."""
        began = time.monotonic()
        self._run.save(self._resumable.state())
        self._after()
        self._saved = time.monotonic()
        self._spent_saving += self._saved - began
