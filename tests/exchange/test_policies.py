"""Policies of other libraries: the logits and V(s) of their origin, to 1e-5."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.foreign_agents import nature_layers, saved, write_sb3
from support.foreign_policies import (
    CleanrlAgent,
    Sb3ActorCritic,
    export_onnx,
    ppo_data,
    tanh_mlp,
)
from torch import Tensor, nn

from corrtool.errors import ArtifactError, UsageError
from corrtool.exchange.foreign import ForeignFile, FoundQ, checked_weights, read_foreign
from corrtool.exchange.onnx_policy import read_onnx_policy
from corrtool.exchange.policy_import import _READERS
from corrtool.q_learning.policy import CriticValues, PolicyNetwork
from corrtool.q_learning.saved import QDescription
from corrtool.state_scaling import raw_to_q
from corrtool.states import StateSpec

pytestmark = pytest.mark.usefixtures("seeded")
NUMBERS, PICTURES = StateSpec("vector", (4,)), StateSpec("image", (1, 84, 84), 4)
ACTIONS = 3
needs_onnx = pytest.mark.skipif(
    importlib.util.find_spec("onnxscript") is None, reason="of the extra 'onnx'"
)


def taken_in(path: Path, form: str, spec: StateSpec, actions: int = ACTIONS) -> PolicyNetwork:
    """The policy of a file, as an artifact would have it."""
    file = read_foreign(path)
    made: tuple[FoundQ, QDescription] = _READERS[form](file, spec, actions)
    network = made[1].build()
    network.load_state_dict(checked_weights(file, made[0].weights))
    assert isinstance(network, PolicyNetwork)
    return network


def states(spec: StateSpec, count: int = 50) -> Tensor:
    if spec.kind == "image":
        return torch.randint(0, 256, (count // 5, *spec.state_shape), dtype=torch.uint8)
    return 3 * torch.randn(count, *spec.state_shape)


@torch.no_grad()
def check(ours: PolicyNetwork, theirs: Any, spec: StateSpec) -> None:
    """The same logits, and the same values where there are some."""
    raw = states(spec)
    seen = raw_to_q(spec, raw)
    assert torch.allclose(ours(seen), theirs(raw.float()), atol=1e-5)
    if hasattr(theirs, "values"):
        assert ours.critic is not None
        values = CriticValues(ours.features, ours.critic)(seen)
        assert torch.allclose(values, theirs.values(raw.float()), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (nn.Tanh, None),
        (nn.ReLU, "ReLU"),
        (nn.ELU, "ELU"),
        (nn.LeakyReLU, "LeakyReLU"),
        (nn.Sigmoid, "Sigmoid"),
    ],
)
def test_sb3_of_numbers(tmp_path: Path, kind: Callable[[], nn.Module], name: str | None) -> None:
    theirs = Sb3ActorCritic(ACTIONS, 4, (16, 8), kind)
    text = f"<class 'torch.nn.modules.activation.{name}'>"
    data = ppo_data([4], ACTIONS, policy_kwargs={"activation_fn": text} if name else {})
    path = write_sb3(tmp_path / "a.zip", theirs, data)
    check(taken_in(path, "sb3", NUMBERS), theirs, NUMBERS)


def test_sb3_without_hidden_layers(tmp_path: Path) -> None:
    theirs = Sb3ActorCritic(ACTIONS, 4)
    path = write_sb3(tmp_path / "a.zip", theirs, ppo_data([2, 2], ACTIONS))
    check(taken_in(path, "sb3", NUMBERS), theirs, NUMBERS)


@pytest.mark.parametrize(("shared", "widths"), [(True, ()), (True, (8,)), (False, (8,))])
def test_sb3_of_pictures(tmp_path: Path, shared: bool, widths: tuple[int, ...]) -> None:
    """The features of actor and critic are stored once, or they are two."""
    theirs = Sb3ActorCritic(ACTIONS, None, widths, shared=shared)
    path = write_sb3(tmp_path / "a.zip", theirs, ppo_data([4, 84, 84], ACTIONS))
    ours = taken_in(path, "sb3", PICTURES)
    assert bool(len(ours.features)) is shared
    check(ours, theirs, PICTURES)


def test_sb3_of_flat_pictures(tmp_path: Path) -> None:
    small = StateSpec("image", (1, 5, 5), 2)
    theirs = Sb3ActorCritic(ACTIONS, 50, (8,))
    path = write_sb3(tmp_path / "a.zip", theirs, ppo_data([2, 5, 5], ACTIONS))
    ours, raw = taken_in(path, "sb3", small), states(small)
    with torch.no_grad():
        assert torch.allclose(ours(raw_to_q(small, raw)), theirs(raw.flatten(1) / 255.0), atol=1e-5)
    data = ppo_data([2, 5, 5], ACTIONS)
    data["observation_space"]["dtype"] = "float32"
    path = write_sb3(tmp_path / "a.zip", theirs, data)
    with pytest.raises(ArtifactError, match="not as bytes"):
        taken_in(path, "sb3", small)


@pytest.mark.parametrize(("size", "spec"), [(4, NUMBERS), (None, PICTURES)], ids=str)
def test_cleanrl(tmp_path: Path, size: int | None, spec: StateSpec) -> None:
    theirs, path = CleanrlAgent(ACTIONS, size), tmp_path / "a.cleanrl_model"
    path.write_bytes(saved(theirs.state_dict()))
    check(taken_in(path, "cleanrl", spec), theirs, spec)


class Divided(nn.Module):
    """A network of pictures from 0 to 1, that takes bytes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, observations: Tensor) -> Tensor:
        logits: Tensor = self.network(observations.float() / 255.0)
        return logits


