"""``status`` and ``verify``: what is there, what was played, what is damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.commands import run_in_process


def test_status_lists_every_artifact_as_whole_with_its_parents(
    pong_lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process("status", "-p", pong_lab, "--json") == 0
    artifacts = json.loads(capsys.readouterr().out)["artifacts"]
    assert {(a["kind"], a["name"]) for a in artifacts} == {
        ("memory", "source-dqn"),
        ("memory", "source-dqn-random"),
        ("memory", "target-random"),
        ("q", "source-dqn"),
        ("q", "target-finetune-resnet-cyc1-q1-m1"),
        ("model", "source-dqn"),
        ("corr", "resnet-cyc1-q1-m1"),
        ("corr", "resnet-cyc1-q1-m1-last"),
    }
    assert {a["state"] for a in artifacts} == {"whole"}
    for artifact in artifacts:
        assert (pong_lab / artifact["path"]).exists()
        assert artifact["records"] or artifact["parameters"]
    sha256 = {(a["kind"], a["name"]): a["sha256"] for a in artifacts}
    corr = next(a for a in artifacts if a["name"] == "resnet-cyc1-q1-m1")
    assert set(corr["parents"]) == {"q", "model", "source_memory", "target_memory"}
    for parent in corr["parents"].values():
        assert sha256[parent["kind"], parent["name"]] == parent["sha256"]


def test_status_lists_the_games_that_were_played(
    pong_lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process("status", "-p", pong_lab, "--json") == 0
    (played,) = json.loads(capsys.readouterr().out)["evaluations"]
    assert played["games"] == len(played["returns"]) == 2 and played["task"] == "target"
    assert run_in_process("status", "-p", pong_lab) == 0
    shown = capsys.readouterr().out
    assert (
        f"{played['mean_return']:.1f} –" in shown
        and f"{played['distinct_games']} distinct" in shown
    )  # two games say little


def test_status_tells_games_of_an_agent_that_was_replaced_from_those_of_its_successor(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process("status", "-p", pong_copy) == 0
    assert "since replaced" not in capsys.readouterr().out
    q = pong_copy / "weights" / "q"
    for path in q.glob("target-*"):  # a stranger, whole, in the place of the one that played
        shutil.copy(path, q / "source-dqn.safetensors")
    assert run_in_process("status", "-p", pong_copy, "--json") == 0
    (played,) = json.loads(capsys.readouterr().out)["evaluations"]
    assert played["parents"]["q"]["name"] == "source-dqn"
    assert run_in_process("status", "-p", pong_copy) == 0
    games = capsys.readouterr().out.partition("games")[2]
    assert "q source-dqn (since replaced)" in " ".join(games.split())


def test_status_shows_nothing_of_a_damaged_manifest_but_that(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = (pong_copy / "weights" / "model").glob("*.safetensors")
    path.write_bytes(path.read_bytes().replace(b"l1_newest_persistence", b"l1_newest_persistencd"))
    assert run_in_process("status", "-p", pong_copy) == 0
    assert "damaged" in capsys.readouterr().out


@pytest.mark.parametrize("width", ["20", "60"])
def test_a_narrow_terminal_still_shows_what_is_damaged(
    pong_copy: Path, width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = next((pong_copy / "weights" / "corr").glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-9])
    monkeypatch.setenv("COLUMNS", width)
    assert run_in_process("status", "-p", pong_copy) == 0
    assert "damaged" in capsys.readouterr().out


def test_damage_is_named_and_refused_and_costs_nothing_else(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    q = pong_copy / "weights" / "q" / "source-dqn.safetensors"
    content = bytearray(q.read_bytes())
    content[len(content) // 2] ^= 1
    q.write_bytes(content)
    assert run_in_process("evaluate", "-p", pong_copy, "--preset", "tiny", "--games", 1) == 3
    assert "source-dqn.safetensors is damaged" in capsys.readouterr().err
    chunk = next((pong_copy / "memories" / "target-random.zarr").rglob("c/0*"))
    shutil.rmtree(chunk) if chunk.is_dir() else chunk.unlink()
    assert run_in_process("learn-corr", "-p", pong_copy, "--preset", "tiny", "--name", "again") == 3
    assert "is missing" in capsys.readouterr().err
    assert run_in_process("verify", "-p", pong_copy) == 3
    listed = capsys.readouterr().out
    assert "weights/q/source-dqn.safetensors" in listed and "memories/target-random.zarr" in listed
    assert "6 of 8 artifacts are whole" in listed
