"""`python -m benchmarks.chain DIR`: how long a pair of one's own takes from nothing, by stage.

`init`, `train-dqn`, `collect`, `train-model`, `learn-corr`, `evaluate`, each as its user would type
it and with default settings; the correspondence is an affine-resnet with λ (1, 0, 1), unless flags
of `learn-corr` are given. A chain that was stopped goes on, but what it had done before is not
timed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from benchmarks.measuring import corrtool
from corrtool.runtime.machine import describe_machine

SOURCE, VIEW = "ALE/Pong-v5", "rotate:90"
LEARN_CORR = ("--generator", "affine-resnet", "--lambda-cyc", 1, "--lambda-q", 0, "--lambda-m", 1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chain", description=__doc__)
    parser.add_argument("directory", type=Path, help="the project that is made")
    parser.add_argument("--source", default=SOURCE, help="the source task")
    parser.add_argument("--view", default=VIEW, help="how the target differs")
    parser.add_argument("--seed", type=int, default=0)
    asked, learn_corr = parser.parse_known_args()
    common = ("-p", asked.directory, "--seed", asked.seed)
    if not asked.directory.exists():
        target = ("--target", asked.source, "--target-view", asked.view)
        corrtool("init", asked.directory, "--source", asked.source, *target)
    machine = describe_machine(torch.device("cpu"))
    print(f"{machine['device_name']}, {machine['threads']} threads, commit {machine['commit']}")
    total = 0.0
    for stage, flags in {
        "train-dqn": (),
        "collect": (),
        "train-model": (),
        "learn-corr": learn_corr or LEARN_CORR,
        "evaluate": (),
    }.items():
        began = time.monotonic()
        result = corrtool(stage, *common, *flags)
        seconds = time.monotonic() - began
        total += seconds
        print(f"{stage:12} {seconds:7.0f} s  {headline(stage, result)}", flush=True)
    print(f"{'in all':12} {total:7.0f} s")


def headline(stage: str, result: dict[str, object]) -> str:
    """What a stage came to, in a few words."""
    names = {
        "train-dqn": ("env_steps", "mean_return_20", "best_mean_return"),
        "train-model": ("gradient_steps",),
        "learn-corr": ("gradient_steps", "mean_return"),
        "evaluate": ("mean_return",),
    }
    metrics = result.get("metrics", result)
    assert isinstance(metrics, dict)
    return ", ".join(f"{name} {metrics[name]}" for name in names.get(stage, ()) if name in metrics)


if __name__ == "__main__":
    main()
