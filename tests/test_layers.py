"""Layers that several networks share: first weights, and what the rotation layer does."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.networks import PONG, SMALL, gradient_of, pictures

from corrtool.layers import AffineLayer, ConvToOneChannel, RotationLayer, init_normal, norm_layer
from corrtool.runtime.precision import Precision
from corrtool.states import StateSpec
from corrtool.tasks.views import Rotate

pytestmark = pytest.mark.usefixtures("seeded")


class TestConvToOneChannel:
    def test_a_convolution_to_one_channel_is_torchs(self) -> None:
        mine = ConvToOneChannel(3, 5).double()
        pictures = torch.rand(2, 3, 9, 11, dtype=torch.float64)
        expected = torch.nn.functional.conv2d(pictures, mine.weight, mine.bias)
        torch.testing.assert_close(mine(pictures), expected)
        gradients = [
            torch.autograd.grad(made.square().sum(), list(mine.parameters()))
            for made in (mine(pictures), expected)
        ]
        torch.testing.assert_close(*gradients)


class TestFirstWeights:
    def test_batch_norm_starts_around_one(self) -> None:
        norm = norm_layer("batch", 4000)
        init_normal(norm)
        weight, bias = norm.get_parameter("weight"), norm.get_parameter("bias")
        assert weight.mean().item() == pytest.approx(1.0, abs=2e-3)
        assert weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert not bias.any()


def smooth_picture(size: int = 84) -> np.ndarray:
    """A uint8 picture (1, 1, size, size) without symmetry.

    Neighbouring pixels differ little.
    """
    y, x = np.mgrid[:size, :size] / size
    picture = 128 + 60 * np.sin(7 * x + 2 * y) + 50 * np.cos(5 * y * y - 3 * x)
    whole: np.ndarray = picture.clip(0, 255).astype(np.uint8)
    return whole[None, None]


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
            assert gradient_of(layer.angle).isfinite()
            assert (
                gradient_of(layer.angle).sign().item() == sign
            )  # descent turns further on from 3°, back from 9°

    def test_gradients_reach_what_is_before_the_layer(self) -> None:
        states = pictures(SMALL).requires_grad_()
        RotationLayer(15.0)(states).sum().backward()
        assert gradient_of(states).isfinite().all()
        assert gradient_of(states).any()
