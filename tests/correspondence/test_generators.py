"""The generators of appendix 6.1: sizes, shapes, first weights, angles, several batches at once."""

from __future__ import annotations

import math

import pytest
import torch
from support.networks import ODD, PONG, SMALL, VECTOR, parameters, pictures

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.generators import (
    FramewiseGenerator,
    rotation_angle_degrees,
    translate_together,
)
from corrtool.layers import AffineLayer, Norm, RotationLayer
from corrtool.states import StateSpec

pytestmark = pytest.mark.usefixtures("seeded")


class TestFullSize:
    """The numbers of parameters at the paper's size: 84×84, four frames, six actions."""

    def test_resnet_generator(self) -> None:
        assert (
            parameters(GeneratorDescription("resnet", filters=64, blocks=9).build(PONG, PONG))
            == 11_384_452
        )

    def test_rotation_generator_has_one_angle(self) -> None:
        assert parameters(GeneratorDescription("rotation").build(PONG, PONG)) == 1

    def test_resnet_and_rotation_together(self) -> None:
        assert (
            parameters(
                GeneratorDescription("resnet-rotation", filters=64, blocks=9).build(PONG, PONG)
            )
            == 11_384_453
        )


class TestShapesAndRanges:
    @pytest.mark.parametrize("spec", [ODD, SMALL], ids=["83x85", "32x36"])
    @pytest.mark.parametrize("kind", ["resnet", "rotation", "resnet-rotation"])
    @pytest.mark.parametrize("norm", ["instance", "batch"])
    @pytest.mark.parametrize("skips", [False, True])
    def test_image_generators_keep_the_picture_and_the_range(
        self, spec: StateSpec, kind: str, norm: Norm, skips: bool
    ) -> None:
        generator = GeneratorDescription(
            kind, filters=4, blocks=1, norm=norm, skips=skips, angle_init=20.0
        ).build(spec, spec)
        states = pictures(spec)
        translated = generator(states)
        assert translated.shape == states.shape
        assert -1.0 <= translated.min() < translated.max() <= 1.0

    def test_saturated_generators_stay_in_range(self) -> None:
        generator = GeneratorDescription("resnet", filters=4, blocks=1).build(SMALL, SMALL)
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.mul_(1000)
            assert generator(pictures(SMALL)).abs().max() <= 1.0

    def test_with_skips_a_single_pixel_reaches_the_output_past_the_blocks(self) -> None:
        states = torch.full((1, *SMALL.state_shape), -1.0)
        dotted = states.clone()
        dotted[0, 0, 20, 20] = 1.0
        for skips in (False, True):
            generator = GeneratorDescription("resnet", filters=4, blocks=1, skips=skips).build(
                SMALL, SMALL
            )
            with torch.no_grad():
                generator.get_parameter(
                    "decoder.up_1.weight"
                ).zero_()  # all that comes from the blocks
                changed = (generator(dotted) != generator(states)).any()
            assert bool(changed) == skips

    @pytest.mark.parametrize("kind", ["resnet", "resnet-rotation", "affine-resnet"])
    def test_framewise_each_frame_decides_its_own_translation_only(self, kind: str) -> None:
        spec = StateSpec("image", (1, 32, 36), 4)
        generator = GeneratorDescription(kind, filters=4, blocks=1, framewise=True).build(
            spec, spec
        )
        states = pictures(spec)
        changed = states.clone()
        changed[:, 1] = -changed[:, 1]
        differs = (generator(states) - generator(changed)).abs().flatten(2).amax(dim=(0, 2)) > 1e-6
        assert differs.tolist() == [False, True, False, False]
        same = states[:, :1].expand_as(states)  # four times one frame: four times one translation
        translated = generator(same)
        torch.testing.assert_close(translated, translated[:, :1].expand_as(translated))

    def test_framewise_needs_as_many_frames(self) -> None:
        with pytest.raises(ValueError, match="one by one"):
            GeneratorDescription("resnet", framewise=True).build(
                SMALL, StateSpec("image", (1, 32, 36), 3)
            )

    def test_a_resnet_may_change_the_number_of_channels(self) -> None:
        colour = StateSpec("image", (3, 32, 36), 2)
        generator = GeneratorDescription("resnet", filters=4, blocks=1).build(SMALL, colour)
        assert generator(pictures(SMALL)).shape == (2, 6, 32, 36)


