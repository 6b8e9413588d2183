"""corrtool as a library: what its methods leave to their caller, and wait for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from corrtool.errors import as_corrtool_error
from corrtool.runtime.signals import without_signal_handlers

StrPath = str | PathLike[str]
stage_lock = threading.RLock()  # stages seed torch's own generator, of which a process has one


@contextmanager
def as_library() -> Iterator[None]:
    """Leave signals to the caller, and raise what can be explained as a :class:`CorrtoolError`."""
    with without_signal_handlers():
        try:
            yield
        except Exception as error:
            if isinstance(
                error.__cause__, KeyboardInterrupt
            ):  # it came while an environment was at work
                raise KeyboardInterrupt from error
            known = as_corrtool_error(error)
            if known is None or known is error:
                raise
            raise known from error
