"""Each format's Q-function has the values that its origin has, to 1e-5 on 1,000 real states."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.foreign_agents import CleanrlNetwork, Sb3Policy, saved, sb3_data, write_sb3
from torch import Tensor, nn

from corrtool.exchange.q_import import import_q
from corrtool.play.environment import TaskEnvironment
from corrtool.project.artifacts import read_artifact
from corrtool.project.directory import Project, create_project
from corrtool.q_learning.saved import QDescription, RewardsLearnt, load_q_function
from corrtool.settings.common import CommonOptions
from corrtool.settings.exchange import ImportQSettings
from corrtool.state_scaling import raw_to_q
from corrtool.states import StateSpec

pytestmark = pytest.mark.usefixtures("seeded")
CPU = torch.device("cpu")
STATES = 1_000


def visited_states(project: Project) -> Tensor:
    """States of random play of the source, raw, (1000, …)."""
    environment, random, states = (
        TaskEnvironment(project.task("source")),
        np.random.default_rng(0),
        list[Any](),
    )
    while len(states) < STATES:
        state, _ = environment.reset(seed=len(states))
        over = False
        while not over and len(states) < STATES:
            states.append(state)
            action = int(random.integers(environment.action_space.n))  # type: ignore[attr-defined]
            state, _, terminated, truncated, _ = environment.step(action)
            over = terminated or truncated
    return torch.from_numpy(np.stack(states))


def differs_by(project: Project, spec: StateSpec, name: str, origin: nn.Module) -> float:
    """The largest difference of a Q-value between an import and its origin."""
    raw = visited_states(project)
    assert len(raw) == STATES and len({state.tobytes() for state in raw.numpy()}) > 0.9 * STATES
    q_function = load_q_function(read_artifact(project.root, "q", name), CPU)
    with torch.no_grad():
        ours, theirs = q_function(raw_to_q(spec, raw)), origin(raw.float())
    assert ours.shape == theirs.shape and theirs.std() > 0
    return float((ours - theirs).abs().max())


def taken_in(project: Project, path: Path, **settings: Any) -> Any:
    """The import of a file, under the name ``them``."""
    told = ImportQSettings(**{"preprocessing": "same", **settings})
    return import_q(project, path, told, CommonOptions(name="them"))


@pytest.fixture
def cartpole_project(tmp_path: Path) -> Project:
    return create_project(tmp_path / "lab", dict.fromkeys(("source", "target"), CARTPOLE), {})


CARTPOLE = {"id": "CartPole-v1"}
VECTORS = StateSpec("vector", (4,))
PICTURES = StateSpec("image", (1, 84, 84), 4)


def sb3_of_pictures(path: Path) -> nn.Module:
    policy = Sb3Policy(6)
    write_sb3(path, policy, sb3_data([4, 84, 84], 6))
    return policy.q_net


def cleanrl_of_pictures(path: Path) -> nn.Module:
    network = CleanrlNetwork(6)
    path.write_bytes(saved(network.state_dict()))
    return network


@pytest.mark.parametrize("write", [sb3_of_pictures, cleanrl_of_pictures], ids=["sb3", "cleanrl"])
def test_pictures(tmp_path: Path, write: Callable[[Path], nn.Module]) -> None:
    pong = {"id": "ALE/Pong-v5"}
    project = create_project(tmp_path / "lab", dict.fromkeys(("source", "target"), pong), {})
    origin = write(tmp_path / "agent")
    result = taken_in(project, tmp_path / "agent", format=write.__name__.partition("_")[0])
    assert (result["architecture"], result["parameters"]) == ("nature", 1_687_206)
    assert result["settings"]["clip_rewards"] is True  # as for Atari games in both libraries
    assert differs_by(project, PICTURES, "them", origin) < 1e-5


def test_vectors_of_sb3(tmp_path: Path, cartpole_project: Project) -> None:
    policy = Sb3Policy(2, (4, 32, 16))
    write_sb3(tmp_path / "agent.zip", policy, sb3_data([4], 2, seed=7))
    result = taken_in(cartpole_project, tmp_path / "agent.zip")
    assert (result["architecture"], result["seed"]) == ("mlp", 7)
    artifact = read_artifact(cartpole_project.root, "q", "them")
    assert QDescription.from_manifest(artifact).widths == (32, 16)
    assert RewardsLearnt.from_manifest(artifact) == RewardsLearnt(0.98, clip_rewards=False)
    assert artifact.manifest["imported"]["says"] == {
        "gamma": 0.98,
        "seed": 7,
        "env_steps": 50_000,
        "n_step": 1,
        "observation_shape": [4],
        "observation_dtype": "float32",
    }
    assert differs_by(cartpole_project, VECTORS, "them", policy.q_net) < 1e-5


@pytest.mark.parametrize("with_args", [False, True])
def test_vectors_of_cleanrl(tmp_path: Path, cartpole_project: Project, with_args: bool) -> None:
    network = CleanrlNetwork(2, 4)
    value: Any = network.state_dict()
    if with_args:
        value = {"model_weights": value, "args": {"gamma": 0.9, "seed": 3, "env_id": "CartPole-v1"}}
    (tmp_path / "dqn.cleanrl_model").write_bytes(saved(value))
    result = taken_in(cartpole_project, tmp_path / "dqn.cleanrl_model", format="cleanrl")
    assert result["seed"] == (3 if with_args else 0)
    assert result["settings"]["gamma"] == (0.9 if with_args else 0.99)
    network_table = read_artifact(cartpole_project.root, "q", "them").manifest["network"]
    assert network_table["widths"] == [120, 84] and "width" not in network_table
    assert differs_by(cartpole_project, VECTORS, "them", network) < 1e-5


@pytest.mark.parametrize("hidden", [(), (8,), (8, 9, 10)], ids=str)
def test_any_number_of_hidden_layers(
    tmp_path: Path, cartpole_project: Project, hidden: tuple[int, ...]
) -> None:
    policy = Sb3Policy(2, (4, *hidden))
    write_sb3(tmp_path / "agent.zip", policy, sb3_data([4], 2))
    taken_in(cartpole_project, tmp_path / "agent.zip")
    assert differs_by(cartpole_project, VECTORS, "them", policy.q_net) < 1e-5


class OwnNetwork(nn.Module):
    """Weights under names of somebody's own."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.out = nn.Linear(4, 24), nn.Linear(24, 2)

    def forward(self, observations: Tensor) -> Tensor:
        q_values: Tensor = self.out(torch.relu(self.fc1(observations)))
        return q_values


