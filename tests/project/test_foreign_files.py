"""What people, desktops and network file systems leave in a project.

It harms nothing, and is not called damage.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support.commands import run_in_process

from corrtool.errors import ArtifactError, ForeignFileError
from corrtool.files.sealed_tensors import read_sealed_tensors
from corrtool.project.artifacts import read_artifact

TINY = ("--preset", "tiny", "--quiet", "--device", "cpu")
STRAYS = (
    ".DS_Store",
    "Thumbs.db",
    ".nfs0000000001",
    "._source-dqn.safetensors",
    "notes.txt",
    "a copy of it.zarr",
)


@pytest.fixture
def littered(cartpole: Callable[..., Path]) -> Path:
    """A project with a memory of the source and a run that made it, and stray files everywhere."""
    lab = cartpole()
    assert run_in_process("collect", "-p", lab, *TINY, "--task", "source", "--name", "m") == 0
    (lab / "weights" / "q").mkdir(parents=True)
    (lab / "runs" / "collect" / "empty").mkdir()
    folders = (
        "",
        "runs",
        "runs/collect",
        "runs/collect/m",
        "runs/collect/empty",
        "runs/.locks",
        "weights",
        "weights/q",
    )
    for folder in (
        *folders,
        "memories",
        "memories/m.zarr",
        "memories/m.zarr/frames",
        "memories/m.zarr/frames/c",
    ):
        for name in STRAYS:
            (lab / folder / name).write_bytes(b"stray")
    (lab / "runs" / "old runs").mkdir()
    (lab / "runs" / "backup" / "m").mkdir(parents=True)
    (lab / "runs" / "backup" / "m" / "run.json").write_bytes(b"old")
    (lab / "runs" / "collect" / "m" / "checkpoint-before.safetensors").write_bytes(b"mine")
    return lab


def test_stray_files_harm_nothing(littered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_in_process("status", "-p", littered, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert [(a["kind"], a["name"], a["state"]) for a in result["artifacts"]] == [
        ("memory", "m", "whole")
    ]
    assert result["damaged_runs"] == result["unfinished_runs"] == []
    assert run_in_process("verify", "-p", littered) == 0
    out = capsys.readouterr().out
    assert "1 of 1 artifacts are whole" in out
    (line,) = [
        line
        for line in out.splitlines()
        if line.startswith("memories/m.zarr holds files that do not belong to it")
    ]
    assert "frames/c/.DS_Store" in line and "notes.txt" in line
    assert run_in_process("report", "-p", littered, "--json") == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == []
    assert run_in_process("train-model", "-p", littered, *TINY) == 0
    assert (
        run_in_process(
            "collect", "-p", littered, *TINY, "--task", "source", "--name", "m", "--overwrite"
        )
        == 0
    )
    assert (littered / "runs" / "backup" / "m" / "run.json").read_bytes() == b"old"


def test_what_could_be_read_as_data_is_damage(
    littered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (littered / "memories" / "m.zarr" / "frames" / "c" / "99").mkdir()
    (littered / "memories" / "m.zarr" / "frames" / "c" / "99" / "0").write_bytes(b"chunk")
    assert run_in_process("verify", "-p", littered) == 3
    assert "frames/c/99/0 does not belong to the memory" in capsys.readouterr().out
    assert run_in_process("train-model", "-p", littered, *TINY) == 3


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_weights_of_somebody_else_are_foreign_not_damaged(
    littered: Path, metadata: dict[str, str] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = littered / "weights" / "q" / "downloaded.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata)
    with pytest.raises(ForeignFileError, match="was not made by corrtool"):
        read_sealed_tensors(path)
    with pytest.raises(ForeignFileError):
        read_artifact(littered, "q", "downloaded")
    assert run_in_process("verify", "-p", littered) == 0
    out = capsys.readouterr().out
    assert (
        "weights/q/downloaded.safetensors was not made by corrtool" in out
        and "1 of 1 artifacts" in out
    )
    assert run_in_process("status", "-p", littered) == 0
    captured = capsys.readouterr()
    assert "foreign" in captured.out and "damaged" not in captured.out + captured.err
    assert (
        run_in_process("evaluate", "-p", littered, *TINY, "--task", "source", "--q", "downloaded")
        == 3
    )
    assert "was not made by corrtool" in capsys.readouterr().err
    assert run_in_process("evaluate", "-p", littered, *TINY, "--task", "source") == 3
    assert "this project has no Q-function" in capsys.readouterr().err
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ArtifactError, match="is damaged"):
        read_artifact(littered, "q", "downloaded")
