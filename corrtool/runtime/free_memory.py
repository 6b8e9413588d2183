"""Free memory, and checks that something fits into it."""

from __future__ import annotations

from pathlib import Path

import torch

from corrtool.errors import CorrtoolError


def free_bytes(device: torch.device) -> int | None:
    """Bytes that can still be allocated on ``device``; None if the system does not report it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    known = [_available_memory(), _cgroup_headroom()]
    return min((number for number in known if number is not None), default=None)


def _available_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii", errors="replace").splitlines()
        return next(
            1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")
        )
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _cgroup_headroom() -> int | None:
    """Bytes left below the limit of a container or batch job; its page cache counts as free."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = (
            int((folder / name).read_text()) for name in ("memory.max", "memory.current")
        )
        statistics = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        cached = next(int(value) for name, value in statistics if name == "inactive_file")
        return max(0, limit - used + cached)
    except (OSError, ValueError, StopIteration):  # no limit reads "max"
        return None


def in_gigabytes(size: int) -> str:
    """For people: ``3.4 GB``."""
    return f"{size / 1e9:.1f} GB"


def check_memory_is_free(needed: int, device: torch.device, what: str, hint: str) -> None:
    """Check that ``needed`` bytes are free, before hours of work fail for lack of them.

    Raises :class:`CorrtoolError`.
    """
    free = free_bytes(device)
    if free is not None and needed > free:
        raise CorrtoolError(
            f"{what} takes {in_gigabytes(needed)}, and {in_gigabytes(free)} are free on {device}",
            hint,
        )
