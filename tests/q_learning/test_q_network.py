"""The Q-function: sizes, shapes, first weights, and the states that it refuses."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.networks import ACTIONS, PONG, VECTOR, parameters, pictures
from torch import nn

from corrtool.layers import copy_of_weights
from corrtool.q_learning.network import HalfSize, build_q_function, take_actions
from corrtool.state_scaling import q_input, raw_to_q
from corrtool.states import StateSpec

pytestmark = pytest.mark.usefixtures("seeded")


class TestFullSize:
    """The numbers of parameters at the paper's size: 84×84, four frames, six actions."""

    def test_q_function_as_printed_and_as_in_nature(self) -> None:
        assert parameters(build_q_function(PONG, ACTIONS, "paper")) == 40_222_374
        assert parameters(build_q_function(PONG, ACTIONS, "nature")) == 1_687_206
        weights, norms = 1_040 + 8_224 + 9_248 + 131_328 + 1_542, 2 * (16 + 32 + 32 + 256)
        assert parameters(build_q_function(PONG, ACTIONS, "small")) == weights + norms
        assert parameters(build_q_function(PONG, ACTIONS, "auto")) == weights + norms


class TestShapesAndRanges:
    @pytest.mark.parametrize("architecture", ["nature", "paper", "small"])
    def test_image_q_function(self, architecture: str) -> None:
        spec = StateSpec("image", (1, 41, 43), 2)
        q_values = build_q_function(spec, ACTIONS, architecture)(pictures(spec))
        assert q_values.shape == (2, ACTIONS)

    def test_the_small_q_function_sees_means_of_two_by_two_pixels(self) -> None:
        picture = torch.arange(2.0 * 5 * 6).reshape(1, 2, 5, 6)
        torch.testing.assert_close(HalfSize()(picture), nn.functional.avg_pool2d(picture, 2))
        assert HalfSize()(picture)[0, 0, 0, 0] == (0 + 1 + 6 + 7) / 4

    @pytest.mark.parametrize("height, width", [(4, 4), (5, 8), (84, 84), (2, 12)])
    def test_it_halves_bytes_as_it_halves_what_was_scaled(self, height: int, width: int) -> None:
        picture = torch.randint(0, 256, (3, 2, height, width), dtype=torch.uint8)
        picture[0] = 255  # no sum overflows
        halved = HalfSize()(picture)
        assert halved[0].eq(1).all() and halved.dtype == torch.float32
        torch.testing.assert_close(halved, nn.functional.avg_pool2d(picture / 255, 2))
        turned = picture.transpose(2, 3).contiguous().transpose(2, 3)  # strides of another order
        assert torch.equal(HalfSize()(turned), halved)

    @pytest.mark.parametrize("width, takes_bytes", [(40, True), (42, False), (43, False)])
    def test_raw_pictures_are_scaled_once(self, width: int, takes_bytes: bool) -> None:
        spec = StateSpec("image", (1, 41, width), 2)
        raw = torch.randint(0, 256, (2, *spec.state_shape), dtype=torch.uint8)
        for architecture, bytes_too in {"small": takes_bytes, "nature": False}.items():
            network = build_q_function(spec, ACTIONS, architecture)
            taken = q_input(network, spec, raw)
            assert (taken is raw) == bytes_too
            torch.testing.assert_close(network(taken), network(raw_to_q(spec, raw)))

    def test_q_values_may_be_negative(self) -> None:
        network = build_q_function(StateSpec("image", (1, 36, 36)), 50, "nature")
        assert network(torch.rand(1, 1, 36, 36)).min() < 0


class TestFirstWeights:
    def test_a_q_function_starts_from_torchs_own_weights_by_default(self) -> None:
        network = build_q_function(PONG, ACTIONS, "nature")
        assert network.get_parameter("convolutions.0.bias").any()


class TestWhatDoesNotFit:
    def test_pictures_that_are_too_small(self) -> None:
        tiny = StateSpec("image", (1, 12, 40))
        for architecture in ("small", "nature", "paper"):
            with pytest.raises(ValueError, match="too small"):
                build_q_function(tiny, ACTIONS, architecture)

    @pytest.mark.parametrize(
        "side, build",
        [
            (36, lambda spec: build_q_function(spec, ACTIONS, "nature")),
            (15, lambda spec: build_q_function(spec, ACTIONS, "paper")),
            (36, lambda spec: build_q_function(spec, ACTIONS, "small")),
            (8, lambda spec: build_q_function(spec, ACTIONS, "medium")),
            (3, lambda spec: build_q_function(spec, ACTIONS, "grid")),
        ],
        ids=["nature", "paper", "small", "medium", "grid"],
    )
    def test_the_smallest_pictures_are_not_too_small(
        self, side: int, build: Callable[[StateSpec], nn.Module]
    ) -> None:
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


class TestTakeActions:
    @pytest.mark.parametrize("architecture", ["nature", "small", "medium", "grid", "mlp", "linear"])
    def test_each_value_is_that_of_its_action(self, architecture: str) -> None:
        vectors = architecture in ("mlp", "linear")
        spec = VECTOR if vectors else StateSpec("image", (1, 41, 43), 2)
        states = torch.randn(3, *spec.state_shape) if vectors else pictures(spec)
        network = build_q_function(spec, 3, architecture)
        for weights in network.parameters():
            nn.init.normal_(weights, std=0.2)
        with torch.no_grad():
            before = network(states)
            take_actions(network, (2, 0, 1, 1))
            found = network(states)
        torch.testing.assert_close(found, before[:, [2, 0, 1, 1]])
        again = build_q_function(spec, 4, architecture)
        again.load_state_dict(network.state_dict())  # the shapes of one with four actions

    @given(st.integers(1, 7).flatmap(lambda n: st.permutations(range(n))))
    def test_a_permutation_and_then_its_inverse_leave_it_as_it_was(self, of: list[int]) -> None:
        network = build_q_function(VECTOR, len(of), width=4)
        before = copy_of_weights(network)
        take_actions(network, of)
        take_actions(network, sorted(range(len(of)), key=of.__getitem__))
        assert all(before[name].equal(now) for name, now in network.state_dict().items())
