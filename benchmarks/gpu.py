"""``bash benchmarks/gpu.sh``: the stages on one GPU, as a user runs them, each against its goal; one table."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

FASTEST = ("--precision", "bf16", "--compile")
PAPER_GENERATOR = ("--generator", "resnet", "--filters", "64", "--blocks", "9", "--no-skips", "--no-framewise")
PAPER_DISCRIMINATOR = ("--discriminator-filters", "64", "--batch-size", "1")


class Lab:
    """A project in which commands are timed; what fails is a row of the table, not the end of it."""

    def __init__(self, directory: Path, device: str) -> None:
        self.directory, self.device = directory, device

    def run(self, *arguments: str, seconds: float = 300.0) -> tuple[float, dict[str, Any]]:
        """Wall time of a command and its result. Raises :class:`RuntimeError` with its last words."""
        common = ("-p", str(self.directory), "--device", self.device, "--quiet", "--json", "--overwrite")
        command = [sys.executable, "-m", "corrtool", *arguments, *(common if arguments[0] != "init" else ("--quiet",))]
        began = time.perf_counter()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"took longer than {seconds:.0f} s") from None
        if done.returncode:
            raise RuntimeError(" ".join(done.stderr.split()[-20:]))
        took = time.perf_counter() - began
        return took, json.loads(done.stdout) if arguments[0] != "init" else {}

    def steps_per_second(self, stage: str, *arguments: str, short: int = 300, long: int = 1_500) -> float:
        """Gradient steps a second, by two runs of different length: starting and compiling are in both and go out."""
        times = [
            self.run(stage, "--name", f"{stage}-speed", "--gradient-steps", str(steps), *arguments)[0]
            for steps in (short, long)
        ]
        return (long - short) / (times[1] - times[0])


def main() -> None:
    directory, device = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.sh: there is no CUDA device here")
    lab = Lab(directory / "lab", device)
    lab.run("init", str(lab.directory), "--source", "ALE/Pong-v5", "--target-view", "rotate:90", "--pretrained")
    table = Table("work", "measured", "goal", title=torch.cuda.get_device_name() if device == "cuda" else "CPU")

    def row(work: str, goal: str, measure: Any) -> None:
        try:
            said = measure()
        except (RuntimeError, ZeroDivisionError) as error:
            said = f"failed: {error}"
        table.add_row(work, said, goal)
        print(f"{work}: {said} (goal: {goal})", flush=True)

    row("collect 10,000 records of play and of chance", "–", lambda: _seconds(
        lab.run("collect", "--task", "source", "--policy", "q:pong", "--name", "play")[0] + lab.run("collect")[0]))  # fmt: skip
    paper = (*PAPER_GENERATOR, *PAPER_DISCRIMINATOR, "--eval-games", "0")
    for precision, compiled in (("float32", "--no-compile"), ("bf16", "--no-compile"), ("bf16", "--compile")):
        options = (*paper, "--precision", precision, compiled)
        row(f"learn-corr, resnet of the paper's size, {precision} {compiled}", "≥ 200 steps/s",
            lambda options=options: f"{lab.steps_per_second('learn-corr', *options):.0f} steps/s")  # fmt: skip
    row("train-model, 50 epochs", "< 180 s",
        lambda: _seconds(lab.run("train-model", "--epochs", "50", "--name", "f", *FASTEST, seconds=240)[0]))  # fmt: skip
    row("train-dqn until a mean of 18", "< 300 s", lambda: _dqn(lab))
    row("learn-corr, 6,000 steps with play tests every 1,000 (a tenth of the paper's)", "< 60 s", lambda: _seconds(
        lab.run("learn-corr", *PAPER_GENERATOR, *PAPER_DISCRIMINATOR, *FASTEST, "--gradient-steps", "6000",
                "--eval-every", "1000", "--name", "long", seconds=150)[0]))  # fmt: skip
    Console(width=140).print(table)


def _seconds(value: float) -> str:
    return f"{value:.0f} s"


def _dqn(lab: Lab) -> str:
    took, result = lab.run(
        "train-dqn", "--lanes", "16", "--stop-at-mean-return", "18", "--name", "dqn", *FASTEST, seconds=300
    )
    return f"{took:.0f} s, mean {result['mean_return_20']:.1f} of 20 games after {result['env_steps']:,} steps"


if __name__ == "__main__":
    main()