class TestFolded:
    @pytest.mark.parametrize("kind", ["resnet", "resnet-rotation", "affine-resnet"])
    def test_pictures_of_odd_sides_keep_them(self, kind: str) -> None:
        generator = GeneratorDescription(kind, filters=2, blocks=1, folded=True).build(ODD, ODD)
        translated = generator(pictures(ODD))
        assert translated.shape == pictures(ODD).shape
        assert translated.abs().max() <= 1.0

    def test_its_size_at_the_defaults(self) -> None:
        """Of single frames: 4 → 16 channels, six times 16 → 16, 16 → 4, each 3×3, and biases."""
        generator = GeneratorDescription(
            "resnet", filters=8, blocks=3, framewise=True, folded=True
        ).build(PONG, PONG)
        assert parameters(generator) == 9 * (4 * 16 + 6 * 16 * 16 + 16 * 4) + 7 * 16 + 4

    def test_in_front_of_an_affine_layer_it_changes_nothing_at_first(self) -> None:
        generator = GeneratorDescription("affine-resnet", filters=2, blocks=1, folded=True).build(
            SMALL, SMALL
        )
        states = pictures(SMALL).clamp(-1.0, 1.0)
        torch.testing.assert_close(generator(states), states, atol=1e-5, rtol=0.0)

    def test_a_pixel_is_changed_by_those_around_it_alone(self) -> None:
        """A convolution in, two in the block, one out, each a folded pixel on: eight pixels."""
        generator = GeneratorDescription("resnet", filters=2, blocks=1, folded=True).build(
            SMALL, SMALL
        )
        states = pictures(SMALL)
        dotted = states.clone()
        dotted[0, 0, 16, 16] += 0.5
        changed = (generator(dotted) != generator(states))[0, 0].nonzero()
        assert changed.min() >= 16 - 8 and changed.max() <= 17 + 8
        assert len(changed) > 4


class TestFirstWeights:
    def test_a_linear_generator_as_well(self) -> None:
        spec = StateSpec("vector", (100,))
        generator = GeneratorDescription("linear").build(spec, spec)
        weight, bias = (generator.get_parameter(f"layer.{name}") for name in ("weight", "bias"))
        assert weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not bias.any()

    def test_the_seed_decides_them(self) -> None:
        def weights() -> torch.Tensor:
            torch.manual_seed(7)
            return torch.cat(
                [
                    p.flatten()
                    for p in GeneratorDescription("resnet", filters=4, blocks=1)
                    .build(SMALL, SMALL)
                    .parameters()
                ]
            )

        assert torch.equal(weights(), weights())


class TestWhatDoesNotFit:
    @pytest.mark.parametrize("kind", ["linear", "mlp", "spline"])
    def test_generators_for_images(self, kind: str) -> None:
        with pytest.raises(ValueError, match=kind):
            GeneratorDescription(kind).build(PONG, PONG)

    @pytest.mark.parametrize("kind", ["resnet", "rotation", "resnet-rotation"])
    def test_generators_for_vectors(self, kind: str) -> None:
        with pytest.raises(ValueError, match=kind):
            GeneratorDescription(kind).build(VECTOR, VECTOR)

    def test_generators_between_images_and_vectors(self) -> None:
        with pytest.raises(ValueError, match="no generator maps"):
            GeneratorDescription("resnet").build(PONG, VECTOR)

    def test_pictures_of_two_sizes(self) -> None:
        with pytest.raises(ValueError, match="one size"):
            GeneratorDescription("resnet").build(PONG, StateSpec("image", (1, 42, 42), 4))

    def test_a_rotation_between_different_numbers_of_channels(self) -> None:
        with pytest.raises(ValueError, match="channels"):
            GeneratorDescription("rotation").build(PONG, StateSpec("image", (1, 84, 84), 2))


