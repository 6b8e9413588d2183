"""Signals while code outside of Python works, where no handler of Python would run."""

from __future__ import annotations

import signal

from corrtool.runs.loop import StopSignals
from corrtool.runtime.signals import default_signal_handling


def test_where_nothing_is_saved_a_signal_ends_the_process_as_any_other() -> None:
    with StopSignals() as stop:
        handler = signal.getsignal(signal.SIGTERM)
        with default_signal_handling():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) == handler
        assert stop.received is None


def test_in_a_loop_that_polls_it_is_remembered() -> None:
    with StopSignals(polled=True) as stop:
        with default_signal_handling():
            signal.raise_signal(signal.SIGTERM)
        assert stop.received == signal.SIGTERM
