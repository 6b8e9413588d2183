"""A target that is turned, inverted, of other channels and actions: ``learn-corr --tone``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.commands import one_line_error, run_in_process, run_interrupted
from support.falling import FALLING

import corrtool
from corrtool.project.artifacts import read_artifact
from corrtool.runs.metrics import read_metrics

TINY = ("--preset", "tiny", "--device", "cpu")
TONED = ("--generator", "affine", "--tone", "--action-map", "learned", "--angle-starts", 4)
VIEWS = ("rotate:90", "invert", "channels:2,0,1", "actions:1,2,0")


def run(stage: str, lab: Path, *more: object) -> int:
    return run_in_process(stage, "-p", lab, *TINY, "--quiet", *more)


def lines(lab: Path, name: str, event: str) -> list[dict[str, Any]]:
    metrics = read_metrics(lab / "runs" / "learn-corr" / name / "metrics.jsonl")
    return [line for line in metrics if line.get("event") == event]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose target looks and acts differently."""
    lab = tmp_path_factory.mktemp("appearance") / "falling"
    views = [part for view in VIEWS for part in ("--target-view", view)]
    assert run_in_process("init", lab, "--source", FALLING, *views, "--quiet") == 0
    for stage in ("train-dqn", "collect", "train-model"):
        assert run(stage, lab) == 0
    return lab


@pytest.fixture
def lab(made: Path, tmp_path: Path) -> Path:
    """A copy of that project."""
    return shutil.copytree(made, tmp_path / "lab")


def test_tones_and_actions_are_searched_learnt_and_told(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process("learn-corr", "-p", lab, *TINY, *TONED, "--name", "toned") == 0
    said = capsys.readouterr()
    assert "starts and" in said.err and "learn-corr: starting at " in said.err
    (search,) = lines(lab, "toned", "spatial_search")
    assert len(search["tones"]) == len(search["tone_model_losses"]) > 2
    assert sorted(search["start_action_map"]) == [0, 1, 2]
    matrices = lines(lab, "toned", "action_matrix")
    assert [line["gradient_steps"] for line in matrices] == [0, 40]
    for line in matrices:
        assert [len(row) for row in line["relative_model_losses"]] == [3, 3, 3]

    assert run("learn-corr", lab, *TONED, "--name", "toned", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    best, last = (read_artifact(lab, "corr", name).manifest for name in ("toned", "toned-last"))
    assert result["action_map"] == best["network"]["action_map"]["source_of"]
    assert last["network"]["action_map"]["source_of"] == matrices[-1]["action_map"]
    assert f"target actions are {result['action_map']} of the source" in said.out
    assert best["network"]["generator"]["tone"] == "before"
    assert run("evaluate", lab, "--corr", "toned") == 0
    layers = dict(corrtool.open_project(lab).load_correspondence("toned").named_parameters())
    assert layers["target_to_source.tone.matrix"].shape == (3, 3)


def test_a_killed_run_ends_where_an_unbroken_one_does(lab: Path) -> None:
    flags = (*TONED, "--gradient-steps", 150, "--eval-games", 0)
    killed = ("learn-corr", *TINY, "--quiet", *flags, "--name", "killed")
    assert run_interrupted(lab, *killed, logged=True, seconds=0.2) == 143
    for name in ("killed", "unbroken"):
        assert run("learn-corr", lab, *flags, "--name", name) == 0
    one, other = (read_artifact(lab, "corr", name) for name in ("killed", "unbroken"))
    assert one.sha256 == other.sha256
    assert one.manifest["network"] == other.manifest["network"]
    matrices = [lines(lab, name, "action_matrix") for name in ("killed", "unbroken")]
    assert [line["gradient_steps"] for line in matrices[1]] == [0, 100, 150]
    for line, same in zip(*matrices, strict=True):
        assert line["relative_model_losses"] == same["relative_model_losses"]
        assert line["action_map"] == same["action_map"]


def test_a_resnet_learns_the_map_without_a_start(lab: Path) -> None:
    flags = ("--generator", "resnet", "--action-map", "learned", "--gradient-steps", 110)
    assert run("learn-corr", lab, *flags, "--name", "resnet") == 0
    assert [line["gradient_steps"] for line in lines(lab, "resnet", "action_matrix")] == [100, 110]


def test_the_tone_of_a_project_is_not_recorded_where_there_is_none(
    lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRTOOL_LEARN_CORR_TONE", "true")
    for kind, tone in (("affine", True), ("resnet", False), ("rotation", False)):
        flags = ("--generator", kind, "--dry-run", "--json", "--device", "cpu")
        assert run_in_process("learn-corr", "-p", lab, *flags) == 0
        assert json.loads(capsys.readouterr().out)["settings"]["tone"] is tone


def test_without_a_model_loss_no_map_is_learnt(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("learn-corr", lab, "--action-map", "learned", "--lambda-m", 0) == 2
    assert "--lambda-m is 0" in one_line_error(capsys)