class TestRotationAngle:
    @pytest.mark.parametrize(
        "start, shown",
        [(0, 0), (17, 17), (-90, -90), (179, 179), (181, -179), (350, -10), (-190, 170), (730, 10)],
    )
    def test_is_given_between_minus_180_and_180(self, start: float, shown: float) -> None:
        generator = GeneratorDescription("rotation", angle_init=start).build(PONG, PONG)
        assert rotation_angle_degrees(generator) == pytest.approx(shown, abs=1e-3)

    @pytest.mark.parametrize("radians", [math.pi, -math.pi, 3 * math.pi, 100.0, -100.0])
    def test_never_leaves_that_interval(self, radians: float) -> None:
        layer = RotationLayer()
        layer.angle.data.fill_(radians)
        degrees = rotation_angle_degrees(layer)
        assert degrees is not None
        assert -180.0 < degrees <= 180.0
        assert math.cos(math.radians(degrees)) == pytest.approx(math.cos(radians), abs=1e-4)
        assert math.sin(math.radians(degrees)) == pytest.approx(math.sin(radians), abs=1e-4)

    def test_is_found_behind_a_resnet(self) -> None:
        generator = GeneratorDescription(
            "resnet-rotation", filters=2, blocks=1, angle_init=25
        ).build(SMALL, SMALL)
        assert rotation_angle_degrees(generator) == pytest.approx(25, abs=1e-3)

    @pytest.mark.parametrize("mirrored", [False, True])
    @pytest.mark.parametrize("aspect", [0.5, 1.0, 2.0])
    def test_is_that_of_the_picture_whatever_its_sides(self, aspect: float, mirrored: bool) -> None:
        layer = AffineLayer(40, mirrored, aspect)
        assert rotation_angle_degrees(layer) == pytest.approx(40, abs=1e-3)

    def test_is_none_without_a_rotation_layer(self) -> None:
        assert (
            rotation_angle_degrees(
                GeneratorDescription("resnet", filters=2, blocks=1).build(SMALL, SMALL)
            )
            is None
        )


FOUR_FRAMES = StateSpec("image", (1, 20, 20), 4)
SHUFFLED = StateSpec("image", (1, 20, 20), 4, stack_order=(2, 0, 3, 1))


@pytest.mark.parametrize("from_spec", [FOUR_FRAMES, SHUFFLED], ids=["in order", "another order"])
@pytest.mark.parametrize("framewise", [False, True])
@pytest.mark.parametrize("with_next", [False, True])
@pytest.mark.parametrize("with_others", [False, True])
def test_at_once_is_one_after_another(
    from_spec: StateSpec, framewise: bool, with_next: bool, with_others: bool
) -> None:
    torch.manual_seed(0)
    generator = GeneratorDescription("resnet", filters=4, blocks=1, framewise=framewise).build(
        from_spec, FOUR_FRAMES
    )
    frames = torch.rand(2, 5, 1, 20, 20) * 2 - 1  # of two transitions
    states, following = from_spec.stack_frames(frames[:, :4]), from_spec.stack_frames(frames[:, 1:])
    others = torch.rand(3, 4, 20, 20) * 2 - 1
    more = following if with_next else None, others if with_others else None
    pictures = 0

    def count(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        nonlocal pictures
        pictures += len(arguments[0])

    network = generator.frame_generator if isinstance(generator, FramewiseGenerator) else generator
    hook = network.register_forward_pre_hook(count)
    at_once = translate_together(generator, states, *more)
    hook.remove()
    whole = 2 + 3 * with_others
    assert pictures == (whole * 4 + 2 * with_next if framewise else whole + 2 * with_next)
    one_by_one = [None if batch is None else generator(batch) for batch in (states, *more)]
    assert [batch is None for batch in at_once] == [batch is None for batch in one_by_one]
    for ours, theirs in zip(at_once, one_by_one, strict=True):
        if ours is not None:
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    weights = list(generator.parameters())
    gradients = [
        torch.autograd.grad(
            [batch.square().sum() for batch in batches if batch is not None], weights
        )
        for batches in (at_once, one_by_one)
    ]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
