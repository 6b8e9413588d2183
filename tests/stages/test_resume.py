"""Killed and begun again, and the same seed twice: on the CPU the weights are bitwise those of an unbroken run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import run_in_process
from safetensors.torch import load_file

from corrtool.reporting.metrics import read_metrics

LEARN = ("learn-corr", "--preset", "tiny", "--gradient-steps", "110", "--eval-every", "60", "--filters", "2")
MODEL = ("train-model", "--preset", "tiny", "--gradient-steps", "200")


def weights(lab: Path, kind: str, name: str) -> dict[str, torch.Tensor]:
    return load_file(lab / "weights" / kind / f"{name}.safetensors")


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def interrupt(lab: Path, command: tuple[str, ...], name: str, number: int) -> int:
    """Starts a stage as a process, checkpointing twice a second, and sends the signal once it has a checkpoint."""
    code = "import corrtool.stages.loop as l; l.CHECKPOINT_SECONDS = 0.5; l.CHECKPOINT_SHARE = 1; from corrtool.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command, "-p", str(lab), "--name", name, "--device", "cpu"],
        stderr=subprocess.PIPE,
        text=True,
    )
    run = lab / "runs" / command[0] / name
    metrics_size = (run / "metrics.jsonl").stat().st_size if (run / "metrics.jsonl").exists() else 0
    for _ in range(2400):
        metrics = run / "metrics.jsonl"
        grown = metrics.exists() and metrics.stat().st_size > metrics_size
        if process.poll() is not None or ((run / "checkpoint.safetensors").exists() and grown):
            break
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    if process.returncode in (130, 143):
        assert "resumable" in err
    return process.returncode


@pytest.mark.parametrize("command", [LEARN, MODEL], ids=["learn-corr", "train-model"])
def test_a_killed_run_ends_with_the_weights_and_metrics_of_an_unbroken_one(
    pong_copy: Path, command: tuple[str, ...]
) -> None:
    kind = "corr" if command is LEARN else "model"
    assert run_in_process(*command, "-p", pong_copy, "--name", "whole", "--quiet", "--device", "cpu") == 0
    assert interrupt(pong_copy, command, "broken", signal.SIGKILL) == -signal.SIGKILL
    assert not (pong_copy / "weights" / kind / "broken.safetensors").exists()
    assert interrupt(pong_copy, command, "broken", signal.SIGTERM) == 143
    assert run_in_process(*command, "-p", pong_copy, "--name", "broken", "--quiet", "--device", "cpu") == 0
    assert_equal(weights(pong_copy, kind, "whole"), weights(pong_copy, kind, "broken"))
    runs = pong_copy / "runs" / command[0]
    assert read_metrics(runs / "whole" / "metrics.jsonl") == read_metrics(runs / "broken" / "metrics.jsonl")
    assert not (runs / "broken" / "checkpoint.safetensors").exists()


def test_an_interrupted_dqn_goes_on_with_its_memory_and_counters(pong_copy: Path) -> None:
    command = ("train-dqn", "--preset", "tiny", "--env-steps", "3000")
    assert interrupt(pong_copy, command, "broken", signal.SIGINT) == 130
    run = pong_copy / "runs" / "train-dqn" / "broken"
    blocks = list((run / "journal").glob("*.zarr"))
    assert blocks
    assert run_in_process(*command, "-p", pong_copy, "--name", "broken", "--quiet", "--device", "cpu") == 0
    steps = [line["env_steps"] for line in read_metrics(run / "metrics.jsonl") if line["event"] == "progress"]
    assert steps == sorted(set(steps)) and steps[-1] >= 3000
    assert not (run / "journal").exists()
    assert run_in_process("verify", "-p", pong_copy, "--quiet") == 0


def test_an_interrupted_collect_writes_exactly_its_records(pong_copy: Path) -> None:
    command = ("collect", "--records", "6000")
    code = "import corrtool.stages.loop as l; l.CHECKPOINT_SECONDS = 0.2; l.CHECKPOINT_SHARE = 1; from corrtool.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *command, "-p", str(pong_copy), "--name", "big", "--quiet"])
    checkpoint = pong_copy / "runs" / "collect" / "big" / "checkpoint.safetensors"
    while not checkpoint.exists() and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (pong_copy / "memories" / "big.zarr").exists()
    assert run_in_process(*command, "-p", pong_copy, "--name", "big", "--quiet") == 0
    manifest = json.loads((pong_copy / "memories" / "big.zarr" / "corrtool.json").read_text())
    assert manifest["records"] == 6000 and manifest["resumptions"] == 1
    assert run_in_process("verify", "-p", pong_copy, "--quiet") == 0


def test_the_same_seed_twice_gives_the_same_artifacts(pong_copy: Path) -> None:
    for stage, kind in (("train-dqn", "q"), ("learn-corr", "corr"), ("train-model", "model"), ("finetune", "q")):
        more = ("--gradient-steps", "10") if stage in ("learn-corr", "train-model") else ("--env-steps", "300")
        for name in ("one", "two", "other"):
            seed = 8 if name == "other" else 7
            arguments = (
                stage,
                "--preset",
                "tiny",
                *more,
                "--name",
                f"{stage}-{name}",
                "--seed",
                seed,
                "--device",
                "cpu",
            )
            if stage == "learn-corr":
                arguments += (
                    "--eval-games",
                    "0",
                    "--q",
                    "source-dqn",
                    "--source-memory",
                    "source-dqn",
                    "--model",
                    "source-dqn",
                )
            if stage == "finetune":
                arguments += ("--q", "source-dqn", "--corr", "resnet-cyc1-q1-m1")
            assert run_in_process(*arguments, "-p", pong_copy, "--quiet") == 0
        one, two, other = (weights(pong_copy, kind, f"{stage}-{name}") for name in ("one", "two", "other"))
        assert_equal(one, two)
        assert any(not torch.equal(one[name], other[name]) for name in one)
