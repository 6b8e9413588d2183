"""A start set into both generators, with its tone and its actions, and said in words."""

from __future__ import annotations

import pytest
import torch

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription, TonePlace
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.spatial_starts import Start, set_start, spatial_layer, start_layers
from corrtool.correspondence.tone_layer import tone_layer
from corrtool.correspondence.tones import Tone
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

COLOURS = StateSpec("image", (2, 12, 16), 2)
TONE = Tone((1, 0), (0.5, -1.0), (0.25, 0.0))
SWAPPED = ActionMap((1, 0), 2)


def correspondence(
    kind: str = "affine", action_map: ActionMap | None = None, framewise: bool = False
) -> Correspondence:
    scalings = StateScaling(COLOURS), StateScaling(COLOURS)
    tone: TonePlace = "none" if kind == "rotation" else "before"
    description = GeneratorDescription(
        kind, filters=2, blocks=1, tone=tone, framewise=framewise, angle_init=7.0
    )
    return Correspondence(*scalings, description, action_map)


def pictures() -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.rand(2, *COLOURS.state_shape, generator=random) - 0.5


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (Start(90.0, tone=Tone.plain((0, 1))), "90.0°"),
        (Start(90.0, True, Tone.plain((1, 0))), "90.0°, mirrored, channels 1,0"),
        (Start(0.0, action_map=ActionMap.identity(2)), "0.0°"),
        (Start(0.0, action_map=SWAPPED), "0.0°, target actions are [1, 0] of the source"),
        (
            Start(-30.0, True, Tone.plain((0, 1), -1.0), ActionMap((0, 0), 2)),
            "-30.0°, mirrored, inverted, target actions are [0, 0] of the source",
        ),
    ],
)
def test_a_start_in_words(start: Start, said: str) -> None:
    assert str(start) == said


def test_a_tone_is_set_there_and_back() -> None:
    """Channel 0 is half of channel 1 and a quarter more; channel 1 is channel 0 inverted."""
    made = correspondence()
    set_start(made, Start(0.0, tone=TONE))
    there, back = tone_layer(made.target_to_source), tone_layer(made.source_to_target)
    assert there is not None and back is not None
    assert there.matrix.tolist() == [[0.0, 0.5], [-1.0, 0.0]]
    assert there.bias.tolist() == [0.25, 0.0]
    assert back.matrix.tolist() == [[0.0, -1.0], [2.0, 0.0]]
    assert back.bias.tolist() == [0.0, -0.5]
    states = pictures()
    translated = made.target_to_source(states)
    torch.testing.assert_close(made.source_to_target(translated), states, atol=1e-4, rtol=0)


def test_what_a_start_does_not_say_stays() -> None:
    made = correspondence(action_map=SWAPPED)
    set_start(made, Start(0.0, tone=TONE))
    set_start(made, Start(30.0))
    layer = tone_layer(made.target_to_source)
    assert layer is not None and layer.bias.tolist() == [0.25, 0.0]
    assert made.action_map == SWAPPED
    set_start(made, Start(30.0, action_map=ActionMap((0, 0), 2)))
    assert made.action_map == ActionMap((0, 0), 2)


def test_a_start_without_a_tone_layer_ignores_the_tone() -> None:
    made = correspondence("rotation")
    set_start(made, Start(40.0, tone=TONE))
    plain = correspondence("rotation")
    set_start(plain, Start(40.0))
    assert torch.equal(made.target_to_source(pictures()), plain.target_to_source(pictures()))


@pytest.mark.parametrize(
    "start", [Start(37.0), Start(37.0, mirrored=True), Start(37.0, mirrored=True, tone=TONE)]
)
@pytest.mark.parametrize("kind", ["rotation", "affine"])
def test_what_a_search_compares_is_what_is_set(kind: str, start: Start) -> None:
    if kind == "rotation":
        start = Start(start.degrees)
    made = correspondence(kind)
    compared = start_layers(made, start)(pictures())
    assert not torch.allclose(made.target_to_source(pictures()), compared, atol=1e-3)
    set_start(made, start)
    torch.testing.assert_close(made.target_to_source(pictures()), compared)


def test_a_framewise_generator_is_compared_frame_by_frame() -> None:
    start = Start(37.0, tone=TONE)
    whole = start_layers(correspondence("affine-resnet"), start)(pictures())
    framewise = start_layers(correspondence("affine-resnet", framewise=True), start)(pictures())
    torch.testing.assert_close(framewise, whole)


def test_a_generator_without_a_spatial_layer_has_none() -> None:
    scalings = StateScaling(COLOURS), StateScaling(COLOURS)
    made = Correspondence(*scalings, GeneratorDescription("resnet", filters=2, blocks=1))
    assert spatial_layer(made.target_to_source) is None
    layer = spatial_layer(correspondence("affine-resnet").target_to_source)
    assert layer is not None
