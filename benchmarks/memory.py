"""Resident memory of ``train-dqn`` and ``learn-corr`` at their defaults.

Each is a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import Row

LIMIT_MB = 2_000.0
COMMANDS = {
    "train-dqn": [
        "train-dqn",
        "--env-steps",
        "45000",
        "--eval-every",
        "0",
        "--env-steps-per-update",
        "400",
    ],
    "learn-corr": ["learn-corr", "--gradient-steps", "100", "--eval-every", "50"],
}
BEFORE = [["collect"], ["train-model", "--gradient-steps", "20"]]


def measure(rounds: int) -> list[Row]:
    """The largest resident set, at the default sizes.

    These are a full replay memory, whole memories loaded, play tests.
    """
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        lab = str(Path(directory) / "lab")
        peak_mb(["init", lab, "--source", "ALE/Pong-v5", "--target-view", "rotate:90"])
        for work, command in COMMANDS.items():
            sizes = [peak_mb([*command, "-p", lab, "--quiet", "--device", "cpu", "--overwrite"])]
            rows.append(
                Row(
                    f"{work}: resident",
                    "the limit",
                    "MB",
                    sizes,
                    [LIMIT_MB],
                    1.0,
                    less_is_better=True,
                )
            )
            if work == "train-dqn":
                for needed in BEFORE:
                    peak_mb([*needed, "-p", lab, "--quiet", "--device", "cpu"])
    return rows


def peak_mb(arguments: list[str]) -> float:
    """The largest resident set of this command, in 10⁶ bytes."""
    process = subprocess.Popen([sys.executable, "-m", "corrtool", *arguments])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"corrtool {' '.join(arguments)} ended with {process.returncode}")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
