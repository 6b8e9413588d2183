"""How a command of a sweep becomes a process, on this machine or on a node of a cluster.

It needs no torch: on a cluster a small process does this for each command, and nothing else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from corrtool.workflows.sweeps.tether import Tether

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def with_threads(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """An environment in which networks take ``threads`` threads, but no more than they did."""
    limited = {**environment}
    for name in _THREAD_VARIABLES:
        limit = limited.get(name, "")
        own = int(limit) if limit.isdecimal() and int(limit) else threads
        limited[name] = str(min(threads, own))
    return limited


def begin_process(
    words: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    *,
    folder: Path | None = None,
    hears_again: bool = False,
) -> subprocess.Popen[bytes]:
    """Begin ``corrtool`` with these words, in a process group of its own.

    On Linux the kernel kills it with the thread that calls this.

    Args:
        log: what it says goes to the end of it; its folder is there.
        folder: in which it works; None for that of this process.
        hears_again: whether it hears signals that this process has blocked or ignores.
    """
    before_exec = Tether(os.getpid(), hears=_STOP_SIGNALS if hears_again else ())
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "corrtool", *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment,
            cwd=folder,
            process_group=0,
            preexec_fn=before_exec if sys.platform == "linux" or hears_again else None,
        )
