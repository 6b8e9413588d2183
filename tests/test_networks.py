"""The networks of appendix 6.1: sizes, shapes, first weights, and what the rotation layer does."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.discriminators import build_discriminator
from corrtool.correspondence.generators import rotation_angle_degrees
from corrtool.environment_model.network import build_environment_model
from corrtool.layers import AffineLayer, ConvToOneChannel, RotationLayer, init_normal, norm_layer
from corrtool.q_learning.network import HalfSize, build_q_function
from corrtool.runtime.precision import Precision
from corrtool.states import StateSpec
from corrtool.tasks.views import Rotate

PONG = StateSpec("image", (1, 84, 84), 4)
ODD = StateSpec("image", (1, 83, 85), 2)
SMALL = StateSpec("image", (1, 32, 36), 2)
VECTOR = StateSpec("vector", (3,), 2)
ACTIONS = 6


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def pictures(spec: StateSpec, batch: int = 2, seed: int = 0) -> torch.Tensor:
    """Random states in [-1, 1]."""
    return (
        torch.rand(batch, *spec.state_shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    )


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


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

    def test_patch_discriminator(self) -> None:
        assert parameters(build_discriminator(PONG, 64)) == 2_765_761

    def test_q_function_as_printed_and_as_in_nature(self) -> None:
        assert parameters(build_q_function(PONG, ACTIONS, "paper")) == 40_222_374
        assert parameters(build_q_function(PONG, ACTIONS, "nature")) == 1_687_206
        weights, norms = 1_040 + 8_224 + 9_248 + 131_328 + 1_542, 2 * (16 + 32 + 32 + 256)
        assert parameters(build_q_function(PONG, ACTIONS, "small")) == weights + norms
        assert parameters(build_q_function(PONG, ACTIONS, "auto")) == weights + norms

    @pytest.mark.parametrize("action_block", [5, 0])
    def test_environment_model_gets_the_action_in_its_fifth_block(self, action_block: int) -> None:
        model = build_environment_model(
            PONG, ACTIONS, filters=64, blocks=9, action_block=action_block
        )
        widths = [
            [layer.in_channels for layer in block.modules() if isinstance(layer, nn.Conv2d)]
            for block in [*model.blocks_before_action, *model.blocks_with_action]
        ]
        assert widths == [[256, 256]] * 4 + [[262, 262]] * 5

    def test_environment_model_can_have_the_action_elsewhere(self) -> None:
        model = build_environment_model(PONG, ACTIONS, filters=64, blocks=9, action_block=1)
        assert (len(model.blocks_before_action), len(model.blocks_with_action)) == (0, 9)


class TestShapesAndRanges:
    @pytest.mark.parametrize("spec", [ODD, SMALL], ids=["83x85", "32x36"])
    @pytest.mark.parametrize("kind", ["resnet", "rotation", "resnet-rotation"])
    @pytest.mark.parametrize("norm", ["instance", "batch"])
    @pytest.mark.parametrize("skips", [False, True])
    def test_image_generators_keep_the_picture_and_the_range(
        self, spec: StateSpec, kind: str, norm: str, skips: bool
    ) -> None:
        generator = GeneratorDescription(
            kind, filters=4, blocks=1, norm=norm, skips=skips, angle_init=20.0
        ).build(spec, spec)
        states = pictures(spec)
        translated = generator(states)
        assert translated.shape == states.shape
        assert -1.0 <= translated.min() < translated.max() <= 1.0

    def test_a_convolution_to_one_channel_is_torchs(self) -> None:
        mine = ConvToOneChannel(3, 5).double()
        pictures = torch.rand(2, 3, 9, 11, dtype=torch.float64)
        expected = torch.nn.functional.conv2d(pictures, mine.weight, mine.bias)
        torch.testing.assert_close(mine(pictures), expected)
        gradients = [
            torch.autograd.grad(made.square().sum(), mine.parameters())
            for made in (mine(pictures), expected)
        ]
        torch.testing.assert_close(*gradients)

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
                generator.decoder.up_1.weight.zero_()  # all that comes from the blocks
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

    @pytest.mark.parametrize("spec", [ODD, SMALL], ids=["83x85", "32x36"])
    @pytest.mark.parametrize("skips", [False, True])
    def test_environment_model(self, spec: StateSpec, skips: bool) -> None:
        model = build_environment_model(spec, ACTIONS, filters=4, blocks=3, skips=skips)
        predicted = model(pictures(spec), torch.tensor([0, 5]))
        assert predicted.shape == (2, *spec.state_shape)
        assert -1.0 <= predicted.min() < predicted.max() <= 1.0

    @pytest.mark.parametrize("spec", [ODD, SMALL], ids=["83x85", "32x36"])
    def test_discriminator_scores_patches(self, spec: StateSpec) -> None:
        scores = build_discriminator(spec, 4)(pictures(spec))
        assert scores.shape[:2] == (2, 1)
        assert scores[0].numel() > 1

    def test_discriminator_of_the_paper_has_8_by_8_patches(self) -> None:
        # 84 → 42 → 21 → 10 → 9 → 8
        assert build_discriminator(PONG, 4)(pictures(PONG, 1)).shape == (1, 1, 8, 8)

    @pytest.mark.parametrize("architecture", ["nature", "paper", "small"])
    def test_image_q_function(self, architecture: str) -> None:
        spec = StateSpec("image", (1, 41, 43), 2)
        q_values = build_q_function(spec, ACTIONS, architecture)(pictures(spec))
        assert q_values.shape == (2, ACTIONS)

    def test_the_small_q_function_sees_means_of_two_by_two_pixels(self) -> None:
        picture = torch.arange(2.0 * 5 * 6).reshape(1, 2, 5, 6)
        torch.testing.assert_close(HalfSize()(picture), nn.functional.avg_pool2d(picture, 2))
        assert HalfSize()(picture)[0, 0, 0, 0] == (0 + 1 + 6 + 7) / 4

    def test_vector_networks(self) -> None:
        states, other = pictures(VECTOR), StateSpec("vector", (4,), 1)
        assert GeneratorDescription("linear").build(VECTOR, other)(states).shape == (2, 4)
        assert GeneratorDescription("mlp", filters=8, blocks=2).build(VECTOR, other)(
            states
        ).shape == (2, 4)
        assert build_discriminator(VECTOR, 8)(states).shape == (2, 1)
        assert build_environment_model(VECTOR, 3, filters=8, blocks=2)(
            states, torch.tensor([0, 2])
        ).shape == (2, 6)
        assert build_q_function(VECTOR, 3, "mlp", width=8)(states).shape == (2, 3)
        assert (
            build_q_function(VECTOR, 3, "linear")(states).tolist() == [[0.0] * 3] * 2
        )  # Algorithm 1 starts at zero

    def test_q_values_may_be_negative(self) -> None:
        network = build_q_function(StateSpec("image", (1, 36, 36)), 50, "nature")
        assert network(torch.rand(1, 1, 36, 36)).min() < 0


class TestTheAction:
    @pytest.mark.parametrize("spec", [SMALL, VECTOR], ids=["image", "vector"])
    def test_decides_what_the_environment_model_predicts(self, spec: StateSpec) -> None:
        model = build_environment_model(spec, ACTIONS, filters=4, blocks=3)
        state = pictures(spec, 1).expand(ACTIONS, *spec.state_shape)
        predicted = model(state, torch.arange(ACTIONS)).flatten(1)
        distances = torch.cdist(predicted, predicted)[~torch.eye(ACTIONS, dtype=torch.bool)]
        assert distances.min() > 0.005 * predicted.norm(dim=1).mean()

    def test_reaches_the_residual_branches(self) -> None:
        """A constant plane is just what InstanceNorm subtracts; the model's own normalisation must let it through."""
        model = build_environment_model(SMALL, ACTIONS, filters=4, blocks=3)
        branches = []
        model.blocks_with_action[0].layers.register_forward_hook(
            lambda _, __, output: branches.append(output)
        )
        model(pictures(SMALL, 1).expand(ACTIONS, *SMALL.state_shape), torch.arange(ACTIONS))
        between_actions = branches[0].std(dim=0).mean().item()
        assert between_actions > 0.05 * branches[0].std().item()


