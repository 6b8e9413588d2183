"""The same seed twice: on the CPU the weights are bitwise equal, and another seed's are others."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from support.commands import run_in_process

INPUTS = {
    "train-dqn": ("--random-records", "40"),
    "learn-corr": (
        "--eval-games",
        "0",
        "--q",
        "source-dqn",
        "--source-memory",
        "source-dqn",
        "--model",
        "source-dqn",
    ),
    "finetune": ("--q", "source-dqn", "--corr", "resnet-cyc1-q1-m1"),
}


def weights(lab: Path, kind: str, name: str) -> dict[str, torch.Tensor]:
    return load_file(lab / "weights" / kind / f"{name}.safetensors")


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_the_same_seed_twice_gives_the_same_artifacts(pong_copy: Path) -> None:
    for stage, kind in (
        ("train-dqn", "q"),
        ("learn-corr", "corr"),
        ("train-model", "model"),
        ("finetune", "q"),
    ):
        length = (
            ("--gradient-steps", "4")
            if stage in ("learn-corr", "train-model")
            else ("--env-steps", "240")
        )
        for name, seed in (("one", 7), ("two", 7), ("other", 8)):
            more = (
                "--seed",
                seed,
                "--name",
                f"{stage}-{name}",
                "--device",
                "cpu",
                "--quiet",
                "-p",
                pong_copy,
            )
            assert (
                run_in_process(stage, "--preset", "tiny", *length, *INPUTS.get(stage, ()), *more)
                == 0
            )
        one, two, other = (
            weights(pong_copy, kind, f"{stage}-{name}") for name in ("one", "two", "other")
        )
        assert equal(one, two)
        assert not equal(one, other)
