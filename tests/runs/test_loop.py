"""When a signal ends the process at once, and when a loop answers it.

Also what a loop saves when it ends.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from corrtool.errors import InterruptedRunError
from corrtool.runs import loop as module
from corrtool.runs.loop import MAX_LOST_SECONDS, Loop, StopSignals
from corrtool.runtime.console import Console


class EndedError(Exception):
    """In place of the end of the process."""


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The states that loops save; and the process does not end."""

    def end(number: int) -> None:
        raise EndedError(number)

    monkeypatch.setattr(module, "exit_now", end)
    return []


class Done:
    """Something to save."""

    def state(self) -> dict[str, bool]:
        return {"done": True}

    def load_state(self, state: dict[str, bool]) -> None:
        raise NotImplementedError


def make_loop(
    stop: StopSignals,
    saved: list[Any],
    max_minutes: float | None = None,
    seconds: float = 0.0,
    agreed: Callable[[bool], bool] = bool,
) -> Loop:
    settings = SimpleNamespace(stage="learn-corr", max_minutes=max_minutes)
    run: Any = SimpleNamespace(
        request=SimpleNamespace(settings=settings, name="c"),
        save=saved.append,
        project=SimpleNamespace(relative=str),
        directory=Path("runs"),
        seconds=seconds,
    )
    return Loop(
        run,
        Console(quiet=True),
        stop,
        total=3,
        unit="gradient steps",
        start=0,
        resumable=Done(),
        agreed=agreed,
    )


def test_a_signal_outside_of_a_loop_ends_at_once_and_inside_it_saves_first(
    saved: list[Any],
) -> None:
    with StopSignals() as stop:
        with pytest.raises(EndedError):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(InterruptedRunError), make_loop(stop, saved) as loop:
            loop.advance(1)
            signal.raise_signal(signal.SIGTERM)
            assert saved == []
            loop.advance(1)
        assert saved == [{"done": True}]
        with pytest.raises(EndedError):
            signal.raise_signal(signal.SIGTERM)


def test_a_second_signal_in_a_loop_ends_at_once(saved: list[Any]) -> None:
    with StopSignals() as stop, pytest.raises(InterruptedRunError), make_loop(stop, saved):
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(EndedError):
            signal.raise_signal(signal.SIGTERM)
        # leaving the loop answers the first


def test_a_signal_at_the_last_step_is_not_forgotten(saved: list[Any]) -> None:
    with StopSignals() as stop:
        with pytest.raises(InterruptedRunError), make_loop(stop, saved) as loop:
            loop.advance(3)
            signal.raise_signal(signal.SIGTERM)
        assert len(saved) == 1


def test_what_somebody_else_polls_is_only_remembered(saved: list[Any]) -> None:
    with StopSignals(polled=True) as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.received == signal.SIGTERM


@pytest.mark.parametrize(("seconds", "saves"), [(MAX_LOST_SECONDS - 1, 0), (MAX_LOST_SECONDS, 1)])
def test_what_follows_a_loop_may_fail(
    saved: list[Any], monkeypatch: pytest.MonkeyPatch, seconds: float, saves: int
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with StopSignals() as stop, make_loop(stop, saved) as loop:
        now += seconds
        loop.advance(3)
    assert len(saved) == saves


def test_a_loop_that_fails_saves_nothing(saved: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with StopSignals() as stop, pytest.raises(ZeroDivisionError), make_loop(stop, saved):
        now += 50
        raise ZeroDivisionError
    assert not saved and not stop.polled


@pytest.mark.parametrize(
    ("max_minutes", "seconds", "over"),
    [(None, 10**9, False), (2.0, 119.9, False), (2.0, 120.0, True)],
)
def test_a_loop_is_out_of_time_once_the_run_has_had_its_minutes(
    saved: list[Any], max_minutes: float | None, seconds: float, over: bool
) -> None:
    loop = make_loop(StopSignals(), saved, max_minutes, seconds)
    assert loop.out_of_time() is over


def test_processes_that_share_a_loop_end_where_the_first_does(saved: list[Any]) -> None:
    first = make_loop(StopSignals(), saved, 1.0, 61.0, agreed=lambda _: True)
    other = make_loop(StopSignals(), saved, 1.0, 5.0, agreed=lambda _: True)
    assert first.out_of_time() and other.out_of_time()