class TestResidualEnvironmentModel:
    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
    def test_known_frames_are_those_of_the_state_and_only_the_newest_is_predicted(
        self, order: tuple[int, ...]
    ) -> None:
        spec = StateSpec("image", (2, 32, 36), 3, order)
        model = build_environment_model(
            spec, ACTIONS, filters=2, blocks=1, prediction="residual"
        ).eval()
        states = pictures(spec)
        frames, predicted = (
            spec.frames_of(states),
            spec.frames_of(model(states, torch.tensor([0, 5]))),
        )
        assert torch.equal(predicted[:, :-1], frames[:, 1:])
        change = predicted[:, -1] - frames[:, -1]
        assert 0 < change.abs().max() <= 2.0

    def test_can_learn_that_something_appears_on_black(self) -> None:
        spec = StateSpec("image", (1, 32, 36), 2)
        model = build_environment_model(spec, ACTIONS, filters=2, blocks=1, prediction="residual")
        last = model.decoder.out[1]
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.constant_(last.bias, -1.0)  # a change below black everywhere
        black = torch.full((2, *spec.state_shape), -1.0)
        predicted = model(black, torch.tensor([0, 5]))
        assert torch.equal(predicted, black)
        (predicted - 1.0).square().mean().backward()
        assert last.bias.grad.item() < 0  # descent makes it brighter

    def test_a_single_frame_is_predicted_as_a_change(self) -> None:
        spec = StateSpec("image", (1, 32, 36), 1)
        model = build_environment_model(
            spec, ACTIONS, filters=2, blocks=1, prediction="residual"
        ).eval()
        torch.nn.init.zeros_(model.decoder.out[1].weight)
        states = pictures(spec)
        assert torch.equal(model(states, torch.tensor([0, 5])), states)


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
    def test_are_normal_with_deviation_0_02(self, build) -> None:
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
            assert not layer.bias.any()

    def test_a_linear_generator_as_well(self) -> None:
        layer = (
            GeneratorDescription("linear")
            .build(StateSpec("vector", (100,)), StateSpec("vector", (100,)))
            .layer
        )
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not layer.bias.any()

    def test_batch_norm_starts_around_one(self) -> None:
        norm = norm_layer("batch", 4000)
        init_normal(norm)
        assert norm.weight.mean().item() == pytest.approx(1.0, abs=2e-3)
        assert norm.weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert not norm.bias.any()

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

    def test_a_q_function_starts_from_torchs_own_weights_by_default(self) -> None:
        assert build_q_function(PONG, ACTIONS, "nature").convolutions[0].bias.any()


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

    def test_pictures_that_are_too_small(self) -> None:
        tiny = StateSpec("image", (1, 12, 40))
        for build in (
            lambda: build_q_function(tiny, ACTIONS, "small"),
            lambda: build_q_function(tiny, ACTIONS, "nature"),
            lambda: build_q_function(tiny, ACTIONS, "paper"),
        ):
            with pytest.raises(ValueError, match="too small"):
                build()

    @pytest.mark.parametrize(
        "side, build",
        [
            (36, lambda spec: build_q_function(spec, ACTIONS, "nature")),
            (15, lambda spec: build_q_function(spec, ACTIONS, "paper")),
            (36, lambda spec: build_q_function(spec, ACTIONS, "small")),
            (3, lambda spec: build_q_function(spec, ACTIONS, "grid")),
        ],
        ids=["nature", "paper", "small", "grid"],
    )
    def test_the_smallest_pictures_are_not_too_small(self, side: int, build) -> None:
        smallest, smaller = (StateSpec("image", (1, n, n)) for n in (side, side - 1))
        assert build(smallest)(pictures(smallest)).isfinite().all()
        with pytest.raises(ValueError, match="too small"):
            build(smaller)

    @pytest.mark.parametrize(
        "spec, architecture",
        [(PONG, "mlp"), (PONG, "linear"), (VECTOR, "nature"), (VECTOR, "paper")],
    )
    def test_q_functions(self, spec: StateSpec, architecture: str) -> None:
        with pytest.raises(ValueError, match=architecture):
            build_q_function(spec, ACTIONS, architecture)

    @pytest.mark.parametrize("spec, architecture", [(PONG, "mlp"), (VECTOR, "resnet")])
    def test_environment_models(self, spec: StateSpec, architecture: str) -> None:
        with pytest.raises(ValueError, match=architecture):
            build_environment_model(spec, ACTIONS, architecture)

    @pytest.mark.parametrize("action_block", [-1, 3])
    def test_an_action_block_that_does_not_exist(self, action_block: int) -> None:
        with pytest.raises(ValueError, match="block"):
            build_environment_model(SMALL, ACTIONS, filters=4, blocks=2, action_block=action_block)


