"""``learn-corr --recipe auto``: which recipe learns, said and kept, killed or not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.commands import run_in_process, run_interrupted

from corrtool.correspondence import linear_starts
from corrtool.project.artifacts import read_artifact
from corrtool.runs.metrics import read_metrics

TINY = ("--preset", "tiny", "--device", "cpu", "--quiet")
AUTO = ("--recipe", "auto", "--action-map", "auto", "--linear-starts", 4, "--eval-games", 0)
TRIED = ["linear", "linear, actions learned", "mlp", "mlp, actions learned"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = tmp_path_factory.mktemp("recipes") / "cartpole"
    assert run_in_process("init", lab, "--source", "CartPole-v1", "--quiet") == 0
    for stage in ("train-dqn", "collect", "train-model"):
        assert run_in_process(stage, "-p", lab, *TINY) == 0
    return lab


@pytest.fixture
def lab(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(linear_starts, "ROUNDS", ((5, 64, 0.03, 1.0),))
    return shutil.copytree(made, tmp_path / "lab")


def test_all_are_tried_where_none_explains_enough(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = (*AUTO, "--recipe-trial-steps", 3, "--recipe-enough", 1)
    assert run_in_process("learn-corr", "-p", lab, *TINY, *flags, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    scores = result["recipe_scores"]
    assert result["corr"] == "auto" and result["recipe"] in scores
    assert list(scores) == TRIED or max(scores.values()) == 1
    made = read_artifact(lab, "corr", "auto").manifest
    assert made["network"]["generator"]["kind"] == result["generator"]
    assert made["summary"]["recipe"] == result["recipe"]


def test_a_trial_counts_as_learning_and_the_first_that_is_enough_ends_them(lab: Path) -> None:
    flags = (*AUTO, "--recipe-trial-steps", 3, "--recipe-enough", 0, "--gradient-steps", 5)
    assert run_in_process("learn-corr", "-p", lab, *TINY, *flags) == 0
    lines = read_metrics(lab / "runs" / "learn-corr" / "auto" / "metrics.jsonl")
    (told,) = [line for line in lines if line["event"] == "recipe"]
    assert told["chosen"] == "linear" and list(told["scores"]) == ["linear"]


def test_a_killed_run_goes_on_with_its_recipe(lab: Path) -> None:
    flags = (*AUTO, "--recipe-trial-steps", 3, "--recipe-enough", 1, "--gradient-steps", 1000)
    assert run_interrupted(lab, "learn-corr", *TINY, *flags, "--name", "killed") == 143
    for name in ("killed", "unbroken"):
        assert run_in_process("learn-corr", "-p", lab, *TINY, *flags, "--name", name) == 0
    killed, unbroken = (read_artifact(lab, "corr", name) for name in ("killed", "unbroken"))
    assert killed.sha256 == unbroken.sha256
    assert killed.manifest["summary"] == unbroken.manifest["summary"]


def test_a_flag_that_a_recipe_decides_has_no_effect_beside_it(made: Path) -> None:
    asked = ("learn-corr", "-p", made, *TINY, "--recipe", "auto", "--generator", "mlp")
    assert run_in_process(*asked, "--dry-run") == 2
