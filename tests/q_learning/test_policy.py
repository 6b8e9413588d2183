"""Policies from chains of layers, and which of an agent's outputs is what, computed by hand."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from corrtool.errors import ArtifactError
from corrtool.project.artifacts import Artifact
from corrtool.project.weights import save_weights
from corrtool.q_learning.chain import MAX_LAYERS, MAX_SIZE, Chain, Layer
from corrtool.q_learning.policy import (
    PolicyNetwork,
    compared_outputs,
    settled_q_loss,
    values_of,
)
from corrtool.q_learning.saved import QDescription, load_q_function
from corrtool.states import StateSpec

SPEC = StateSpec("vector", (2,))
TABLE: dict[str, Any] = {
    "states": SPEC.to_json(),
    "actions": 3,
    "architecture": "chain",
    "values": "logits",
    "chain": {
        "features": [{"layer": "affine", "shape": [2]}],
        "logits": [
            {"layer": "linear", "in": 2, "out": 1, "bias": True},
            {"layer": "tanh"},
            {"layer": "linear", "in": 1, "out": 3, "bias": False},
        ],
        "critic": [{"layer": "linear", "in": 2, "out": 1, "bias": False}],
    },
}


def filled(network: nn.Module, **weights: Any) -> nn.Module:
    """The network with these weights, by name with ``__`` for dots."""
    named = {name.replace("__", "."): torch.tensor(w) for name, w in weights.items()}
    network.load_state_dict(named)
    return network


def policy() -> PolicyNetwork:
    """Of (x, y): scaled to (2x, y + 1); logits tanh(2x − (y + 1)) · (1, 0, −1); V = 2x + y + 1."""
    network = filled(
        read(TABLE).build(),
        features__0__weight=[2.0, 1.0],
        features__0__bias=[0.0, 1.0],
        logits__0__weight=[[1.0, -1.0]],
        logits__0__bias=[0.0],
        logits__2__weight=[[1.0], [0.0], [-1.0]],
        critic__0__weight=[[1.0, 1.0]],
    )
    assert isinstance(network, PolicyNetwork)
    return network


def read(network: dict[str, Any]) -> QDescription:
    return QDescription.from_manifest(Artifact("q", "a", Path("a"), {"network": network}))


def test_a_description_is_read_and_written() -> None:
    description = read(TABLE)
    assert description.to_json() == TABLE
    assert read(description.to_json()) == description
    assert description.is_policy and description.has_critic
    without = copy.deepcopy(TABLE)
    del without["chain"]["critic"]
    assert read(without).to_json() == without and not read(without).has_critic
    assert not QDescription(SPEC, 3, "mlp").is_policy


def test_logits_and_values_by_hand() -> None:
    states = torch.tensor([[1.0, 0.0], [0.5, 0.0]])
    t = math.tanh(1.0)
    assert torch.allclose(policy()(states), torch.tensor([[t, 0, -t], [0.0, 0, 0]]))
    values = values_of(policy())
    assert values is not None
    assert torch.equal(values(states), torch.tensor([[3.0] * 3, [2.0] * 3]))


def test_a_convolution_by_hand() -> None:
    chain = Chain(
        (
            Layer.of("conv2d", inputs=1, outputs=1, kernel=2, stride=2, padding=1, bias=True),
            Layer.of("leaky_relu", slope=0.5),
            Layer.of("flatten"),
        ),
        (Layer.of("linear", inputs=4, outputs=2, bias=False),),
    )
    chain.check((1, 2, 2), 2)
    network = filled(
        PolicyNetwork(chain, 2),
        features__0__weight=[[[[1.0, 1.0], [1.0, 1.0]]]],
        features__0__bias=[-2.0],
        logits__0__weight=[[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]],
    )
    # Each corner sees one pixel: (1, 2, 3, 4) − 2 = (−1, 0, 1, 2), and half of what is negative.
    assert network(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).tolist() == [[2.5, -0.5]]


class Fixed(nn.Module):
    """A Q-function of three actions."""

    def forward(self, states: Tensor) -> Tensor:
        return torch.stack([states[:, 0], states[:, 1], 2 * states[:, 1]], dim=1)


def test_what_the_q_loss_compares() -> None:
    states, t = torch.tensor([[1.0, 0.0], [0.5, 3.0]]), math.tanh(1.0)
    shifted = policy()
    shifted.logits.append(AddOne())  # which changes nothing of the policy
    for agent in (policy(), shifted):
        centred = compared_outputs(agent, settled_q_loss(agent, "auto"))(states)
        s = math.tanh(-3.0)
        assert torch.allclose(centred, torch.tensor([[t, 0, -t], [s, 0, -s]]), atol=1e-6)
    assert compared_outputs(policy(), "value")(states).tolist() == [[3.0], [5.0]]
    q_function = Fixed()
    assert compared_outputs(q_function, settled_q_loss(q_function, "auto")) is q_function
    assert compared_outputs(q_function, "value")(states).tolist() == [[1.0], [6.0]]
    assert values_of(q_function) is q_function


class AddOne(nn.Module):
    """A constant more for each action."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits + 1.0


