"""Rewards are learnt from by their sign in Atari games, and elsewhere as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_in_process

TINY = ("--preset", "tiny", "--device", "cpu", "--quiet")


def planned(capsys: pytest.CaptureFixture[str], stage: str, lab: Path, *more: object) -> Any:
    """What the stage would do about rewards."""
    capsys.readouterr()
    assert run_in_process(stage, "-p", lab, *TINY, "--dry-run", "--json", *more) == 0
    return json.loads(capsys.readouterr().out)["settings"]["clip_rewards"]


@pytest.mark.parametrize("source, clips", [("CartPole-v1", False), ("ALE/Pong-v5", True)])
def test_it_goes_by_the_task_unless_said(
    source: str, clips: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = tmp_path / "lab"
    assert run_in_process("init", lab, "--source", source, "--quiet") == 0
    assert planned(capsys, "train-dqn", lab) is clips
    said = "--no-clip-rewards" if clips else "--clip-rewards"
    assert planned(capsys, "train-dqn", lab, said) is not clips
    (lab / "corrtool.toml").write_text(
        (lab / "corrtool.toml").read_text()
        + f"\n[train-dqn]\nclip-rewards = {str(not clips).lower()}\n"
    )
    assert planned(capsys, "train-dqn", lab) is not clips


def test_a_finetuning_goes_by_what_its_agent_learnt_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = tmp_path / "lab"
    assert run_in_process("init", lab, "--source", "CartPole-v1", "--quiet") == 0
    trained = ("train-dqn", "-p", lab, *TINY, "--clip-rewards")
    assert run_in_process(*trained) == 0
    assert planned(capsys, "finetune", lab, "--no-corr") is True
    assert planned(capsys, "finetune", lab, "--from-scratch") is True  # as fair as can be
    assert planned(capsys, "finetune", lab, "--from-scratch", "--no-clip-rewards") is False


@pytest.mark.parametrize("stage", ["train-dqn", "finetune"])
def test_help_says_what_it_goes_by(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_in_process(stage, "--help") == 0
    assert "[default: (on for Atari" in " ".join(capsys.readouterr().out.replace("│", " ").split())
