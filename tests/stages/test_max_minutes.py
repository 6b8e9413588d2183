"""``--max-minutes``: a stage that learns ends early, as if it had been asked for fewer steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_in_process, run_interrupted

from corrtool.project.artifacts import read_artifact

TINY = ("--preset", "tiny", "--device", "cpu")
SHORT = ("--max-minutes", "0.02")
LEARNING = {
    "train-dqn": ("--env-steps", "10000000"),
    "train-model": ("--gradient-steps", "10000000"),
    "learn-corr": ("--gradient-steps", "10000000"),
    "finetune": ("--env-steps", "10000000"),
}


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = tmp_path_factory.mktemp("limits") / "lab"
    views = ("--target-view", "permute:2,3,0,1")
    assert run_in_process("init", lab, "--source", "CartPole-v1", *views, "--quiet") == 0
    for stage in ("train-dqn", "collect", "train-model", "learn-corr"):
        assert run_in_process(stage, "-p", lab, *TINY, "--quiet") == 0
    return lab


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    capsys.readouterr()
    assert run_in_process(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("stage", LEARNING)
def test_what_was_learnt_is_tested_and_kept(
    _made: Path, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = (stage, "-p", _made, *TINY, *LEARNING[stage], "--name", f"short-{stage}")
    result = asked(capsys, *flags, *SHORT)
    assert result["cut"] is True
    steps = result["env_steps" if "env_steps" in result else "gradient_steps"]
    assert 0 < steps < 10_000_000
    for made in result["artifacts"]:
        if not made["name"].endswith("-random"):  # it is played in full, whatever was learnt
            manifest = read_artifact(_made, made["kind"], made["name"]).manifest
            assert manifest["summary"]["cut"] is True
    if stage == "learn-corr":
        assert result["last_mean_return"] is not None  # its last step had a play test
    lines = (_made / "runs" / stage / f"short-{stage}" / "metrics.jsonl").read_text().splitlines()
    logged = [json.loads(line) for line in lines]
    assert all(line.get("gradient_steps", 0) <= 10_000_000 for line in logged)
    assert "done already" in run_again(capsys, *flags, *SHORT)
    assert run_in_process(*flags, "--max-minutes", "0.01") == 2  # less is another run
    assert "max-minutes was 0.02" in capsys.readouterr().err


def run_again(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert run_in_process(*arguments) == 0
    return capsys.readouterr().err


def test_a_run_that_is_through_before_is_not_cut(
    _made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stage in ("train-dqn", "train-model", "learn-corr"):
        limited = ("--max-minutes", "60", "--name", f"through-{stage}")
        before = asked(capsys, stage, "-p", _made, *TINY)
        result = asked(capsys, stage, "-p", _made, *TINY, *limited)
        assert "cut" not in result
        if stage == "train-dqn":  # the others read what is newest
            assert result["sha256"] == before["sha256"]


def test_the_minutes_before_a_resumption_count(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    command = ("train-dqn", *TINY, "--env-steps", "10000000", "--max-minutes", "0.04")
    assert run_interrupted(lab, *command, "--quiet", logged=True) == 143
    result = asked(capsys, *command, "-p", lab)
    assert result["cut"] is True
    record = json.loads((lab / "runs" / "train-dqn" / "source-dqn" / "run.json").read_text())
    assert record["resumptions"] == 1
    assert 2.4 <= record["seconds"] < 10
