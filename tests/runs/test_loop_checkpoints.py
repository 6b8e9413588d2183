"""When a loop saves, what it tells, and what it refuses."""

from __future__ import annotations

import math
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from corrtool.errors import InterruptedRunError, TrainingDivergedError
from corrtool.runs.loop import CHECKPOINT_SECONDS, CHECKPOINT_SHARE, Loop, StopSignals
from corrtool.runtime.console import Console


class Clock:
    """A time of day that tests move; a checkpoint takes ``saving`` seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.saving = 1000.0, 0.0
        self.saved_at: list[float] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def save(self, state: Any) -> None:
        assert state == {"done": True}
        self.saved_at.append(self.now)
        self.now += self.saving

    def loop(self, stop: StopSignals, start: int = 0, quiet: bool = True, **more: Any) -> Loop:
        console: Any = more.pop("console", Console(quiet=quiet))
        resumptions = more.pop("resumptions", 1 if start else 0)
        request = SimpleNamespace(settings=SimpleNamespace(stage="learn-corr"), name="c")
        project = SimpleNamespace(relative=str)
        run: Any = SimpleNamespace(
            request=request, save=self.save, project=project, directory=Path("runs/x"),
            resumptions=resumptions,
        )  # fmt: skip
        part: Any = SimpleNamespace(state=lambda: {"done": True})
        return Loop(
            run, console, stop, total=2000, unit="gradient steps", start=start,
            resumable=part, **more,
        )  # fmt: skip


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_checkpoint_is_written_once_a_minute(clock: Clock) -> None:
    told: list[float] = []
    stop = StopSignals()
    with clock.loop(stop, after_checkpoint=lambda: told.append(clock.now)) as loop:
        for _ in range(130):
            clock.now += 1
            loop.advance(1)
        assert loop.done == 130
    minutes = [1000 + CHECKPOINT_SECONDS, 1000 + 2 * CHECKPOINT_SECONDS]
    assert clock.saved_at[:2] == minutes and told[:2] == minutes
    assert clock.saved_at[2:] == [1130]  # the end, ten seconds after the last


def test_a_slow_disk_gets_fewer(clock: Clock) -> None:
    clock.saving = 6.0
    with clock.loop(StopSignals()) as loop:
        for _ in range(700):
            clock.now += 1
            loop.poll()
        first, second, third = clock.saved_at[:3]
    assert first == 1060
    # Six seconds are two per cent of 300, and twelve of 600.
    assert second == 1000 + 6 / CHECKPOINT_SHARE and third == 1000 + 12 / CHECKPOINT_SHARE


def test_play_tests_move_the_display_alone(clock: Clock) -> None:
    with clock.loop(StopSignals()) as loop:
        loop.show(3, {"games": 1})
        assert loop.done == 0
        loop.advance_to(5)
        loop.note({"best": 2.0})
        assert loop.done == 5
        clock.now += CHECKPOINT_SECONDS
        loop.advance_to(6)
        assert clock.saved_at == [1060.0]


class Display:
    """In place of a progress bar: remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def progress(self, *given: Any, steady: bool, seconds_left: Any) -> Display:
        self.told.append((*given, steady))
        return self

    def say(self, message: str) -> None:
        pass

    def __enter__(self) -> None:
        self.told.append(("begins",))

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.told.append(("ends", kind))

    def __getattr__(self, name: str) -> Any:
        return lambda *given: self.told.append((name, *given))


def test_the_display_is_told_everything(clock: Clock) -> None:
    display = Display()
    with clock.loop(StopSignals(), start=7, steady=False, console=display) as loop:
        loop.advance(2, {"loss": 1.0})
        loop.show(3, {"last return": 5.0})
        loop.advance_to(20, {"mean return": 4.0})
        loop.note({"best": 6.0})
    assert display.told == [
        ("learn-corr c", 2000, "gradient steps", 7, False),
        ("begins",),
        ("advance", 2, {"loss": 1.0}),
        ("show", 3, {"last return": 5.0}),
        ("advance", 0, {"mean return": 4.0}),  # the bar was moved by what was shown
        ("note", {"best": 6.0}),
        ("ends", None),
    ]


def test_a_signal_is_answered_where_the_display_was_moved(clock: Clock) -> None:
    stop = StopSignals()
    with pytest.raises(InterruptedRunError) as raised, clock.loop(stop) as loop:
        stop.received = signal.SIGINT
        loop.advance_to(5)
    assert raised.value.exit_code == 130 and "runs/x" in str(raised.value)
    assert clock.saved_at and not stop.polled


def test_a_run_that_goes_on_says_where(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with clock.loop(StopSignals(), start=1234, quiet=False) as loop:
        assert (loop.done, loop.total, loop.unit) == (1234, 2000, "gradient steps")
    assert "learn-corr c: resuming at 1,234 of 2,000 gradient steps" in capsys.readouterr().err
    with clock.loop(StopSignals(), start=5, quiet=False, resumptions=0, trial="its trial of"):
        pass
    said = capsys.readouterr().err
    assert "learn-corr c: going on from its trial of 5 of 2,000 gradient steps" in said
    assert "resuming" not in said
    with clock.loop(StopSignals(), quiet=False):
        pass
    assert "resuming" not in capsys.readouterr().err


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_ends_the_run(clock: Clock, value: float) -> None:
    with clock.loop(StopSignals()) as loop:
        loop.advance(1500)
        assert loop.checked({"loss": 1.0, "q": -2.0}) == {"loss": 1.0, "q": -2.0}
        with pytest.raises(TrainingDivergedError, match=r"^q became .* by 1,500 gradient steps"):
            loop.checked({"loss": 1.0, "q": value})


def test_the_rate_is_that_of_this_process(clock: Clock) -> None:
    with clock.loop(StopSignals(), start=1000) as loop:
        clock.now += 5
        loop.advance(50)
        assert loop.rate == pytest.approx(10.0)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
