"""Device, threads, seeds and determinism of a process."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from corrtool.states import GRID, SIGNAL, VECTOR

# malloc.h of glibc
_MMAP_THRESHOLD = -3
_TRIM_THRESHOLD = -1
_TOP_PAD = -2


def configure_process(device: torch.device, seed: int, state_kind: str) -> None:
    """Make a run repeatable on the CPU, and keep glibc from returning memory in every step.

    Networks on vectors, signals and small pictures get one thread: they are so small that a second
    waits.

    On CUDA the backward passes of reflection padding and of grid sampling have no deterministic
    kernel (docs/deviations.md), so determinism is only promised on the CPU.
    """
    torch.manual_seed(seed)
    if state_kind in (VECTOR, GRID, SIGNAL):
        torch.set_num_threads(1)
    # Adam's averages of weights that learn no more fall below 1e-38 in some 800 steps, and numbers
    # that small cost four times as much each.
    torch.set_flush_denormal(True)
    if device.type == "cpu":
        # As use_deterministic_algorithms, but without torch's compiler: seconds at every start.
        torch.set_deterministic_debug_mode("error")
        # Deterministic mode also fills every new tensor, against reading what was never written: a
        # quarter of an update.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    else:
        torch.set_float32_matmul_precision("high")
    _keep_freed_memory()


@contextmanager
def configured_process(device: torch.device, seed: int, state_kind: str) -> Iterator[None]:
    """As :func:`configure_process`, and afterwards as many threads as before, and small numbers.

    The next stage in this process may be on pictures, and what is not corrtool's may need them.
    """
    threads, flushes = torch.get_num_threads(), _flushes_denormals()
    configure_process(device, seed, state_kind)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushes)


@contextmanager
def threads_beside_emulators(*, all_threads: bool = False) -> Iterator[None]:
    """Half of torch's threads while games are played, for the emulators have threads of their own.

    A thread of torch that has nothing to do spins for a millisecond or more, on a core that an
    emulator waits for: five games of Pong took twice as long on two cores (docs/performance.md).

    Args:
        all_threads: leave them all, where networks take longer than the emulators do.
    """
    threads = torch.get_num_threads()
    if not all_threads:
        torch.set_num_threads(max(1, threads // 2))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _flushes_denormals() -> bool:
    """Whether numbers below 1e-38 are zero in this thread; there is no other way to ask."""
    return not torch.tensor(1e-39).mul(1.0)


@contextmanager
def preserving_torch_state() -> Iterator[None]:
    """Around :func:`configure_process` in a process of somebody else's.

    Restores torch's random states and its global switches, and what this thread does with numbers
    below 1e-38; threads of torch's pool that began inside stay as they are.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    mode, precision = torch.get_deterministic_debug_mode(), torch.get_float32_matmul_precision()
    fill, threads = torch.utils.deterministic.fill_uninitialized_memory, torch.get_num_threads()  # type: ignore[attr-defined]
    flushes = _flushes_denormals()
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(mode)
            torch.set_float32_matmul_precision(precision)
            torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
            torch.set_num_threads(threads)
            torch.set_flush_denormal(flushes)


def _keep_freed_memory() -> None:
    """Tell glibc to reuse large freed blocks: training would spend its time in page faults."""
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for option, value in (
        (_MMAP_THRESHOLD, 1 << 30),
        (_TRIM_THRESHOLD, 1 << 30),
        (_TOP_PAD, 64 << 20),
    ):
        libc.mallopt(option, value)
