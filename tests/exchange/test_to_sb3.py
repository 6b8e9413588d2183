"""Q-functions as weights of Stable-Baselines3."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.networks import PONG, VECTOR

from corrtool.errors import UsageError
from corrtool.exchange.fitting import description_of
from corrtool.exchange.foreign import read_foreign
from corrtool.exchange.played_values import PlayedValues, compare
from corrtool.exchange.sb3 import read_sb3
from corrtool.exchange.to_sb3 import sb3_runner, to_sb3
from corrtool.q_learning.saved import QDescription
from corrtool.states import StateSpec

NATURE = QDescription(PONG, 6, "nature")
MLP = QDescription(VECTOR, 3, "mlp", width=8)
DEEP = QDescription(VECTOR, 3, "mlp", widths=(5, 7, 6))  # as an agent from elsewhere may have
LINEAR = QDescription(VECTOR, 3, "linear")


def written(description: QDescription) -> tuple[torch.nn.Module, bytes]:
    torch.manual_seed(0)
    q_function = description.build()
    if description.architecture == "linear":
        torch.nn.init.normal_(next(q_function.parameters()))
    return q_function, to_sb3(q_function, description, 0.95, {"q": "mine"})


def member(content: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(name)


def weights_of(content: bytes) -> dict[str, torch.Tensor]:
    read: dict[str, torch.Tensor] = torch.load(
        io.BytesIO(member(content, "policy.pth")), weights_only=True
    )
    return read


def test_the_weights_of_nature_are_where_sb3_has_them() -> None:
    q_function, content = written(NATURE)
    weights = weights_of(content)
    raw = torch.randint(0, 256, (2, *PONG.state_shape), dtype=torch.uint8)
    for net in ("q_net", "q_net_target"):
        x = raw / 255.0  # as SB3's preprocess_obs
        for layer, stride in ((0, 4), (2, 2), (4, 1)):
            at = f"{net}.features_extractor.cnn.{layer}"
            x = F.relu(F.conv2d(x, weights[f"{at}.weight"], weights[f"{at}.bias"], stride))
        for at in (f"{net}.features_extractor.linear.0", f"{net}.q_net.0"):
            x = F.linear(x.flatten(1), weights[f"{at}.weight"], weights[f"{at}.bias"])
            x = F.relu(x) if "linear" in at else x
        torch.testing.assert_close(x, q_function(raw / 255.0))


def test_a_linear_q_function_gets_a_bias_of_zeros() -> None:
    q_function, content = written(LINEAR)
    weights = weights_of(content)
    assert set(weights) == {
        f"{net}.q_net.0.{part}" for net in ("q_net", "q_net_target") for part in ("weight", "bias")
    }
    assert weights["q_net.q_net.0.bias"].tolist() == [0.0] * 3
    assert torch.equal(weights["q_net.q_net.0.weight"], next(q_function.parameters()))


def test_its_description_is_plain_json() -> None:
    data = json.loads(member(written(MLP)[1], "data"))
    assert data == {
        "policy_class": {"__module__": "stable_baselines3.dqn.policies", "name": "MlpPolicy"},
        "policy_kwargs": {"net_arch": [8, 8]},
        "observation_space": {"dtype": "float32", "_shape": [6]},
        "action_space": {"n": "3", "start": "0"},
        "gamma": 0.95,
        "corrtool": {"q": "mine"},
    }


def test_nothing_in_it_can_run_code() -> None:
    _, content = written(MLP)
    for name in ("policy.pth", "policy.optimizer.pth", "pytorch_variables.pth"):
        torch.load(io.BytesIO(member(content, name)), weights_only=True)


def test_other_networks_are_refused() -> None:
    with pytest.raises(UsageError, match="no Q-function like 'small', only nature, mlp, linear"):
        written(QDescription(PONG, 6, "small"))


class Shown(gymnasium.Env[Any, Any]):
    """States of some form, for Stable-Baselines3, which asks for an environment."""

    def __init__(self, spec: StateSpec, actions: int) -> None:
        low, high, kind = (0, 255, np.uint8) if spec.kind == "image" else (-9, 9, np.float32)
        self.observation_space = gymnasium.spaces.Box(low, high, spec.state_shape, kind)
        self.action_space = gymnasium.spaces.Discrete(actions)


@pytest.mark.parametrize("description", [NATURE, MLP, LINEAR], ids=lambda d: str(d.architecture))
def test_stable_baselines3_takes_it(description: QDescription, tmp_path: Path) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    q_function, content = written(description)
    made = sb3_runner(content, description)
    assert made is not None
    raw = torch.rand(8, *description.states.state_shape)
    states = raw if description.states.kind == "vector" else (raw * 255).byte()
    network = PlayedValues(q_function, description.states)
    assert compare(made[1], network, states).relative < 1e-5

    (tmp_path / "agent.zip").write_bytes(content)
    data = json.loads(member(content, "data"))
    model = sb3.DQN(
        data["policy_class"]["name"],
        Shown(description.states, description.actions),
        policy_kwargs=data["policy_kwargs"],
        buffer_size=10,
    )
    model.set_parameters(tmp_path / "agent.zip")
    assert compare(model.q_net, network, states).relative < 1e-5
    actions, _ = model.predict(states.numpy(), deterministic=True)
    assert actions.tolist() == network(states).argmax(1).tolist()


@pytest.mark.parametrize("description", [NATURE, MLP, DEEP])
def test_what_is_written_can_be_imported(description: QDescription, tmp_path: Path) -> None:
    q_function, content = written(description)
    path = tmp_path / "agent.zip"
    path.write_bytes(content)
    file = read_foreign(path)
    found = read_sb3(file)
    spec = description.states
    assert description_of(file, found.weights, spec, description.actions).hidden_widths == (
        description.hidden_widths
    )
    weights = q_function.state_dict()
    assert found.weights.keys() == weights.keys() and found.says["gamma"] == 0.95
    assert all(torch.equal(found.weights[name], weights[name]) for name in weights)
