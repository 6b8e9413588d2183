"""Checks of ``corrtool doctor``: does this machine provide what the stages rely on?"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypedDict

import torch
from torch.nn import functional as F

from corrtool.errors import CorrtoolError
from corrtool.project.defaults import resolve_for_states
from corrtool.project.directory import Project
from corrtool.settings.base import Settings
from corrtool.states import StateSpec
from corrtool.workflows.pair import TriedTask, check_pair, try_task

PACKAGES = {  # a distribution and what it is imported as
    "torch": "torch",
    "numpy": "numpy",
    "gymnasium": "gymnasium",
    "ale-py": "ale_py",
    "zarr": "zarr",
    "safetensors": "safetensors",
    "opencv-python-headless": "cv2",
    "filelock": "filelock",
    "matplotlib": "matplotlib",
    "pillow": "PIL",
    "typer": "typer",
    "rich": "rich",
}
MIN_FREE_BYTES = 2 * 10**9  # a long training with its memories and checkpoints stays below


@dataclass(frozen=True)
class Check:
    """One thing that was tried.

    Attributes:
        subject: what was tried.
        works: whether it did what the stages rely on.
        says: what was found, or what went wrong and what to do.
    """

    subject: str
    works: bool
    says: str


class CheckResult(TypedDict):
    """A :class:`Check` as JSON."""

    subject: str
    works: bool
    says: str


class DoctorResult(TypedDict):
    """What ``doctor --json`` prints; ``corrtool`` is its version."""

    corrtool: str
    works: bool
    checks: list[CheckResult]


def check_machine(directory: Path) -> Iterator[Check]:
    """Every check, one after the other.

    Files are tried in ``directory``, and nothing is left there.
    """
    yield _try("python", lambda: f"{sys.version.split()[0]} on {sys.platform}")
    for distribution, module in PACKAGES.items():
        yield _try(distribution, lambda d=distribution, m=module: f"{_imported(m)}{version(d)}")  # type: ignore[misc]
    for device in devices():
        yield _try(f"device {device}", lambda d=device: _computes(d))  # type: ignore[misc]
    yield _try("Atari", _atari)
    yield _try("videos", lambda: _videos(directory))
    yield _try("disk", lambda: _disk(directory))
    yield _try("locks", lambda: _locks(directory))
    yield _try("atomic renames", lambda: _renames(directory))


def devices() -> list[torch.device]:
    """The CPU and every accelerator that torch sees."""
    found = [torch.device("cpu")]
    found += [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return found + ([torch.device("mps")] if torch.backends.mps.is_available() else [])


def _try(subject: str, check: Callable[[], str]) -> Check:
    try:
        return Check(subject, True, check())
    except Exception as error:
        return Check(subject, False, " ".join(f"{type(error).__name__}: {error}".split()))


def _imported(module: str) -> str:
    importlib.import_module(module)
    return ""


def _computes(device: torch.device) -> str:
    """A convolution and its gradients, compared with the CPU's in double precision."""
    draw = torch.Generator().manual_seed(0)
    pictures, weights = (
        torch.randn(2, 4, 32, 32, generator=draw),
        torch.randn(8, 4, 3, 3, generator=draw),
    )

    def gradient(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        learnt = weights.to(device, dtype).requires_grad_(True)
        F.conv2d(pictures.to(device, dtype), learnt).square().mean().backward()  # type: ignore[no-untyped-call]
        assert learnt.grad is not None
        return learnt.grad.cpu().double()

    exact = gradient(torch.device("cpu"), torch.float64)
    error = ((gradient(device, torch.float32) - exact).norm() / exact.norm()).item()
    if not error < 1e-2:  # tensor cores round to ten bits
        raise RuntimeError(
            f"its gradients are wrong by {error:.1e} of their size; use another --device"
        )
    if device.type == "cpu":
        return f"computes, threads: {torch.get_num_threads()}"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "Metal"
    return f"computes, {name}"


def _atari() -> str:
    """Pong is made, played and drawn."""
    import ale_py.roms
    import numpy as np

    from corrtool.tasks import Lanes, parse_task

    task = parse_task("source", {"id": "ALE/Pong-v5"}, Path())
    with Lanes(task, 1) as lanes:
        first = lanes.reset([0])
        for _ in range(60):
            lanes.send(np.zeros(1, np.int64))
            step = lanes.receive()
        if not (step.frames != first).any():
            raise RuntimeError("Pong stands still; install ale-py again")
    return f"Pong plays, {len(ale_py.roms.get_all_rom_ids())} ROMs"


def _videos(directory: Path) -> str:
    import numpy as np

    from corrtool.play.video import KINDS, GameVideo

    with tempfile.TemporaryDirectory(dir=directory, prefix=".corrtool-doctor-") as folder:
        for kind in KINDS:
            with GameVideo(Path(folder) / f"video{kind}") as video:
                for shade in (0, 255):
                    video.add([("", np.full((84, 84, 3), shade, np.uint8))], "")
    return f"{' and '.join(KINDS)} are written"


def _disk(directory: Path) -> str:
    free = shutil.disk_usage(directory).free
    if free < MIN_FREE_BYTES:
        raise RuntimeError(
            f"{free / 1e9:.1f} GB are free in {directory}, and a long training may need 2 GB; make "
            "room"
        )
    return f"{free / 1e9:,.0f} GB free in {directory}"


_HOLDER = """
import sys, filelock
with filelock.FileLock(sys.argv[1], timeout=0, fallback_to_soft=False):
    print("held", flush=True)
    sys.stdin.read()
"""


def _locks(directory: Path) -> str:
    """The kernel has locks here.

    What one process holds another one cannot get, until the first is killed.
    """
    import filelock

    from corrtool.project.locks import kernel_lock

    with tempfile.TemporaryDirectory(dir=directory, prefix=".corrtool-doctor-") as folder:
        path = Path(folder) / "lock"
        with kernel_lock(path):
            pass
        holder = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert holder.stdout is not None
            if holder.stdout.readline().strip() != "held":
                raise RuntimeError(
                    "a process cannot lock a file here; use a directory on a local disk"
                )
            try:
                with kernel_lock(path):
                    raise RuntimeError(
                        "two processes can hold one lock here; use a directory on a local disk"
                    )
            except filelock.Timeout:
                pass
        finally:
            holder.kill()
            holder.communicate()
        with kernel_lock(path, timeout=5):
            return "the kernel's: they exclude another process, and die with it"


def _renames(directory: Path) -> str:
    """A file replaces another in one step, and both survive what the system calls a sync."""
    from corrtool.files.atomic import write_atomic

    with tempfile.TemporaryDirectory(dir=directory, prefix=".corrtool-doctor-") as folder:
        path = Path(folder) / "file"
        write_atomic(path, b"old")
        with path.open("rb") as reader:
            write_atomic(path, b"new")
            if os.name == "posix" and reader.read() != b"old":
                raise RuntimeError(
                    "a file that is being read changes when it is replaced; use another file system"
                )
        if path.read_bytes() != b"new" or len(list(Path(folder).iterdir())) != 1:
            raise RuntimeError("a replaced file is not the new one; use another file system")
    return "whole, synced to the disk"


def check_tasks(project: Project) -> Iterator[Check]:
    """Check that both tasks of a project can be played and translated, as ``init`` does.

    A warning alone is not a failure.
    """
    tried: dict[str, TriedTask] = {}
    for role in ("source", "target"):
        try:
            tried[role] = try_task(project.task(role))
        except CorrtoolError as error:
            yield Check(f"{role} task", False, str(error))
            continue
        yield Check(
            f"{role} task",
            True,
            f"{project.task(role)}: {tried[role].states}, {tried[role].actions} actions",
        )
    if len(tried) < 2:
        return

    def settings_for(settings_class: type[Settings], states: StateSpec) -> Settings:
        return resolve_for_states(project, settings_class, states)

    try:
        warnings = check_pair(tried["source"], tried["target"], settings_for)
    except CorrtoolError as error:
        yield Check("pair of tasks", False, str(error))
        return
    yield Check("pair of tasks", True, "; ".join(["every network can be built", *warnings]))
