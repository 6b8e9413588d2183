"""Runs that were interrupted: what goes on, and what is refused.

Also what ``status`` and ``verify`` say of them.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import files_of, run_in_process, run_interrupted

TINY = ("--preset", "tiny", "--quiet", "--device", "cpu")
SOON = 0.2  # seconds of work before the signal: what is interrupted can be short
LONG = ("train-dqn", *TINY, "--env-steps", 3_000)


@pytest.fixture(scope="module")
def _halted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = tmp_path_factory.mktemp("halted") / "lab"
    assert run_in_process("init", lab, "--source", "CartPole-v1", "--quiet") == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["corrtool", *map(str, LONG), "-p", str(lab)])
        assert run_interrupted(lab, *LONG, logged=True, seconds=0) == 143
    return lab


@pytest.fixture
def halted(_halted: Path, tmp_path: Path) -> Path:
    """A project with an interrupted run of ``train-dqn``, to break."""
    return shutil.copytree(_halted, tmp_path / "halted")


def run_of(lab: Path) -> Path:
    return lab / "runs" / "train-dqn" / "source-dqn"


@pytest.mark.parametrize("change", ["missing", "shorter", "altered"])
def test_metrics_that_are_not_those_of_the_checkpoint_are_damage(
    halted: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_of(halted) / "metrics.jsonl"
    if change == "missing":
        path.unlink()
    elif change == "shorter":
        path.write_bytes(path.read_bytes()[:100])
    else:
        path.write_bytes(path.read_bytes().replace(b"1", b"2"))
    for command in (("verify",), LONG, (*LONG, "--dry-run")):
        assert run_in_process(*command, "-p", halted) == 3
    out, err = capsys.readouterr()
    assert "metrics.jsonl is damaged" in out and err.count("metrics.jsonl is damaged") == 2


def test_a_run_whose_checkpoint_is_gone_says_that_it_starts_anew(
    halted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loud = [word for word in LONG if word != "--quiet"]
    (run_of(halted) / "checkpoint.safetensors").unlink()
    said = "train-dqn source-dqn: starting anew: it has no checkpoint"
    assert run_in_process(*loud, "-p", halted) == 0
    assert said in capsys.readouterr().err
    assert run_in_process(*loud, "-p", halted, "--overwrite") == 0  # what is finished is set aside
    assert said not in capsys.readouterr().err


def test_a_dry_run_and_status_tell_of_a_damaged_checkpoint(
    halted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run_of(halted) / "journal")
    assert run_in_process(*LONG, "-p", halted, "--dry-run") == 3
    assert "journal" in capsys.readouterr().err
    assert run_in_process("status", "-p", halted) == 0
    assert "damaged: runs/train-dqn/source-dqn/journal" in capsys.readouterr().err
    assert run_in_process(*LONG, "-p", halted, "--dry-run", "--overwrite") == 0


def test_a_run_without_its_record_is_damaged(
    halted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_of(halted) / "run.json").unlink()
    for command in (("verify",), LONG, (*LONG, "--dry-run")):
        assert run_in_process(*command, "-p", halted) == 3
    out, err = capsys.readouterr()
    assert "run.json" in out and err.count("run.json") == 2


@pytest.mark.parametrize("here", [True, False])
def test_the_command_of_status_goes_on_with_the_project_that_was_asked_for(
    halted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    here: bool,
) -> None:
    other = shutil.copytree(halted, tmp_path / "it's another")
    monkeypatch.chdir(other if here else tmp_path)
    assert run_in_process("status", "-p", other, "--json") == 0
    (run,) = json.loads(capsys.readouterr().out)["unfinished_runs"]
    command = shlex.split(run["command"])
    where = [] if here else ["--project", str(other)]
    assert command == ["corrtool", *map(str, LONG), "--name", "source-dqn", *where]


def test_variables_belong_to_the_recorded_command(
    cartpole: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lab = cartpole()
    monkeypatch.setenv("CORRTOOL_PRESET", "tiny")
    monkeypatch.setenv("CORRTOOL_TRAIN_DQN_ENV_STEPS", "3000")
    monkeypatch.setenv("CORRTOOL_COLLECT_RECORDS", "7")
    monkeypatch.setattr(sys, "argv", ["corrtool", "train-dqn", "-p", str(lab)])
    assert run_interrupted(lab, "train-dqn", seconds=SOON) == 143
    capsys.readouterr()
    assert run_in_process("status", "-p", lab, "--json") == 0
    (run,) = json.loads(capsys.readouterr().out)["unfinished_runs"]
    variables = "CORRTOOL_PRESET=tiny CORRTOOL_TRAIN_DQN_ENV_STEPS=3000"
    assert (
        run["command"]
        == f"{variables} corrtool train-dqn --name source-dqn --project {shlex.quote(str(lab))}"
    )


def test_an_interrupted_overwrite_goes_on_and_what_it_replaces_stays_in_reach(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    short = ("train-dqn", *TINY)
    assert run_in_process(*short, "-p", lab) == 0
    before = files_of(run_of(lab))
    assert run_interrupted(lab, *LONG, "--overwrite", seconds=SOON) == 143
    assert files_of(run_of(lab).with_name(".source-dqn.replaced")) == before
    assert run_in_process("report", "-p", lab, "--quiet") == 0
    capsys.readouterr()
    assert run_in_process(*short, "-p", lab) == 2
    assert "is being replaced by an interrupted run with other settings" in capsys.readouterr().err
    kept = shutil.copytree(lab, lab.with_name("kept"))
    shutil.rmtree(run_of(kept))
    assert run_in_process(*short, "-p", kept) == 0
    assert files_of(run_of(kept)) == before
    assert (
        run_in_process(*LONG, "-p", lab) == 0
    )  # without --overwrite: that was asked for when it began
    assert not run_of(lab).with_name(".source-dqn.replaced").exists()
    assert json.loads((run_of(lab) / "run.json").read_text())["settings"]["env_steps"] == 3_000


def test_a_run_without_target_network_can_be_interrupted_and_goes_on(
    cartpole: Callable[..., Path],
) -> None:
    lab = cartpole()
    command = ("train-dqn", *TINY, "--no-target-network", "--env-steps", 3_000)
    assert run_interrupted(lab, *command, seconds=SOON) == 143
    assert run_in_process(*command, "-p", lab) == 0


def test_overwrite_replaces_an_interrupted_run_whose_checkpoint_is_damaged(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    command = ("train-dqn", *TINY, "--env-steps", 3_000)
    assert run_interrupted(lab, *command, seconds=SOON) == 143
    checkpoint = lab / "runs" / "train-dqn" / "source-dqn" / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert run_in_process(*command, "-p", lab) == 3
    assert "checkpoint.safetensors is damaged" in capsys.readouterr().err
    assert run_in_process(*command, "-p", lab, "--overwrite") == 0


def test_status_names_the_inputs_of_what_it_says_goes_on(
    cartpole_lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole_lab
    learn_corr = (
        "learn-corr",
        *TINY,
        "--gradient-steps",
        "5000",
        "--eval-games",
        "0",
        "--name",
        "corr",
        "-p",
        str(lab),
    )
    monkeypatch.setattr(sys, "argv", ["corrtool", *learn_corr])
    assert run_interrupted(lab, *learn_corr[:-2], logged=True, seconds=0) == 143
    assert run_in_process("collect", "-p", lab, *TINY, "--seed", 1, "--name", "newer") == 0
    capsys.readouterr()
    assert run_in_process("status", "-p", lab, "--json") == 0
    (run,) = json.loads(capsys.readouterr().out)["unfinished_runs"]
    command = run["command"].split()
    assert command[command.index("--target-memory") + 1] == "target-random"
    assert run_in_process(*learn_corr, "--dry-run") == 2
    capsys.readouterr()
    assert run_in_process(*command[1:], "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["begun"]
    replace = ("collect", "-p", lab, *TINY, "--seed", 2, "--name", "target-random", "--overwrite")
    assert run_in_process(*replace) == 0
    capsys.readouterr()
    assert run_in_process("status", "-p", lab, "--json") == 0
    (run,) = json.loads(capsys.readouterr().out)["unfinished_runs"]
    assert run["changed"] == ["memory target-random"] and not run["resumable"]
    assert run_in_process("status", "-p", lab) == 0
    line = next(s for s in capsys.readouterr().err.splitlines() if s.startswith("unfinished"))
    assert "it cannot go on" in line
    anew = shlex.split(line.partition("anew: ")[2])
    assert run_in_process(*command[1:], "--dry-run") == 2
    assert run_in_process(*anew[1:], "--dry-run") == 0
