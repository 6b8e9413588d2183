"""``learn-corr`` of vectors that begins at the best of many maps: ``--linear-starts``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import one_line_error, run_in_process, run_interrupted

import corrtool
from corrtool.correspondence import linear_rotations, linear_starts
from corrtool.project.artifacts import read_artifact
from corrtool.runs.metrics import read_metrics

TINY = ("--preset", "tiny", "--device", "cpu", "--quiet")
STARTS = ("--linear-starts", 8, "--lambda-m", 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CartPole project up to F, whose target has permuted coordinates and swapped actions."""
    lab = tmp_path_factory.mktemp("starts") / "cartpole"
    views = ("--target-view", "permute:2,3,0,1", "--target-view", "actions:1,0")
    assert run_in_process("init", lab, "--source", "CartPole-v1", *views, "--quiet") == 0
    for stage in ("train-dqn", "collect", "train-model"):
        assert run_in_process(stage, "-p", lab, *TINY) == 0
    return lab


@pytest.fixture
def lab(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that project, in which a search is short."""
    for searches in (linear_starts, linear_rotations):
        rounds = ((20, 256, 0.03, 1.0), (20, 256, 0.02, 1.0))
        monkeypatch.setattr(searches, "ROUNDS", rounds)
    monkeypatch.setattr(linear_rotations, "SWEEPS", (0.1,))
    return shutil.copytree(made, tmp_path / "lab")


def searches(lab: Path, name: str) -> list[dict[str, Any]]:
    """What the searches of a run logged."""
    lines = read_metrics(lab / "runs" / "learn-corr" / name / "metrics.jsonl")
    return [line for line in lines if line["event"] == "linear_search"]


def test_a_killed_run_goes_on_from_its_start(lab: Path) -> None:
    flags = (*STARTS, "--action-map", "learned", "--eval-games", 0, "--gradient-steps", 300)
    killed = ("learn-corr", *TINY, *flags, "--name", "killed")
    assert run_interrupted(lab, *killed, logged=True, seconds=0.1) == 143
    for name in ("killed", "unbroken"):
        assert run_in_process("learn-corr", "-p", lab, *TINY, *flags, "--name", name) == 0
    one, other = (read_artifact(lab, "corr", name) for name in ("killed", "unbroken"))
    assert one.sha256 == other.sha256
    assert one.manifest["network"] == other.manifest["network"]
    (found,) = searches(lab, "killed")  # not a second time
    (again,) = searches(lab, "unbroken")
    told = ("weight", "bias", "source_of", "loss", "signed_permutation")
    assert [found[part] for part in told] == [again[part] for part in told]
    assert one.manifest["network"]["action_map"]["source_of"] == found["source_of"]


def test_what_was_started_is_play_tested_before_it_learns(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = ("learn-corr", "-p", lab, *TINY, *STARTS, "--action-map", "learned", "--json")
    assert run_in_process(*learn) == 0
    result = json.loads(capsys.readouterr().out)
    name = result["corr"]
    assert name == "linear-cyc1-q1-m1-mapped"
    assert result["settings"]["action_map"] == "learned"
    lines = read_metrics(lab / "runs" / "learn-corr" / name / "metrics.jsonl")
    tested = [line["gradient_steps"] for line in lines if line["event"] == "play_test"]
    assert tested == [0, 40]
    (found,) = searches(lab, name)
    assert sorted(found["source_of"]) == [0, 1]
    agent = corrtool.open_project(lab).load_agent()
    assert agent.values(np.zeros(4, np.float32)).shape == (2,)
    assert run_in_process("evaluate", "-p", lab, *TINY, "--json") == 0
    assert json.loads(capsys.readouterr().out)["corr"] == name


def test_an_mlp_starts_there_too(lab: Path) -> None:
    flags = (*STARTS, "--generator", "mlp", "--eval-games", 0, "--name", "mlp")
    assert run_in_process("learn-corr", "-p", lab, *TINY, *flags) == 0
    assert len(searches(lab, "mlp")) == 1


@pytest.mark.parametrize("flags", [("--linear-starts", 8, "--lambda-m", 0)])
def test_a_map_is_only_learnt_along_with_a_start(
    made: Path, capsys: pytest.CaptureFixture[str], flags: tuple[object, ...]
) -> None:
    asked = ("learn-corr", "-p", made, *TINY, *flags, "--action-map", "learned", "--dry-run")
    assert run_in_process(*asked) == 2
    assert "--lambda-m is 0" in one_line_error(capsys)
