"""The layer on values and channels, and its inverse."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.generators import rotation_angle_degrees
from corrtool.correspondence.tone_layer import ToneLayer, inverse_tone, tone_layer
from corrtool.states import StateSpec

COLOURS = StateSpec("image", (3, 6, 6), 2)


def toned(matrix: list[list[float]], bias: list[float]) -> ToneLayer:
    """A layer with these weights."""
    layer = ToneLayer(len(matrix[0]), len(matrix))
    layer.load_state_dict({"matrix": torch.tensor(matrix), "bias": torch.tensor(bias)})
    return layer


def pictures(spec: StateSpec, count: int = 2) -> torch.Tensor:
    return torch.rand(count, *spec.state_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_it_starts_as_the_identity_to_the_last_bit() -> None:
    assert torch.equal(ToneLayer(3, 3)(x := pictures(COLOURS)), x)


def test_every_frame_gets_the_same() -> None:
    """Two frames of two channels: the first halved, the second of both, plus a quarter."""
    layer = toned([[0.5, 0.0], [1.0, -1.0]], [0.0, 0.25])
    state = torch.tensor([0.4, 0.2, -0.8, -0.6]).view(1, 4, 1, 1)
    expected = torch.tensor([0.2, 0.45, -0.4, 0.05]).view(1, 4, 1, 1)
    torch.testing.assert_close(layer(state), expected)


def test_what_is_beyond_white_is_white_and_can_come_back() -> None:
    layer = toned([[2.0]], [0.5])
    shown = layer(torch.tensor([0.9, -0.9]).view(2, 1, 1, 1))
    assert shown.flatten().tolist() == pytest.approx([1.0, -1.0])
    shown.sum().backward()
    assert layer.bias.grad is not None and layer.bias.grad.tolist() == [2.0]


def test_a_channel_that_has_none_to_be_starts_black() -> None:
    shown = ToneLayer(1, 2)(torch.full((1, 2, 1, 1), 0.5))
    assert shown.flatten().tolist() == [0.5, -1.0, 0.5, -1.0]
    assert ToneLayer(1, 2).bias.tolist() == [0.0, -1.0]  # what it learns from there


def test_a_generator_without_one_has_none() -> None:
    assert tone_layer(torch.nn.Linear(1, 1)) is None


@given(
    st.permutations(range(4)), st.lists(st.sampled_from([1.0, -1.0, 0.5]), min_size=4, max_size=4)
)
def test_the_inverse_gives_back_what_there_was(order: list[int], gains: list[float]) -> None:
    matrix = torch.eye(4)[list(order)] * torch.tensor(gains)[:, None]
    bias = torch.zeros(4)
    back = inverse_tone(matrix, bias)
    x = pictures(StateSpec("image", (4, 2, 2), 3))
    layer, inverse = ToneLayer(4, 4), ToneLayer(4, 4)
    layer.load_state_dict({"matrix": matrix, "bias": bias})
    inverse.load_state_dict(dict(zip(("matrix", "bias"), back, strict=True)))
    torch.testing.assert_close(inverse(layer(x)), x)


def test_the_inverse_of_gain_and_offset_by_hand() -> None:
    matrix, bias = inverse_tone(torch.tensor([[0.5]]), torch.tensor([0.2]))
    assert (matrix.item(), bias.item()) == pytest.approx((2.0, -0.4))


def test_a_channel_that_nothing_came_of_is_black_on_the_way_back() -> None:
    matrix, bias = inverse_tone(torch.tensor([[0.0, -1.0]]), torch.tensor([0.5]))
    assert matrix.flatten().tolist() == pytest.approx([0.0, -1.0])
    assert bias.tolist() == pytest.approx([-1.0, 0.5])


@pytest.mark.parametrize("framewise", [False, True])
@pytest.mark.parametrize("kind", ["affine", "affine-resnet"])
def test_what_is_outside_is_black_in_the_sources_tones(kind: str, framewise: bool) -> None:
    """G_T inverts and then turns, so that its corners are black; G_S turns and then inverts."""
    description = GeneratorDescription(
        kind, filters=2, blocks=1, angle_init=45.0, framewise=framewise, tone="before"
    )
    black = -torch.ones(1, *COLOURS.state_shape)
    for described, corner in ((description, -1.0), (description.reversed_direction(), 1.0)):
        generator = described.build(COLOURS, COLOURS)
        layer = tone_layer(generator)
        assert layer is not None
        with torch.no_grad():
            layer.matrix.neg_()
        shown = generator(black)
        assert shown[0, :, 3, 3].tolist() == pytest.approx([1.0] * 6)
        assert shown[0, :, 0, 0].tolist() == pytest.approx([corner] * 6)
        assert abs(rotation_angle_degrees(generator) or 0) == pytest.approx(45.0)


@pytest.mark.parametrize("kind", ["affine", "affine-resnet"])
@pytest.mark.parametrize("framewise", [False, True])
def test_the_number_of_channels_may_change(kind: str, framewise: bool) -> None:
    grey = StateSpec("image", (1, 6, 6), 2)
    description = GeneratorDescription(
        kind, filters=2, blocks=1, framewise=framewise, tone="before"
    )
    there = description.build(COLOURS, grey)(pictures(COLOURS))
    back = description.reversed_direction().build(grey, COLOURS)(there)
    assert (there.shape, back.shape) == ((2, 2, 6, 6), (2, 6, 6, 6))


def test_the_number_of_frames_may_not() -> None:
    with pytest.raises(ValueError, match="2 frames into 3"):
        GeneratorDescription("affine", tone="before").build(
            COLOURS, StateSpec("image", (3, 6, 6), 3)
        )
