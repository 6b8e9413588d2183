"""Waiting for code outside of Python: signals are handled, and the person who waits is told."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from corrtool.runtime import console, waiting
from corrtool.runtime.console import Console


def test_returns_what_the_work_returns_from_another_thread() -> None:
    assert waiting.in_thread(threading.get_ident, "trying") != threading.get_ident()


def test_raises_what_the_work_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        waiting.in_thread(lambda: 1 / 0, "dividing")


def test_signals_are_handled_while_the_work_goes_on() -> None:
    arrived: list[float] = []
    before = signal.signal(signal.SIGALRM, lambda *_: arrived.append(time.monotonic()))
    began = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        waiting.in_thread(lambda: time.sleep(1.0), "sleeping")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert arrived and arrived[0] - began < 0.9


@pytest.mark.parametrize("quiet, lines", [(False, 1), (True, 0)])
def test_says_what_it_waits_for_where_nothing_was_said_for_long(
    quiet: bool, lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "_last_line_at", time.monotonic() - 60.0)
    with Console(quiet=quiet).used():
        waiting.in_thread(lambda: time.sleep(0.7), "opening 32 of Pong")
    said = capsys.readouterr().err
    assert said.count("opening 32 of Pong, which takes a while") == lines


def test_is_silent_where_no_stage_runs(capsys: pytest.CaptureFixture[str]) -> None:
    waiting.in_thread(lambda: time.sleep(0.3), "opening")
    assert capsys.readouterr().err == ""