def test_a_score_of_the_patch_discriminator_sees_70_by_70_pixels() -> None:
    spec = StateSpec("image", (1, 160, 160))
    discriminator = (
        build_discriminator(spec, 4, norm="batch").double().eval()
    )  # eval: no pixel mixes with all others
    state = torch.rand(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
    scores = discriminator(state)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    seen = state.grad[0, 0] != 0
    rows, columns = seen.any(dim=1).nonzero().flatten(), seen.any(dim=0).nonzero().flatten()
    assert (len(rows), rows[-1] - rows[0] + 1) == (70, 70)
    assert (len(columns), columns[-1] - columns[0] + 1) == (70, 70)


def smooth_picture(size: int = 84) -> np.ndarray:
    """A uint8 picture (1, 1, size, size) without symmetry, whose neighbouring pixels differ little."""
    y, x = np.mgrid[:size, :size] / size
    picture = 128 + 60 * np.sin(7 * x + 2 * y) + 50 * np.cos(5 * y * y - 3 * x)
    return picture.clip(0, 255).astype(np.uint8)[None, None]


class TestRotationLayer:
    @pytest.mark.parametrize(
        "degrees, turns", [(0, 0), (90, 1), (-90, -1), (180, 2), (-180, 2), (270, 3)]
    )
    def test_quarter_turns_of_square_pictures_are_rot90(self, degrees: float, turns: int) -> None:
        states = pictures(PONG)
        turned = RotationLayer(degrees)(states)
        torch.testing.assert_close(
            turned, torch.rot90(states, turns, dims=(-2, -1)), rtol=0, atol=5e-5
        )

    def test_half_a_turn_of_an_oblong_picture_is_rot90_twice(self) -> None:
        states = pictures(SMALL)
        torch.testing.assert_close(
            RotationLayer(180)(states), torch.rot90(states, 2, dims=(-2, -1)), rtol=0, atol=5e-5
        )

    def test_positive_angles_turn_counter_clockwise(self) -> None:
        states = torch.full((1, 1, 41, 41), -1.0)
        states[0, 0, 20, 38] = 1.0  # right of the centre
        row, column = divmod(int(RotationLayer(30)(states).argmax()), 41)
        assert row < 20  # moved up: 18·sin 30° = 9
        assert (row, column) == (11, 36)

    @pytest.mark.parametrize("degrees", [10.0, -10.0, 33.0])
    @pytest.mark.parametrize("height, width", [(84, 84), (60, 84)])
    def test_agrees_with_the_rotate_view(self, degrees: float, height: int, width: int) -> None:
        picture = smooth_picture()[:, :, :height, :width]
        view = Rotate(degrees).frames(np.ascontiguousarray(picture)).astype(np.float32)
        layer = RotationLayer(degrees)(torch.from_numpy(picture).float() / 127.5 - 1.0)
        in_levels = ((layer.detach() + 1.0) * 127.5).numpy()
        difference = np.abs(in_levels - view)
        assert (
            difference.max() < 6.0
        )  # OpenCV places pixels to 1/32, which shows at the black border
        assert difference.mean() < 0.5

    @pytest.mark.parametrize("height, width", [(84, 84), (60, 84), (7, 12)])
    def test_sees_what_torch_s_grid_says_also_among_bf16(self, height: int, width: int) -> None:
        states = pictures(StateSpec("image", (1, height, width), 4))
        layer = AffineLayer(33.0, mirrored=True, aspect=height / width)
        with torch.no_grad():
            layer.matrix[:, 2] = torch.tensor([0.1, -0.2])
            grid = F.affine_grid(
                layer.matrix.expand(len(states), 2, 3), list(states.shape), align_corners=False
            )
            expected = (
                F.grid_sample(states + 1.0, grid, padding_mode="zeros", align_corners=False) - 1.0
            )
            torch.testing.assert_close(layer(states), expected, rtol=0, atol=2e-4)
            with Precision(torch.bfloat16, torch.device("cpu")).autocast():
                among_bf16 = layer(states)
            assert torch.equal(among_bf16, layer(states))

    def test_what_comes_from_outside_is_black(self) -> None:
        turned = RotationLayer(45)(torch.ones(1, 1, 20, 20))
        torch.testing.assert_close(
            turned[0, 0, [0, 0, -1, -1], [0, -1, 0, -1]], torch.full((4,), -1.0)
        )

    def test_the_gradient_of_the_angle_leads_to_the_right_angle(self) -> None:
        picture = torch.from_numpy(smooth_picture()).float() / 127.5 - 1.0
        wanted = RotationLayer(6.0)(picture).detach()
        for degrees, sign in ((3.0, -1.0), (9.0, 1.0)):
            layer = RotationLayer(degrees)
            (layer(picture) - wanted).abs().mean().backward()
            assert layer.angle.grad.isfinite()
            assert (
                layer.angle.grad.sign().item() == sign
            )  # descent turns further on from 3°, back from 9°

    def test_gradients_reach_what_is_before_the_layer(self) -> None:
        states = pictures(SMALL).requires_grad_()
        RotationLayer(15.0)(states).sum().backward()
        assert states.grad.isfinite().all()
        assert states.grad.any()


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
