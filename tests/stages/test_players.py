"""A project with several agents: whose is a correspondence, and who plays through it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import run_in_process

TINY = ("--preset", "tiny", "--device", "cpu", "--quiet")
GAMES = ("--task", "target", "--games", 2, "--corr", "c", *TINY)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A correspondence of one agent, in whose place another one has been trained since."""
    lab = tmp_path_factory.mktemp("players") / "lab"
    at = ("-p", lab)
    assert run_in_process("init", lab, "--source", "CartPole-v1", "--quiet") == 0
    assert run_in_process("train-dqn", *at, "--name", "agent", *TINY) == 0
    assert run_in_process("collect", *at, "--task", "target", *TINY) == 0
    assert run_in_process("train-model", *at, *TINY) == 0
    learnt = ("--generator", "linear", "--gradient-steps", 2, "--name", "c")
    assert run_in_process("learn-corr", *at, *learnt, *TINY) == 0
    return lab


def test_each_agent_has_a_correspondence_of_its_own(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process("train-dqn", "-p", lab, "--name", "other", "--seed", 3, *TINY) == 0
    learn = ("learn-corr", "-p", lab, "--generator", "linear", "--gradient-steps", 2, *TINY)
    names = []
    for q in ("agent", "other", "agent", "other"):
        capsys.readouterr()
        assert run_in_process(*learn, "--q", q, "--json") == 0
        names.append(json.loads(capsys.readouterr().out)["corr"])
    assert names[1] == f"{names[0]}-other" and names[2:] == names[:2]


def test_its_own_plays_until_another_has_its_name(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process("evaluate", "-p", lab, *GAMES) == 0
    weights = lab / "weights" / "q" / "agent.safetensors"
    own = weights.read_bytes()
    renamed = weights.with_name("kept.safetensors")
    renamed.write_bytes(own)
    again = ("--name", "agent", "--seed", 7, "--overwrite", *TINY)
    assert run_in_process("train-dqn", "-p", lab, *again) == 0
    capsys.readouterr()
    assert run_in_process("evaluate", "-p", lab, *GAMES, "--json") == 0  # by what it is, not named
    assert '"kept"' in capsys.readouterr().out

    renamed.unlink()
    assert run_in_process("evaluate", "-p", lab, *GAMES) == 3
    told = capsys.readouterr().err
    assert "c was learnt with Q-function agent, and this project's is another; name" in told
    output = ("--output", lab / "agent.pt2")
    assert run_in_process("export", "policy", "c", "--to", "torch", *output, "-p", lab) == 3
    assert "this project's is another" in capsys.readouterr().err
    assert run_in_process("evaluate", "-p", lab, *GAMES, "--q", "agent") == 0

    weights.unlink()
    capsys.readouterr()
    assert run_in_process("evaluate", "-p", lab, *GAMES) == 3
    assert "agent, which is not in this project" in capsys.readouterr().err
