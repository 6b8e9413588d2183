"""Files of agents with odd but harmless content: tables in tables, booleans, layers of no units."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.commands import one_line_error, run_in_process
from support.foreign_agents import Sb3Policy, saved, sb3_data, write_sb3
from torch import nn

from corrtool.project.artifacts import read_artifact
from corrtool.project.directory import create_project
from corrtool.q_learning.saved import RewardsLearnt, load_q_function

pytestmark = pytest.mark.usefixtures("seeded")
NAMES = {
    "layers.0.weight": "agent.online.fc1.weight",
    "layers.0.bias": "agent.online.fc1.bias",
    "layers.2.weight": "agent.online.out.weight",
    "layers.2.bias": "agent.online.out.bias",
}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of CartPole, which is the current directory."""
    table = {"id": "CartPole-v1"}
    root = create_project(tmp_path / "lab", {"source": table, "target": table}, {}).root
    monkeypatch.chdir(root)
    return root


def imported(path: Path, form: str, *flags: object) -> int:
    command = ("import", "q", path, "--from", form, "--preprocessing", "same", "--name", "them")
    return run_in_process(*command, *flags, "--quiet")


def mapped(lab: Path, value: Any) -> int:
    """Import a checkpoint by the names above."""
    (lab / "agent.pt").write_bytes(saved(value))
    (lab / "names.json").write_text(json.dumps(NAMES))
    return imported(lab / "agent.pt", "torch", "--mapping", lab / "names.json")


def tables(fc1: nn.Linear, out: nn.Linear) -> dict[str, Any]:
    """Weights three tables deep, of which one has a dot in its own name."""
    inner = {"fc1": dict(fc1.state_dict()), "out.weight": out.weight.detach()}
    online = {**inner, "out": {"bias": out.bias.detach()}}
    return {"step": 7, "agent": {"online": online, "target": {"fc1": {"weight": torch.ones(1)}}}}


def test_weights_in_tables_of_tables_are_named_with_dots(lab: Path) -> None:
    fc1, out = nn.Linear(4, 24), nn.Linear(24, 2)
    assert mapped(lab, tables(fc1, out)) == 0
    artifact = read_artifact(lab, "q", "them")
    assert artifact.manifest["network"]["widths"] == [24]
    states = torch.randn(5, 4)
    with torch.no_grad():
        expected = out(torch.relu(fc1(states)))
        ours = load_q_function(artifact, torch.device("cpu"))(states)
    torch.testing.assert_close(ours, expected)


def test_a_name_that_is_there_twice_is_refused(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = tables(nn.Linear(4, 24), nn.Linear(24, 2))
    value["agent.online.fc1.weight"] = torch.zeros(24, 4)
    assert mapped(lab, value) == 3
    assert "holds two weights of the name 'agent.online.fc1.weight'" in one_line_error(capsys)
    assert not (lab / "weights").exists()


@pytest.mark.parametrize("gamma", [True, False, "0.9", None, [0.9]], ids=str)
def test_a_gamma_that_is_no_discount_is_not_one(lab: Path, gamma: Any) -> None:
    write_sb3(lab / "agent.zip", Sb3Policy(2, (4, 8)), sb3_data([4], 2, gamma=gamma))
    assert imported(lab / "agent.zip", "sb3") == 0
    artifact = read_artifact(lab, "q", "them")
    assert "gamma" not in artifact.manifest["imported"]["says"]
    assert RewardsLearnt.from_manifest(artifact).gamma == 0.99


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_layers_of_no_units_are_one_line(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_sb3(lab / "agent.zip", Sb3Policy(2, (4, 0, 8)), sb3_data([4], 2))
    assert imported(lab / "agent.zip", "sb3") == 3
    assert "agent.zip" in one_line_error(capsys)
    assert mapped(lab, tables(nn.Linear(4, 0), nn.Linear(0, 2))) == 3
    assert "agent.pt" in one_line_error(capsys)
    assert mapped(lab, tables(nn.Linear(0, 24), nn.Linear(24, 2))) == 3
    assert "agent.pt" in one_line_error(capsys)
    assert not (lab / "weights").exists()
