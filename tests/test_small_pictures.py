"""Networks for small pictures, such as the 10×10 of MinAtar: they keep every pixel."""

from __future__ import annotations

import pytest
import torch

from corrtool.correspondence.description import GENERATORS, GeneratorDescription
from corrtool.correspondence.discriminators import build_discriminator
from corrtool.environment_model.network import build_environment_model
from corrtool.layers import FullResolutionResnet
from corrtool.q_learning.network import build_q_function, resolve_architecture
from corrtool.states import StateSpec

ACTIONS = 3
MINATAR = StateSpec("image", (4, 10, 10))
SMALLEST = StateSpec("image", (2, 5, 5), 2)
OBLONG = StateSpec("image", (3, 31, 84))


def states(spec: StateSpec, count: int = 2) -> torch.Tensor:
    return torch.rand(count, *spec.state_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("spec", [MINATAR, SMALLEST, OBLONG], ids=str)
def test_there_is_a_network_of_every_kind(spec: StateSpec) -> None:
    assert spec.is_grid
    assert spec.settings_kind == "grid"
    x = states(spec)
    assert build_q_function(spec, ACTIONS)(x).shape == (2, ACTIONS)
    assert build_discriminator(spec, 8)(x).shape == (2, 1, *spec.frame_shape[1:])
    model = build_environment_model(spec, ACTIONS, filters=2, blocks=1, prediction="residual")
    assert model(x, torch.tensor([0, 2])).shape == x.shape
    for kind in GENERATORS["image"]:
        translated = GeneratorDescription(kind, filters=2, blocks=1, framewise=True).build(
            spec, spec
        )(x)
        assert translated.shape == x.shape
        assert translated.abs().max() <= 1 + 1e-6


def test_from_32_pixels_on_networks_are_those_of_the_paper() -> None:
    large = StateSpec("image", (1, 32, 40), 4)
    assert (large.is_grid, large.settings_kind) == (False, "image")
    assert build_discriminator(large, 8)(states(large)).shape[-1] < 10
    assert not any(
        isinstance(m, FullResolutionResnet)
        for m in GeneratorDescription("resnet").build(large, large).modules()
    )


def test_the_q_function_is_the_largest_that_fits() -> None:
    sides = {
        side: resolve_architecture(StateSpec("image", (1, side, 84)), "auto")
        for side in (5, 15, 16, 35, 36, 84)
    }
    assert sides == {5: "grid", 15: "grid", 16: "medium", 35: "medium", 36: "small", 84: "small"}


def test_f_knows_the_action_and_keeps_what_is_no_news() -> None:
    spec = StateSpec("image", (2, 6, 6), 3)
    model = build_environment_model(spec, ACTIONS, filters=2, blocks=1, prediction="residual")
    x = states(spec, 1)
    zero, one = model(x, torch.tensor([0])), model(x, torch.tensor([1]))
    assert not torch.equal(zero, one)
    assert torch.equal(zero[:, :4], x[:, 2:])
    whole = build_environment_model(spec, ACTIONS, filters=2, blocks=1, prediction="state")
    assert not torch.equal(whole(x, torch.tensor([0]))[:, :4], x[:, 2:])


def test_a_blank_residual_block_changes_nothing() -> None:
    network = FullResolutionResnet(1, 1, 4, 2)
    for block in network.blocks:
        torch.nn.init.zeros_(block.get_parameter("3.weight"))
        torch.nn.init.zeros_(block.get_parameter("3.bias"))
    x = states(StateSpec("image", (1, 6, 7)))
    assert torch.equal(network(x), torch.tanh(network.last(torch.relu(network.first(x)))))


def test_an_affine_resnet_starts_as_its_affine_layer() -> None:
    generator = GeneratorDescription("affine-resnet", filters=2, blocks=1).build(MINATAR, MINATAR)
    x = states(MINATAR)
    assert torch.allclose(generator(x), x, atol=1e-5)