class Normalised(nn.Module):
    """A network of numbers less their mean, by their deviation, with a softmax at its end."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor([1.0, -1.0, 0.5, 2.0]))
        self.register_buffer("deviation", torch.tensor([0.5, 2.0, 3.0, 1.0]))

    def forward(self, observations: Tensor) -> Tensor:
        return self.logits(observations).softmax(-1)

    def logits(self, observations: Tensor) -> Tensor:
        logits: Tensor = self.network((observations - self.mean) / self.deviation)
        return logits


@needs_onnx
@pytest.mark.filterwarnings("ignore")  # of torch's exporters
@pytest.mark.parametrize("dynamo", [True, False])
class TestOnnx:
    def test_numbers(self, tmp_path: Path, dynamo: bool) -> None:
        theirs, path = Normalised(tanh_mlp(4, (16, 8), ACTIONS)), tmp_path / "a.onnx"
        export_onnx(theirs, torch.zeros(2, 4), path, dynamo=dynamo)
        check(taken_in(path, "onnx", NUMBERS), theirs.logits, NUMBERS)

    def test_pictures(self, tmp_path: Path, dynamo: bool) -> None:
        """Bytes divided by 255, as the states of a Q-function are anyway."""
        layers = [*nature_layers(), nn.Linear(3136, 16), nn.ELU(0.5), nn.LeakyReLU(0.2)]
        theirs, path = (
            Divided(nn.Sequential(*layers, nn.Linear(16, ACTIONS, bias=False))),
            tmp_path / "a.onnx",
        )
        example = torch.zeros(2, 4, 84, 84, dtype=torch.uint8)
        export_onnx(theirs, example, path, dynamo=dynamo)
        ours = taken_in(path, "onnx", PICTURES)
        assert isinstance(ours.logits[0], nn.Conv2d)
        check(ours, theirs, PICTURES)

    def test_pictures_from_minus_one_to_one(self, tmp_path: Path, dynamo: bool) -> None:
        spec = StateSpec("image", (1, 6, 6))
        theirs = nn.Sequential(
            Shifted(), nn.Conv2d(1, 2, 3, padding=1), nn.Sigmoid(), nn.Flatten(), nn.Linear(72, 3)
        )
        path = tmp_path / "a.onnx"
        export_onnx(theirs, torch.zeros(2, 1, 6, 6), path, dynamo=dynamo)
        check(taken_in(path, "onnx", spec), theirs, spec)


class Shifted(nn.Module):
    """Bytes to −1 … 1."""

    def forward(self, observations: Tensor) -> Tensor:
        return 2.0 * (observations / 255.0) - 1.0


def test_without_the_package_it_says_which_extra_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"needs onnx; pip install 'corrtool\[onnx\]'"):
        read_onnx_policy(ForeignFile("a", b""), NUMBERS, 2)
