"""Waiting for code outside of Python, without going deaf or silent."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from corrtool.runtime.console import current_console

POLL_SECONDS = 0.2

Result = TypeVar("Result")


def in_thread(work: Callable[[], Result], doing: str) -> Result:
    """Return what ``work`` returns, from a thread.

    Meanwhile Python handles signals, which it does in the main thread alone, and the person who
    waits reads every ten seconds what it is ``doing``. For code that lets go of Python's lock.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        future = thread.submit(work)
        while not wait([future], POLL_SECONDS).done:
            current_console().say_if_silent(f"{doing}, which takes a while")
        return future.result()