def test_what_there_is_not() -> None:
    without = PolicyNetwork(Chain((), (Layer.of("linear", inputs=2, outputs=3, bias=True),)), 3)
    assert values_of(without) is None
    for agent, q_loss in ((without, "value"), (without, "q"), (Fixed(), "logits")):
        with pytest.raises(ValueError, match="no"):
            compared_outputs(agent, q_loss)  # type: ignore[arg-type]


CHANGES: dict[str, Any] = {
    "no layers": {"features": None},
    "a text": {"features": "tanh"},
    "another part": {"evil": []},
    "no table": {"logits": [3]},
    "an unknown layer": {"logits": [{"layer": "pickle"}]},
    "a layer of another type": {"logits": [{"layer": ["tanh"]}]},
    "too many numbers": {"logits": [{"layer": "tanh", "slope": 1.0}]},
    "too few": {"logits": [{"layer": "linear", "in": 2, "out": 3}]},
    "a number that is none": {"logits": [{"layer": "linear", "in": "2", "out": 3, "bias": True}]},
    "a truth for a number": {"logits": [{"layer": "linear", "in": 2, "out": True, "bias": True}]},
    "nothing": {"logits": [{"layer": "linear", "in": 2, "out": 0, "bias": True}]},
    "more than there is": {"logits": [{"layer": "linear", "in": 2, "out": 2**40, "bias": True}]},
    "infinity": {"features": [{"layer": "elu", "alpha": math.inf}]},
    "too many layers": {"features": [{"layer": "relu"}] * (MAX_LAYERS + 1)},
    "too many axes": {"features": [{"layer": "affine", "shape": [1] * 9}]},
    "an axis of another type": {"features": [{"layer": "affine", "shape": ["a"]}]},
    "another shape": {"features": [{"layer": "affine", "shape": [3]}]},
    "a gap": {"logits": [{"layer": "linear", "in": 5, "out": 3, "bias": True}]},
    "another number of actions": {"logits": [{"layer": "linear", "in": 2, "out": 4, "bias": True}]},
    "a critic of two": {"critic": [{"layer": "linear", "in": 2, "out": 2, "bias": False}]},
    "pictures": {
        "features": [
            {"layer": "conv2d", "in": 2, "out": 2, "kernel": 1, "stride": 1, "padding": 0}
            | {"bias": True}
        ]
    },
    "as much padding as the kernel": {
        "features": [
            {"layer": "conv2d", "in": 2, "out": 2, "kernel": 3, "stride": 1, "padding": 3}
            | {"bias": True}
        ]
    },
}


@pytest.mark.parametrize("name", CHANGES)
def test_of_a_liar(tmp_path: Path, name: str) -> None:
    written = copy.deepcopy(TABLE)
    written["chain"] |= CHANGES[name]
    artifact = save_weights(tmp_path, "q", "a", policy().state_dict(), {"network": written})
    with pytest.raises(ArtifactError):
        load_q_function(artifact, torch.device("cpu"))


@pytest.mark.parametrize(
    "changed", [{"values": "q"}, {"architecture": "mlp"}, {"chain": None}, {"values": None}]
)
def test_only_a_chain_has_logits(changed: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match="does not describe a Q-function"):
        read(TABLE | changed)
    with pytest.raises(ArtifactError):
        read(QDescription(SPEC, 3, "mlp").to_json() | {"values": "logits"})


def test_pictures_that_are_too_small() -> None:
    layer = Layer.of("conv2d", inputs=1, outputs=1, kernel=8, stride=4, padding=0, bias=True)
    with pytest.raises(ValueError, match="too small"):
        layer.output_shape((1, 7, 9))


def test_how_large_what_is_between_layers_may_be() -> None:
    def check(kernel: int, padding: int) -> None:
        layer = Layer.of(
            "conv2d", inputs=1, outputs=1, kernel=kernel, stride=1, padding=padding, bias=True
        )
        Chain((layer, Layer.of("flatten")), ()).check((1, 1, 1), MAX_SIZE)

    check(4096, 4095)  # 4096 × 4096 numbers, as many as there may be
    with pytest.raises(ValueError, match="layer conv2d makes 16,785,409 numbers of a state"):
        check(4097, 4096)
    with pytest.raises(ValueError, match="no less than its kernel"):
        check(2, 2)
