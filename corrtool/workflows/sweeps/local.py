"""``--engine local``: the commands of a sweep as processes of this machine.

Each is in a process group of its own, so that Ctrl-C in a terminal reaches the sweep alone, which
passes it on once. On Linux the kernel kills them with the sweep, however that dies
(PR_SET_PDEATHSIG). Elsewhere those of a sweep that was killed by SIGKILL live on: the same sweep,
started again, finds their locks, and waits for them.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from corrtool.runtime.free_memory import free_bytes
from corrtool.workflows.sweeps.processes import begin_process, with_threads

_JOB_BYTES = 2_000_000_000  # what a stage on pictures takes, with some room
_GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Shares:
    """What of this machine each of several jobs gets.

    Attributes:
        threads: for the networks; None leaves it to torch, which takes every core.
        gpus: as ``CUDA_VISIBLE_DEVICES`` names them; jobs take one each, in turn.
    """

    jobs: int
    threads: int | None
    gpus: tuple[str, ...] = ()

    def __str__(self) -> str:
        """``2 at once, 1 thread each``."""
        noun = "thread" if self.threads == 1 else "threads"
        threads = f", {self.threads} {noun} each" if self.threads is not None else ""
        gpus = f", on the GPUs {', '.join(self.gpus)}" if self.gpus else ""
        return f"{self.jobs} at once{threads}{gpus}"


def share_out(
    jobs: int | None,
    cells: int,
    *,
    cores: int,
    gpus: Sequence[str] = (),
    free: int | None = None,
) -> Shares:
    """Share cores and GPUs out over jobs.

    Args:
        jobs: how many at once; None takes one for each GPU or, without any, one for each core, as
            far as there are cells and memory for them.
        free: bytes of memory, where that is known.
    """
    if jobs is None:
        room = cores if free is None else min(cores, free // _JOB_BYTES)
        jobs = max(1, min(cells, len(gpus) or room))
    return Shares(jobs, None if jobs == 1 else max(1, cores // jobs), tuple(gpus))


def shares_of_this_machine(jobs: int | None, cells: int, device: str | None) -> Shares:
    """As :func:`share_out`, with what this process may use.

    Args:
        device: what ``--device`` says; anything but ``auto`` and ``cuda`` is for all jobs alike.
    """
    takes_turns = device in (None, "auto", "cuda")
    return share_out(
        jobs,
        cells,
        cores=usable_cores(),
        gpus=_visible_gpus() if takes_turns else (),
        free=free_bytes(torch.device("cpu")),
    )


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _visible_gpus() -> tuple[str, ...]:
    """The GPUs that this process may use, by the names that they have for it."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name for name in os.environ.get(_GPU_VARIABLE, "").split(",") if name]
    return tuple(named[:count]) if named else tuple(map(str, range(count)))


class LocalEngine:
    """Processes of this machine.

    Args:
        without: environment variables that the commands are not to see.
    """

    name = "local"

    def __init__(self, shares: Shares, without: Sequence[str] = ()) -> None:
        self.slots = shares.jobs
        self._shares = shares
        self._without = without
        self._on_gpus: list[tuple[str, LocalJob]] = []

    def __str__(self) -> str:
        return str(self._shares)

    def submit(self, words: Sequence[str], log: Path) -> LocalJob:
        """Begin ``corrtool`` with these words; what it says goes to the end of ``log``."""
        log.parent.mkdir(parents=True, exist_ok=True)
        gpu = self._next_gpu()
        process = begin_process(words, log, self._environment(gpu))
        job = LocalJob(process)
        if gpu is not None:
            self._on_gpus.append((gpu, job))
        return job

    def _next_gpu(self) -> str | None:
        """The GPU with the fewest jobs, the first of equals; None where there is none."""
        self._on_gpus = [(gpu, job) for gpu, job in self._on_gpus if job.poll() is None]
        busy = [gpu for gpu, _ in self._on_gpus]
        return min(self._shares.gpus, key=busy.count, default=None)

    def _environment(self, gpu: str | None) -> Mapping[str, str]:
        """That of this process, with what of the machine the next job gets."""
        environment = {name: v for name, v in os.environ.items() if name not in self._without}
        if self._shares.threads is not None:
            environment = with_threads(environment, self._shares.threads)
        if gpu is not None:
            environment[_GPU_VARIABLE] = gpu
        return environment


class LocalJob:
    """A process, in a group of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.host = socket.gethostname()

    def poll(self) -> int | None:
        """Its exit code, the negative of a signal that killed it, or None while it runs."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Pass a signal on; one that has ended hears nothing."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
