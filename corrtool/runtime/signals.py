"""The signals that ask a command to stop, and what they do while no stage works."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import NoReturn

from corrtool.errors import exit_code
from corrtool.files.staging import remove_staged

_NAMES = (
    "SIGINT",
    "SIGTERM",
    "SIGUSR1",
    "SIGUSR2",
    "SIGHUP",
)  # a person, batch systems, a terminal that was closed


_handlers_disabled: ContextVar[bool] = ContextVar("handlers_disabled", default=False)


@contextmanager
def without_signal_handlers() -> Iterator[None]:
    """Around a stage that a script or a notebook calls.

    What a signal does is for the caller to say, so no handler is installed.
    """
    token = _handlers_disabled.set(True)
    try:
        yield
    finally:
        _handlers_disabled.reset(token)


def stop_signals() -> list[int]:
    """Those that this system has, but for what whoever began the process has ignored.

    ``nohup`` SIGHUP, a shell's ``&`` SIGINT.
    """
    if _handlers_disabled.get():
        return []
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def exit_now(number: int) -> NoReturn:
    """End the process where it is, which harms nothing.

    Every write is atomic, the kernel drops the locks, and what is half written is removed.
    """
    cursor = (
        "\n\x1b[?25h" if sys.stderr.isatty() else ""
    )  # a progress bar hides it, and stays where it was
    try:
        os.write(
            2,
            f"{cursor}corrtool: interrupted by signal {number}; "
            "run the same command again\n".encode(),
        )
        remove_staged()
    finally:
        os._exit(exit_code(number))


def exit_without_cleanup(code: int) -> NoReturn:
    """End a process that had a process group.

    A thread of gloo that lets go of a tensor while the interpreter winds up aborts it.

    That happened to one process in forty, after all was done (see pytorch#179291).
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)


def exit_on_signals() -> None:
    """For the seconds before a stage listens itself.

    Torch is being imported, and an exception there would end anyhow.
    """
    for number in stop_signals():
        signal.signal(number, _handle)


@contextmanager
def default_signal_handling() -> Iterator[None]:
    """Around what waits outside of Python, where no handler would run, and loses nothing.

    A signal ends the process as any other. In a loop that polls it is remembered as before, since
    there is something to save.
    """
    of_this_thread = stop_signals() if threading.current_thread() is threading.main_thread() else []
    of_this_thread = [n for n in of_this_thread if not _is_polled(signal.getsignal(n))]
    before = {number: signal.signal(number, signal.SIG_DFL) for number in of_this_thread}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_polled(handler: object) -> bool:
    """True for a handler of :class:`corrtool.runs.loop.StopSignals` that only remembers."""
    return bool(getattr(getattr(handler, "__self__", None), "polled", False))


def _handle(number: int, _: FrameType | None) -> None:
    exit_now(number)
