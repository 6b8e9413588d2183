"""Device, threads, seeds and determinism of a process."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corrtool.errors import CorrtoolError, DeviceError, UsageError
from corrtool.states import GRID, VECTOR

_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD = -3, -1, -2  # malloc.h of glibc


def resolve_device(name: str, called: str = "--device") -> torch.device:
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` to a device that exists.

    ``auto`` takes CUDA, then MPS, then the CPU; everything else exists or fails. The index is always explicit,
    because a bare "cuda" means different GPUs to different libraries.

    Args:
        called: where the name was given, for the error message.

    Raises:
        UsageError: not the name of a device.
        DeviceError: the device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (
        index and (kind != "cuda" or not (index.isascii() and index.isdecimal() and len(index) < 5))
    ):
        raise UsageError(f"{called} is {name!r}", "choose auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        number = int(index) if index else number_of_torchrun("LOCAL_RANK", 0)  # its processes take a GPU each
        if number >= count:
            raise DeviceError(
                f"device cuda:{number} is not there: {count} CUDA devices found", f"choose another {called}"
            )
        torch.cuda.set_device(number)
        return torch.device("cuda", number)
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device mps is not there", f"choose another {called}")
    return torch.device(kind)


def number_of_torchrun(variable: str, default: int) -> int:
    """What torchrun says in an environment variable; ``default`` without it. Raises :class:`UsageError`."""
    said = os.environ.get(variable, str(default))
    if not (said.isascii() and said.isdecimal() and len(said) < 10):
        raise UsageError(f"{variable} is {said!r}, but torchrun sets it to a number", "unset it, or start torchrun")
    return int(said)


def to_device(values: NDArray[Any], device: torch.device) -> Tensor:
    """``values`` on ``device``. To a GPU from page-locked memory: a copy from any other waits for all that was queued before it."""
    tensor = torch.from_numpy(values)
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def free_bytes(device: torch.device) -> int | None:
    """How much memory can still be taken on ``device``; None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    known = [_available_memory(), _left_in_control_group()]
    return min((number for number in known if number is not None), default=None)


def _available_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii", errors="replace").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _left_in_control_group() -> int | None:
    """What the limit of a container or of a batch job leaves: the files in its page cache do not count."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
        statistics = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        cached = next(int(value) for name, value in statistics if name == "inactive_file")
        return max(0, limit - used + cached)
    except (OSError, ValueError, StopIteration):  # no limit reads "max"
        return None


def in_gigabytes(size: int) -> str:
    """For people: ``3.4 GB``."""
    return f"{size / 1e9:.1f} GB"


def check_memory_is_free(needed: int, device: torch.device, what: str, hint: str) -> None:
    """Whether ``needed`` bytes can be taken, before hours of work end for want of them. Raises :class:`CorrtoolError`."""
    free = free_bytes(device)
    if free is not None and needed > free:
        raise CorrtoolError(f"{what} takes {in_gigabytes(needed)}, and {in_gigabytes(free)} are free on {device}", hint)


def configure_process(device: torch.device, seed: int, state_kind: str) -> None:
    """Makes a run repeatable on the CPU and keeps glibc from handing memory back to the kernel on every step.

    Networks on vectors and on small pictures are so small that a second thread only waits: they get one.

    On CUDA the backward passes of reflection padding and of grid sampling have no deterministic kernel
    (docs/deviations.md), so determinism is only promised on the CPU.
    """
    torch.manual_seed(seed)
    if state_kind in (VECTOR, GRID):
        torch.set_num_threads(1)
    if device.type == "cpu":
        # As use_deterministic_algorithms, which also imports torch's compiler: seconds at every start.
        torch.set_deterministic_debug_mode("error")
        # Deterministic mode also fills every new tensor, against reading what was never written: a quarter of an update.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    else:
        torch.set_float32_matmul_precision("high")
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Tells glibc to reuse large freed blocks: without it, training spends its time in page faults."""
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    for option, value in ((_MMAP_THRESHOLD, 1 << 30), (_TRIM_THRESHOLD, 1 << 30), (_TOP_PAD, 64 << 20)):
        libc.mallopt(option, value)


def derive_seeds(seed: int, purpose: str, count: int, *position: int) -> list[int]:
    """``count`` independent environment seeds below 2³¹ for one purpose of one run.

    Streams of different purposes never meet: the games that choose a checkpoint are not the games reported. What tells them
    apart is hashed as a whole: numpy would join the numbers of a list and fill up with zeros, so that a position of 0 were none.

    Args:
        seed: the run's ``--seed``.
        purpose: for example ``"collect"``, ``"select"`` or ``"evaluate"``.
        position: what else tells the streams apart, such as the number of resumptions or the gradient step.
    """
    key = json.dumps([seed, purpose, *position]).encode()
    entropy = int.from_bytes(hashlib.sha256(key).digest(), "little")
    state = np.random.SeedSequence(entropy).generate_state(count, np.uint32)
    return [int(value) & 0x7FFFFFFF for value in state]


def numpy_generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """A random generator for one purpose of one run; see :func:`derive_seeds`."""
    return np.random.default_rng(derive_seeds(seed, purpose, 4, *position))


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Versions and hardware for manifests: results are only bitwise equal where these are."""
    packages = ("corrtool", "torch", "numpy", "gymnasium", "ale-py", "zarr", "safetensors")
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in packages},
        "commit": _commit(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "cpu_count": os.cpu_count(),
    }


def _version(package: str) -> str:
    """Of an installed package; corrtool itself may run from a directory on PYTHONPATH, as on machines without a network."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or "cpu"


def _commit() -> str | None:
    """The commit of corrtool's own source tree, with '-dirty' if it was changed since; None where it is installed without one."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None
