"""``corrtool export``: agents for other programs."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from support.commands import one_line_error, run_in_process

import corrtool
from corrtool.errors import UsageError
from corrtool.exchange import played_values
from corrtool.exchange.export_result import Exported
from corrtool.project.artifacts import read_artifact
from corrtool.workflows import export as workflow

MAX_STEPS = 400  # of a game whose actions are compared


@pytest.fixture
def learnt(cartpole_lab: Path) -> corrtool.OpenedProject:
    """CartPole with one number turned round, and a correspondence that is hardly learnt."""
    project = corrtool.open_project(cartpole_lab)
    project.learn_corr(preset="tiny", gradient_steps=2, eval_games=1, name="corr", device="cpu")
    return project


def test_onnxruntime_plays_a_game_of_rotated_pong_as_corrtool_does(tmp_path: Path) -> None:
    project = corrtool.init_project(
        tmp_path / "lab", source="ALE/Pong-v5", target_view=["rotate:90"], pretrained=True
    )
    exported = project.export_policy()
    path = tmp_path / "lab" / "exports" / "pong.onnx"
    assert exported["path"] == str(path) and exported["bytes"] == path.stat().st_size
    check = exported["check"]
    assert check is not None and check["by"].startswith("onnxruntime")
    assert check["relative"] < 1e-5
    assert exported["actions"] == ["NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE"]

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    agent, environment = project.load_agent(), project.environment()
    state, _ = environment.reset(seed=0)
    states, total = [], 0.0
    for _ in range(MAX_STEPS):
        (values,) = session.run(None, {"observation": state[None]})
        action, own = int(values[0].argmax()), agent.values(state)
        # Where FIRE changes nothing two values may be equal but for the order of sums.
        assert action == own.argmax() or own.max() - own[action] < 1e-6
        states.append(state)
        state, reward, terminated, truncated, _ = environment.step(action)
        total += reward
        if terminated or truncated:
            break
    environment.close()
    assert total > 0  # it plays, and does not only lose
    last = np.stack(states[-8:])
    (values,) = session.run(None, {"observation": last})
    expected = np.stack([agent.values(state) for state in last])
    np.testing.assert_allclose(values, expected, atol=1e-5)


def test_a_q_function_as_a_program_and_as_weights(
    learnt: corrtool.OpenedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = learnt.root
    assert run_in_process("export", "q", "--to", "torch", "-p", lab, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["q"] == "source-dqn" and result["corr"] is None
    assert result["path"] == str(lab / "exports" / "q-source-dqn.pt2")
    assert result["input"] == {"shape": [4], "dtype": "float32"}
    assert (
        result["check"]["states"].startswith("memory ") and result["check"]["max_difference"] < 1e-5
    )
    states = torch.randn(3, 4)
    program = torch.export.load(result["path"]).module()
    torch.testing.assert_close(program(states), learnt.load_q_function()(states))

    exported = learnt.export_q(to="sb3", output=lab / "agent.zip")
    with zipfile.ZipFile(lab / "agent.zip") as archive:
        data = json.loads(archive.read("data"))
    sha256 = read_artifact(lab, "q", "source-dqn").sha256
    assert exported["path"] == str(lab / "agent.zip")
    assert data["corrtool"]["q"] == "source-dqn" and data["corrtool"]["q_sha256"] == sha256
    assert json.loads(data["corrtool"]["actions"]) == ["0", "1"]


def test_a_policy_says_what_would_be_written_and_does_not_replace(
    learnt: corrtool.OpenedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = learnt.root
    command = ("export", "policy", "corr", "--to", "torch", "-p", lab)
    assert run_in_process(*command, "--dry-run") == 0
    assert f"would write {lab / 'exports' / 'corr.pt2'}" in capsys.readouterr().out
    assert not (lab / "exports").exists()

    assert run_in_process(*command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "source-dqn through corr, of CartPole-v1 scale:-1,1,1,1: observation (batch × 4) float32 → "
        "q_values (batch × 2)"
    )
    assert lines[1].startswith("largest difference ") and lines[1].endswith(
        "states: memory target-random"
    )
    state = np.array([0.1, -0.2, 0.3, 0.4], np.float32)
    values = torch.export.load(lab / "exports" / "corr.pt2").module()(torch.from_numpy(state)[None])
    np.testing.assert_allclose(values[0].numpy(), learnt.load_agent().values(state), rtol=1e-5)

    assert run_in_process(*command, "--quiet", "--overwrite") == 0


EXPORTS: dict[str, Callable[..., Exported]] = {
    "onnx": lambda project, **how: project.export_policy("corr", **how),
    "torch": lambda project, **how: project.export_policy("corr", to="torch", **how),
    "sb3": lambda project, **how: project.export_q(to="sb3", **how),
}


@pytest.mark.parametrize("to", EXPORTS)
def test_run_again_it_says_that_the_file_is_there(
    to: str,
    learnt: corrtool.OpenedProject,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    export = EXPORTS[to]
    made = export(learnt)
    assert made["state"] == "written"
    path = Path(made["path"])
    content, written = path.read_bytes(), path.stat().st_mtime_ns
    there = {key: value for key, value in made.items() if key != "check"}
    there["state"] = "there already"
    assert export(learnt) == there
    assert export(learnt, dry_run=True) == {"dry_run": True, **there}
    with monkeypatch.context() as patched:  # a newer corrtool writes the same
        patched.setattr(workflow, "__version__", "9.9")
        assert export(learnt)["state"] == "there already"
    command = ("export", "q" if to == "sb3" else "policy", "--to", to, "-p", learnt.root)
    assert run_in_process(*command) == 0
    assert f"{path} is there already: {len(content):,} bytes" in capsys.readouterr().out
    assert path.stat().st_mtime_ns == written

    with monkeypatch.context() as patched:  # a later form of the file
        patched.setattr(workflow, "_VERSION", 2)
        with pytest.raises(
            UsageError, match=f"{path.name} is there already, and is damaged or was"
        ):
            export(learnt)
    empty_zip = b"PK\x05\x06" + bytes(18)
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 4
    for damaged in (content[: len(content) // 2], b"", b"something else", empty_zip, flipped):
        path.write_bytes(damaged)
        assert run_in_process(*command, "--quiet") == 2
        assert "made from something else; use --overwrite" in one_line_error(capsys)
        assert path.read_bytes() == damaged
    assert run_in_process(*command, "--quiet", "--overwrite") == 0
    assert export(learnt)["state"] == "there already"


def test_what_was_made_from_other_weights_is_not_replaced(
    learnt: corrtool.OpenedProject, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = learnt.root
    command = ("export", "policy", "corr", "--to", "torch", "-p", lab, "--quiet")
    assert run_in_process(*command) == 0
    learnt.learn_corr(
        preset="tiny", gradient_steps=3, eval_games=1, name="corr", device="cpu", overwrite=True
    )
    capsys.readouterr()
    assert run_in_process(*command) == 2
    assert (
        "corr.pt2 is there already, and is damaged or was made from something else"
        in one_line_error(capsys)
    )

    output = ("--output", lab / "a-directory.pt2")
    output[1].mkdir()
    assert run_in_process(*command, *output) == 2
    assert "a-directory.pt2" in one_line_error(capsys)
    assert learnt.export_q(to="torch", output=lab / "agent")["state"] == "written"
    with pytest.raises(UsageError, match="made from something else"):
        learnt.export_q(to="sb3", output=lab / "agent")


def test_an_agent_that_was_finetuned_goes_with_its_correspondence(
    learnt: corrtool.OpenedProject,
) -> None:
    tuned = learnt.finetune(preset="tiny", env_steps=60, name="tuned", device="cpu")["name"]
    with pytest.raises(UsageError, match=f"use 'corrtool export policy --q {tuned}'"):
        learnt.export_q(tuned)
    exported = learnt.export_policy(q=tuned, to="torch")
    assert (exported["q"], exported["corr"]) == (tuned, "corr")
    state = np.array([0.1, -0.2, 0.3, 0.4], np.float32)
    values = torch.export.load(exported["path"]).module()(torch.from_numpy(state)[None])
    expected = learnt.load_agent(q=tuned).values(state)
    np.testing.assert_allclose(values[0].numpy(), expected, rtol=1e-5)


def test_an_agent_that_plays_the_target_directly_is_a_q_function(
    learnt: corrtool.OpenedProject,
) -> None:
    own = learnt.finetune(preset="tiny", env_steps=60, no_corr=True, name="own", device="cpu")
    with pytest.raises(UsageError, match="plays without a correspondence; use 'corrtool export q"):
        learnt.export_policy(q=own["name"])
    exported = learnt.export_q(own["name"], to="torch")
    assert (exported["task"], exported["corr"]) == ("CartPole-v1 scale:-1,1,1,1", None)


def test_arguments_that_there_are_not(learnt: corrtool.OpenedProject) -> None:
    with pytest.raises(UsageError, match="no format 'jax'; choose onnx, sb3, torch"):
        learnt.export_q(to="jax")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="outptu"):
        learnt.export_q(outptu="agent.onnx")  # type: ignore[call-arg]


def test_what_cannot_be_written_is_said_in_one_line(
    learnt: corrtool.OpenedProject,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lab = learnt.root
    export = ("export", "q", "-p", lab, "--quiet")
    assert run_in_process(*export, "--output", lab / "weights" / "q" / "x.onnx") == 2
    assert "is one of the project's own files" in one_line_error(capsys)
    assert run_in_process("export", "policy", "-p", lab, "--quiet", "--to", "sb3") == 2
    capsys.readouterr()
    assert run_in_process("export", "q", "nobody", "-p", lab, "--quiet") == 3
    assert "there is no Q-function 'nobody'" in one_line_error(capsys)
    with pytest.raises(UsageError, match="has no network with a correspondence"):
        learnt.export_policy(to="sb3")
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert run_in_process(*export) == 2
    assert "--to onnx needs onnx; pip install 'corrtool[onnx]'" in one_line_error(capsys)


def test_what_computes_something_else_is_not_written(
    learnt: corrtool.OpenedProject,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(played_values, "TOLERANCE", -1.0)
    assert run_in_process("export", "q", "--to", "torch", "-p", learnt.root, "--quiet") == 1
    assert "so it was not written" in one_line_error(capsys)
    assert not (learnt.root / "exports").exists()