JSON = {"layers.0.weight": "fc1.weight", "layers.0.bias": "fc1.bias"} | {
    "layers.2.weight": "out.weight",
    "layers.2.bias": "out.bias",
}
TOML = """
[layers.0]
weight = "online.fc1.weight"
bias = "online.fc1.bias"
[layers.2]
weight = "online.out.weight"
bias = "online.out.bias"
"""


@pytest.mark.parametrize("kind", ["safetensors", "checkpoint"])
def test_a_mapping(tmp_path: Path, cartpole_project: Project, kind: str) -> None:
    network = OwnNetwork()
    path, mapping = tmp_path / "agent", tmp_path / "names.json"
    if kind == "safetensors":
        save_file({**network.state_dict(), "steps": torch.zeros(1)}, path)
        mapping.write_text(json.dumps(JSON))
    else:
        path.write_bytes(saved({"online": network.state_dict(), "steps": 9, "more": torch.ones(1)}))
        mapping = mapping.with_suffix(".toml")
        mapping.write_text(TOML)
    told = ImportQSettings("torch", preprocessing="no no-ops", gamma=0.5, clip_rewards=True)
    result: Any = import_q(cartpole_project, path, told, CommonOptions(name="them"), mapping)
    assert result["settings"] == {
        "format": "torch",
        "task": "source",
        "preprocessing": "no no-ops",
        "gamma": 0.5,
        "clip_rewards": True,
    }
    assumed, other, unused = result["notes"][:3]
    assert "ReLU is assumed" in assumed
    assert other.startswith("trained with other preprocessing") and other.endswith(": no no-ops")
    assert unused == f"not used: {'steps' if kind == 'safetensors' else 'more'}"
    assert result["imported"]["mapping"]["layers.0.bias"].endswith("fc1.bias")
    assert differs_by(cartpole_project, VECTORS, "them", network) < 1e-5
