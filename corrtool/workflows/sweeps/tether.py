"""Between fork and exec of a command: what it is to ignore, and with whom it dies."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass

_SET_PARENT_DEATH_SIGNAL = 1  # sys/prctl.h
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Tether:
    """For ``preexec_fn``: on Linux the kernel kills the process together with its ``parent``.

    Attributes:
        deaf_to: signals that the process ignores, and all that it begins.
        hears: signals that it does not ignore, whatever its parent does; none is blocked then.
    """

    parent: int
    deaf_to: Sequence[int] = ()
    hears: Sequence[int] = ()

    def __call__(self) -> None:
        for number in self.deaf_to:
            signal.signal(number, signal.SIG_IGN)
        if self.hears:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for number in self.hears:
            signal.signal(number, signal.SIG_DFL)
        if _LIBC is not None:
            _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
            if os.getppid() != self.parent:  # it has died in between
                os._exit(1)
