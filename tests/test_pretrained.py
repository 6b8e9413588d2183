"""The trained weights that come with corrtool."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from support.commands import run_in_process
from support.schemas import check_result

from corrtool.correspondence.saved import load_correspondence
from corrtool.environment_model.saved import load_model
from corrtool.errors import ArtifactError, UsageError
from corrtool.pretrained import PONG, PRETRAINED, adopt, shipped_for
from corrtool.project.artifacts import artifact_path, artifact_problems, read_artifact
from corrtool.project.directory import Project, create_project
from corrtool.q_learning.saved import load_q_function

KINDS = {"q": load_q_function, "model": load_model, "corr": load_correspondence}
PONG_TABLE = {"id": "ALE/Pong-v5"}
PLAYING = ("evaluate", "learn-corr")
ROTATED_TABLE = {"id": "ALE/Pong-v5", "views": ["rotate:90"]}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return create_project(tmp_path / "lab", {"source": PONG_TABLE, "target": ROTATED_TABLE}, {})


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_whole_and_say_where_they_are_from(kind: str) -> None:
    assert artifact_problems(PRETRAINED, kind, PONG) == []
    artifact = read_artifact(PRETRAINED, kind, PONG)
    KINDS[kind](artifact, torch.device("cpu"))
    manifest = artifact.manifest
    assert (
        manifest["command"].startswith("corrtool ")
        and manifest["machine"]["packages"]
        and "seed" in manifest
    )
    assert manifest["machine"]["commit"]


def test_they_are_small() -> None:
    assert sum(path.stat().st_size for path in PRETRAINED.rglob("*.safetensors")) < 20_000_000


def test_they_fit_each_other(project: Project) -> None:
    source, target = project.task("source"), project.task("target")
    shipped = {artifact.kind: artifact for artifact in shipped_for(source, target)}
    assert set(shipped) == set(KINDS)
    assert {artifact.kind for artifact in shipped_for(source, source)} == {"q", "model"}
    assert shipped_for(target, source) == []
    assert (
        len(shipped_for(source.with_sticky_actions(0.5), target.with_sticky_actions(0.5))) == 3
    )  # with sticky actions or without
    parents = shipped["corr"].manifest["parents"]
    assert {parents[kind]["sha256"] for kind in ("q", "model")} == {
        shipped[kind].sha256 for kind in ("q", "model")
    }


def test_adopting_copies_once_and_replaces_nothing(project: Project) -> None:
    adopted = adopt(project, "q", PONG)
    assert adopted.path.read_bytes() == artifact_path(PRETRAINED, "q", PONG).read_bytes()
    made = adopted.path.stat().st_mtime_ns
    assert adopt(project, "q", PONG).path.stat().st_mtime_ns == made

    shutil.copy(artifact_path(PRETRAINED, "model", PONG), adopted.path)
    with pytest.raises((UsageError, ArtifactError)):
        adopt(project, "q", PONG)


def test_init_can_copy_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--source", "ALE/Pong-v5", "--target-view", "rotate:90", "--pretrained", "--json")
    assert run_in_process("init", str(tmp_path / "lab"), *arguments) == 0
    assert {item["kind"] for item in json.loads(capsys.readouterr().out)["pretrained"]} == set(
        KINDS
    )
    assert (
        run_in_process("init", str(tmp_path / "other"), "--source", "CartPole-v1", "--pretrained")
        == 2
    )
    assert not (tmp_path / "other").exists()


def test_quickstart_uses_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On real Pong, at the smallest size, where games end 10 steps after the last point.

    An interrupted or finished quickstart is not begun again.
    """
    lab = tmp_path / "lab"
    create_project(lab, {"source": PONG_TABLE, "target": ROTATED_TABLE}, {})
    with (lab / "corrtool.toml").open("a") as file:
        file.write("".join(f"\n[{stage}]\nmax-idle-frames = 40\n" for stage in PLAYING))
        file.write("gradient-steps = 5\n\n[collect]\nrecords = 100\n")
    for _ in range(2):
        assert run_in_process("quickstart", str(lab), "--preset", "tiny", "--json") == 0
        result = check_result("quickstart", capsys.readouterr().out)
        assert [row["policy"] for row in result["rows"]] == ["random", "reuse", "transfer"]
        assert result["source_agent"] == PONG
        for numbers in (numbers for row in result["rows"] for numbers in (row, row["sticky"])):
            assert len(numbers["returns"]) == len(numbers["ci95"]) == 2 and numbers[
                "distinct_games"
            ] in (1, 2)
            assert numbers["mean_return"] == sum(numbers["returns"]) / 2
    evaluations = [json.loads(path.read_text()) for path in lab.glob("runs/evaluate/*/run.json")]
    assert (
        sorted(e["settings"]["repeat_action_probability"] for e in evaluations)
        == [0.0] * 3 + [0.25] * 3
    )
    assert not (lab / "runs" / "train-dqn").exists()
    assert (
        adopt(Project(lab), "model", PONG).sha256 == read_artifact(PRETRAINED, "model", PONG).sha256
    )
