"""The stages on one GPU, as a user runs them, each against its goal; one table.

``bash benchmarks/gpu.sh [DIRECTORY] [--device cpu --share 0.001]``. ``--device`` and ``--share``
try the script itself where there is no GPU, with so small a share of all steps.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

PAPER_GENERATOR = (
    "--generator",
    "resnet",
    "--filters",
    "64",
    "--blocks",
    "9",
    "--no-skips",
    "--no-framewise",
)
PAPER_DISCRIMINATOR = ("--discriminator-filters", "64", "--batch-size", "1")


class Lab:
    """A project in which commands are timed.

    What fails is a row of the table, not the end of it.
    """

    def __init__(self, directory: Path, device: str, share: float) -> None:
        self.directory, self.device, self._share = directory, device, share
        compiled = device == "cuda"  # a CPU would compile for minutes
        self.fastest = (
            ("--precision", "bf16", "--compile")
            if compiled
            else ("--precision", "float32", "--no-compile")
        )

    def steps(self, count: int) -> str:
        """``count`` of something, or the share of it that was asked for."""
        return str(max(1, round(count * self._share)))

    def run(self, *arguments: str, seconds: float = 300.0) -> tuple[float, dict[str, Any]]:
        """Wall time of a command and its result.

        Raises :class:`RuntimeError` with its last words.
        """
        common = (
            "-p",
            str(self.directory),
            "--device",
            self.device,
            "--quiet",
            "--json",
            "--overwrite",
        )
        command = [
            sys.executable,
            "-m",
            "corrtool",
            *arguments,
            *(common if arguments[0] != "init" else ("--quiet",)),
        ]
        began = time.perf_counter()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"took longer than {seconds:.0f} s") from None
        if done.returncode:
            raise RuntimeError(" ".join(done.stderr.split()[-20:]))
        took = time.perf_counter() - began
        return took, json.loads(done.stdout) if arguments[0] != "init" else {}

    def steps_per_second(self, stage: str, *arguments: str) -> float:
        """Gradient steps a second, by two runs of different length.

        Starting and compiling are in both and go out.
        """
        short, long = self.steps(300), self.steps(1_500)
        times = [
            self.run(stage, "--name", f"{stage}-speed", "--gradient-steps", steps, *arguments)[0]
            for steps in (short, long)
        ]
        return (int(long) - int(short)) / (times[1] - times[0])


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks/gpu.sh", description=__doc__)
    parser.add_argument(
        "directory",
        nargs="?",
        type=Path,
        help="where the project is made; a temporary directory by default",
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--share", type=float, default=1.0, help="of all steps, epochs and games")
    chosen = parser.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.sh: there is no CUDA device here")
    directory = chosen.directory or Path(tempfile.mkdtemp())
    lab = Lab(directory / "lab", chosen.device, chosen.share)
    lab.run(
        "init",
        str(lab.directory),
        "--source",
        "ALE/Pong-v5",
        "--target-view",
        "rotate:90",
        "--pretrained",
    )
    table = Table(
        "work",
        "measured",
        "goal",
        title=torch.cuda.get_device_name() if chosen.device == "cuda" else "CPU",
    )

    def row(work: str, goal: str, measure: Any) -> None:
        try:
            said = measure()
        except (RuntimeError, ZeroDivisionError) as error:
            said = f"failed: {error}"
        table.add_row(work, said, goal)
        print(f"{work}: {said} (goal: {goal})", flush=True)

    records = ("--records", lab.steps(10_000))
    row(f"collect {records[1]} records of play and of chance", "–", lambda: _seconds(
        lab.run("collect", "--task", "source", "--policy", "q:pong", "--name", "play", *records)[0]
        + lab.run("collect", *records)[0]))  # fmt: skip
    paper = (*PAPER_GENERATOR, *PAPER_DISCRIMINATOR)
    for options in dict.fromkeys(
        (
            ("--precision", "float32", "--no-compile"),
            ("--precision", "bf16", "--no-compile"),
            lab.fastest,
        )
    ):
        row(
            f"learn-corr, resnet of the paper's size, {' '.join(options)}",
            "≥ 200 steps/s",
            lambda options=options: _steps_per_second(
                lab.steps_per_second("learn-corr", *paper, "--eval-games", "0", *options)
            ),
        )
    row(f"train-model, {lab.steps(50)} epochs", "< 180 s", lambda: _seconds(
        lab.run("train-model", "--epochs", lab.steps(50), "--name", "f", *lab.fastest,
                seconds=240)[0]))  # fmt: skip
    row("train-dqn until a mean of 18", "< 300 s", lambda: _dqn(lab))
    steps, every = lab.steps(6_000), lab.steps(1_000)
    row(f"learn-corr, {steps} steps, play tests every {every}", "< 60 s", lambda: _seconds(
        lab.run("learn-corr", *paper, *lab.fastest, "--gradient-steps", steps,
                "--eval-every", every, "--name", "long", seconds=150)[0]))  # fmt: skip
    Console(width=140).print(table)


def _seconds(value: float) -> str:
    return f"{value:.0f} s"


def _steps_per_second(value: float) -> str:
    return f"{value:.3g} steps/s"


def _dqn(lab: Lab) -> str:
    length = () if lab.device == "cuda" else ("--env-steps", lab.steps(1_000_000))
    took, result = lab.run(
        "train-dqn", "--lanes", "16", "--name", "dqn", *length, *lab.fastest, seconds=300
    )  # fmt: skip
    best = result["best_mean_return"]
    return f"{took:.0f} s, best play test {best} after {result['env_steps']:,} steps"


if __name__ == "__main__":
    main()
