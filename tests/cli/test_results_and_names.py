"""What every stage tells with ``--json``, and how it names what it makes where nobody does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_in_process

from corrtool.files.sealed import read_sealed_json

STAGES: dict[
    str, tuple[tuple[str, ...], set[str]]
] = {  # further arguments, and the kinds of what is made
    "train-dqn": ((), {"q", "memory"}),
    "collect": ((), {"memory"}),
    "train-model": ((), {"model"}),
    "learn-corr": ((), {"corr"}),
    "evaluate": (("--games", "2"), set()),
    "finetune": ((), {"q"}),
}
METRICS = {
    "train-dqn": "env_steps",
    "collect": "records",
    "train-model": "validation_l1",
    "learn-corr": "gradient_steps",
    "evaluate": "mean_return",
    "finetune": "games",
}


def result_of(
    lab: Path, capsys: pytest.CaptureFixture[str], stage: str, *more: object
) -> dict[str, Any]:
    arguments = (
        stage,
        "-p",
        lab,
        "--preset",
        "tiny",
        "--device",
        "cpu",
        "--json",
        *STAGES[stage][0],
        *more,
    )
    assert run_in_process(*arguments) == 0, capsys.readouterr().err
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_every_stage_tells_the_same_and_seeds_need_no_names(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole("permute:1,0,3,2")
    capsys.readouterr()
    for seed in (0, 1):
        for stage, (_, kinds) in STAGES.items():
            result = result_of(lab, capsys, stage, "--seed", seed)
            assert {"stage", "name", "artifacts", "seed", "settings", "metrics"} <= set(result)
            assert (result["stage"], result["seed"]) == (stage, seed)
            assert {artifact["kind"] for artifact in result["artifacts"]} == kinds
            for artifact in result["artifacts"]:
                assert set(artifact) == {"kind", "name", "sha256"} and len(artifact["sha256"]) == 64
            record = read_sealed_json(lab / "runs" / stage / result["name"] / "run.json")
            assert result["artifacts"] == sorted(record["artifacts"], key=result["artifacts"].index)
            assert result["settings"] == record["settings"] and record["seed"] == seed
            numbers = result["metrics"]
            assert METRICS[stage] in numbers and all(
                type(number) in (int, float) for number in numbers.values()
            )
            assert all(numbers[name] == result[name] for name in numbers if name in result)
            assert stage == "evaluate" or ("-seed1" in result["name"]) == (seed == 1)
            assert result_of(lab, capsys, stage, "--seed", seed) == result  # it is done already
    names = {path.parent.name for path in lab.glob("runs/train-*/*/run.json")}
    assert names == {"source-dqn", "source-dqn-seed1", "source-dqn-seed1-seed1"}


def test_names_of_two_runs_are_never_one(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A model of a memory with a seed in its name: whose seed it is must be told."""
    lab = cartpole()
    capsys.readouterr()
    for seed in (0, 1):
        result_of(lab, capsys, "collect", "--task", "source", "--seed", seed)
    names = {
        result_of(lab, capsys, "train-model", "--memory", memory, "--seed", seed)["name"]
        for memory in ("source-random", "source-random-seed1")
        for seed in (0, 1)
    }
    assert len(names) == 4


def test_a_run_that_has_no_seed_in_its_name_keeps_it(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """As versions before made them."""
    lab = cartpole()
    capsys.readouterr()
    before = result_of(lab, capsys, "collect", "--seed", 1, "--name", "target-random")
    assert result_of(lab, capsys, "collect", "--seed", 1) == before
    assert result_of(lab, capsys, "collect", "--seed", 2)["name"] == "target-random-seed2"
    assert (
        result_of(lab, capsys, "collect", "--seed", 1, "--records", 401)["name"]
        == "target-random-seed1"
    )
