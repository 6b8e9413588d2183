"""Description of the machine and the versions a run used, for its record."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import TypedDict

import torch

from corrtool import __version__


class Machine(TypedDict, total=False):
    """The machine of a run and the versions on it; older records lack some of it.

    Attributes:
        commit: of corrtool's own source tree, or of that which it was built from.
        processes: of torchrun.
        precision: what the networks computed in.
    """

    python: str
    platform: str
    packages: dict[str, str]
    commit: str | None
    device: str
    device_name: str
    threads: int
    cpu_count: int | None
    processes: int
    precision: str


def describe_machine(device: torch.device) -> Machine:
    """Versions and hardware for manifests: results are only bitwise equal where these are."""
    packages = ("corrtool", "torch", "numpy", "gymnasium", "ale-py", "zarr", "safetensors")
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in packages},
        "commit": _commit(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else _processor(),
        "threads": torch.get_num_threads(),
        "cpu_count": os.cpu_count(),
    }


def _version(package: str) -> str:
    """Of an installed package.

    corrtool itself may run from a directory on PYTHONPATH, as on machines without a network.
    """
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
    """The commit of corrtool's own source tree, with '-dirty' if it was changed since.

    Where it is installed without one that of its version, which has none at a tag.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return commit_of_version(__version__)
    try:
        command = [
            "git",
            "-C",
            str(root),
            "describe",
            "--always",
            "--dirty",
            "--abbrev=10",
            "--exclude=*",
        ]
        return (
            subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            or None
        )
    except (OSError, subprocess.SubprocessError):
        return None


def commit_of_version(version: str) -> str | None:
    """The commit that a version such as 0.1.0.post1.dev576+g9f0a135db.d20261127 names, if any.

    With '-dirty' where the tree was changed since: the build writes the day for that.
    """
    found = re.fullmatch(r"[^+]*\+g(?P<commit>[0-9a-f]+)(?P<changed>\.d\d{8})?", version)
    return None if found is None else found["commit"] + ("-dirty" if found["changed"] else "")
