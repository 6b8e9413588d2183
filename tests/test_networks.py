"""What holds of all networks: their first weights, and that there is one of each for vectors."""

from collections.abc import Callable

import pytest
import torch
from support.networks import ACTIONS, PONG, VECTOR, pictures
from torch import nn

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.discriminators import build_discriminator
from corrtool.environment_model.network import build_environment_model
from corrtool.q_learning.network import build_q_function
from corrtool.states import StateSpec

pytestmark = pytest.mark.usefixtures("seeded")


class TestFirstWeights:
    """Section 4.3: N(0, 0.02), biases zero."""

    @pytest.mark.parametrize(
        "build",
        [
            lambda: GeneratorDescription("resnet", filters=32, blocks=2).build(PONG, PONG),
            lambda: GeneratorDescription("resnet-rotation", filters=32, blocks=2).build(PONG, PONG),
            lambda: build_environment_model(PONG, ACTIONS, filters=32, blocks=2),
            lambda: build_discriminator(PONG, 32),
            lambda: build_q_function(PONG, ACTIONS, "nature", init="normal"),
        ],
        ids=["resnet", "resnet-rotation", "model", "discriminator", "q"],
    )
    def test_are_normal_with_deviation_0_02(self, build: Callable[[], nn.Module]) -> None:
        layers = [
            m
            for m in build().modules()
            if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
        ]
        weights = torch.cat([layer.weight.detach().flatten() for layer in layers])
        assert weights.mean().item() == pytest.approx(0.0, abs=5e-4)
        assert weights.std().item() == pytest.approx(0.02, rel=0.01)
        for layer in layers:
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.15)
            assert layer.bias is not None and not layer.bias.any()


class TestVectors:
    def test_vector_networks(self) -> None:
        states, other = pictures(VECTOR), StateSpec("vector", (4,), 1)
        assert GeneratorDescription("linear").build(VECTOR, other)(states).shape == (2, 4)
        perceptron = GeneratorDescription("mlp", filters=8, blocks=2).build(VECTOR, other)
        assert perceptron(states).shape == (2, 4)
        assert build_discriminator(VECTOR, 8)(states).shape == (2, 1)
        model = build_environment_model(VECTOR, 3, filters=8, blocks=2)
        assert model(states, torch.tensor([0, 2])).shape == (2, 6)
        assert build_q_function(VECTOR, 3, "mlp", width=8)(states).shape == (2, 3)
        # Algorithm 1 starts at zero.
        assert build_q_function(VECTOR, 3, "linear")(states).tolist() == [[0.0] * 3] * 2
