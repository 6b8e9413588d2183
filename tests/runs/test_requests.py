"""Runs from before a stage had one of its settings are the runs that they were."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import files_of, run_in_process, run_interrupted

from corrtool.files.sealed import read_sealed_json, seal_json
from corrtool.files.sealed_tensors import read_sealed_tensors, seal_tensors
from corrtool.project.memory_files import MEMORY_MANIFEST
from corrtool.runs.checkpoints import load_checkpoint, save_checkpoint

TINY = ("--preset", "tiny", "--quiet", "--device", "cpu")


def made_before(made: dict[str, Any], setting: str) -> dict[str, Any]:
    """A record or manifest as it was written when the stage did not have ``setting``."""
    settings = {name: value for name, value in made["settings"].items() if name != setting}
    assert len(settings) == len(made["settings"]) - 1
    identity = {name: made[name] for name in ("stage", "seed", "tasks", "options")} | {
        "settings": settings,
        "inputs": {use: [a["kind"], a["sha256"]] for use, a in made["parents"].items()},
    }
    fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    older = made | {"settings": settings, "fingerprint": fingerprint}
    return older | ({"identity": identity} if "identity" in made else {})


def age(lab: Path, setting: str) -> None:
    """Rewrites everything in a project as it was before its stage had ``setting``."""
    for path in [*lab.glob("runs/*/*/run.json"), *lab.glob(f"memories/*/{MEMORY_MANIFEST}")]:
        path.write_bytes(seal_json(made_before(read_sealed_json(path), setting)))
    for path in lab.glob("weights/*/*.safetensors"):
        tensors, manifest = read_sealed_tensors(path)
        path.write_bytes(seal_tensors(tensors, made_before(manifest, setting)))
    for path in lab.glob("runs/*/*/checkpoint.safetensors"):
        record = read_sealed_json(path.with_name("run.json"))
        save_checkpoint(path, load_checkpoint(path) | {"fingerprint": record["fingerprint"]})


def test_a_finished_run_is_found_as_done(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    command = ("train-dqn", "-p", lab, *TINY)
    assert run_in_process(*command) == 0
    age(lab, "double_q")
    before = files_of(lab / "weights")
    assert run_in_process(*command, "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["done"]
    assert run_in_process(*command) == 0
    assert files_of(lab / "weights") == before
    assert run_in_process(*command, "--double-q") == 2  # that is another run
    assert "double-q was False, now True" in capsys.readouterr().err
    assert run_in_process(*command, "--seed", "1", "--name", "source-dqn") == 2
    assert "seed was 0, now 1" in capsys.readouterr().err


def test_a_setting_that_was_not_the_default_still_tells_runs_apart(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    assert run_in_process("collect", "-p", lab, *TINY) == 0  # tiny collects 400
    age(lab, "records")
    assert run_in_process("collect", "-p", lab, *TINY) == 2
    assert "records was 10000, now 400" in capsys.readouterr().err


@pytest.mark.parametrize("killed_at_once", [False, True])
def test_an_interrupted_run_goes_on(
    cartpole: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, killed_at_once: bool
) -> None:
    lab = cartpole()
    command = ("train-dqn", *TINY, "--env-steps", 3_000)
    assert run_interrupted(lab, *command, seconds=0.2) == 143
    age(lab, "double_q")
    if killed_at_once:  # between the checkpoint, which is written anew, and the record
        with monkeypatch.context() as patch:
            patch.setattr("corrtool.runs.run.Run._write_record", lambda *_, **__: 1 / 0)
            assert run_in_process(*command, "-p", lab) == 1
    assert run_in_process(*command, "-p", lab) == 0
    record = read_sealed_json(lab / "runs" / "train-dqn" / "source-dqn" / "run.json")
    assert record["resumptions"] == 1 and record["settings"]["double_q"] is False


def test_a_checkpoint_of_another_run_is_refused(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    command = ("train-dqn", *TINY, "--env-steps", 3_000)
    assert run_interrupted(lab, *command, seconds=0.2) == 143
    (path,) = lab.glob("runs/*/*/checkpoint.safetensors")
    save_checkpoint(path, load_checkpoint(path) | {"fingerprint": "0" * 64})
    assert run_in_process(*command, "-p", lab) == 3
    assert "belongs to a run with other settings" in capsys.readouterr().err
