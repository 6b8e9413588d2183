"""F (appendix 6.1): sizes, shapes, what the action decides, and what a residual prediction is."""

import pytest
import torch
from support.networks import ACTIONS, ODD, PONG, SMALL, VECTOR, gradient_of, pictures
from torch import nn

from corrtool.environment_model.network import (
    FoldedModel,
    Prediction,
    build_environment_model,
    resolve_architecture,
)
from corrtool.states import StateSpec

pytestmark = pytest.mark.usefixtures("seeded")


class TestFullSize:
    """The numbers of parameters at the paper's size: 84×84, four frames, six actions."""

    @pytest.mark.parametrize("action_block", [5, 0])
    def test_environment_model_gets_the_action_in_its_fifth_block(self, action_block: int) -> None:
        model = build_environment_model(
            PONG, ACTIONS, filters=64, blocks=9, action_block=action_block
        )
        widths = [
            [layer.in_channels for layer in block.modules() if isinstance(layer, nn.Conv2d)]
            for half in ("blocks_before_action", "blocks_with_action")
            for block in model.get_submodule(half).children()
        ]
        assert widths == [[256, 256]] * 4 + [[262, 262]] * 5

    def test_environment_model_can_have_the_action_elsewhere(self) -> None:
        model = build_environment_model(PONG, ACTIONS, filters=64, blocks=9, action_block=1)
        before, with_action = (
            list(model.get_submodule(half).children())
            for half in ("blocks_before_action", "blocks_with_action")
        )
        assert (len(before), len(with_action)) == (0, 9)


class TestShapesAndRanges:
    @pytest.mark.parametrize("spec", [ODD, SMALL], ids=["83x85", "32x36"])
    @pytest.mark.parametrize("skips", [False, True])
    def test_environment_model(self, spec: StateSpec, skips: bool) -> None:
        model = build_environment_model(spec, ACTIONS, filters=4, blocks=3, skips=skips)
        predicted = model(pictures(spec), torch.tensor([0, 5]))
        assert predicted.shape == (2, *spec.state_shape)
        assert -1.0 <= predicted.min() < predicted.max() <= 1.0


class TestFoldedEnvironmentModel:
    """Two by two pixels as channels."""

    @pytest.mark.parametrize("prediction", ["residual", "state"])
    def test_sides_need_not_be_even(self, prediction: Prediction) -> None:
        model = build_environment_model(ODD, ACTIONS, "folded", filters=2, prediction=prediction)
        assert isinstance(model, FoldedModel)
        predicted = model(pictures(ODD), torch.tensor([0, 5]))
        assert predicted.shape == (2, *ODD.state_shape)
        assert -1.0 <= predicted.min() <= predicted.max() <= 1.0

    def test_at_first_it_predicts_that_nothing_moves(self) -> None:
        model = build_environment_model(SMALL, ACTIONS, "folded", filters=2, prediction="residual")
        states = pictures(SMALL)
        frames = SMALL.frames_of(states)
        predicted = SMALL.frames_of(model(states, torch.tensor([0, 5])))
        assert torch.equal(predicted, torch.cat([frames[:, 1:], frames[:, -1:]], dim=1))

    def test_what_it_puts_out_stands_where_it_looked(self) -> None:
        """With an identity for a resnet the newest frame comes back, pixel for pixel."""
        spec = StateSpec("image", (1, 32, 36), 2)
        model = build_environment_model(spec, 1, "folded", filters=2, prediction="residual")
        assert isinstance(model, FoldedModel)
        model.resnet = Newest()  # type: ignore[assignment]
        states = pictures(spec) / 4
        newest = model(states, torch.zeros(2, dtype=torch.int64))[:, 1]
        torch.testing.assert_close(newest, 3 * states[:, 1])  # itself, and twice the change

    def test_small_pictures_are_folded_where_that_is_said(self) -> None:
        spec = StateSpec("image", (3, 11, 10))
        channels = {}
        for architecture in ("folded", "resnet", "auto"):
            model = build_environment_model(spec, ACTIONS, architecture, filters=2)
            states = pictures(spec)
            assert model(states, torch.zeros(2, dtype=torch.int64)).shape == states.shape
            channels[architecture] = next(model.parameters()).shape[1]
        assert channels == {"folded": 12 + ACTIONS, "resnet": 3 + ACTIONS, "auto": 3 + ACTIONS}

    @pytest.mark.parametrize(
        ("side", "architecture"), [(10, "resnet"), (15, "resnet"), (16, "folded"), (32, "resnet")]
    )
    def test_auto_of_small_pictures_goes_by_their_shorter_side(
        self, side: int, architecture: str
    ) -> None:
        assert resolve_architecture(StateSpec("image", (1, side, 40)), "auto") == architecture


class Newest(nn.Module):
    """Of two folded frames and one plane of an action the second frame."""

    def forward(self, folded: torch.Tensor) -> torch.Tensor:
        assert folded.shape[1] == 4 + 4 + 1
        return folded[:, 4:8]


class TestWhatDoesNotFit:
    @pytest.mark.parametrize("spec, architecture", [(PONG, "mlp"), (VECTOR, "resnet")])
    def test_environment_models(self, spec: StateSpec, architecture: str) -> None:
        with pytest.raises(ValueError, match=architecture):
            build_environment_model(spec, ACTIONS, architecture)

    @pytest.mark.parametrize("action_block", [-1, 3])
    def test_an_action_block_that_does_not_exist(self, action_block: int) -> None:
        with pytest.raises(ValueError, match="block"):
            build_environment_model(SMALL, ACTIONS, filters=4, blocks=2, action_block=action_block)


class TestTheAction:
    @pytest.mark.parametrize("spec", [SMALL, VECTOR], ids=["image", "vector"])
    def test_decides_what_the_environment_model_predicts(self, spec: StateSpec) -> None:
        model = build_environment_model(spec, ACTIONS, filters=4, blocks=3)
        state = pictures(spec, 1).expand(ACTIONS, *spec.state_shape)
        predicted = model(state, torch.arange(ACTIONS)).flatten(1)
        distances = torch.cdist(predicted, predicted)[~torch.eye(ACTIONS, dtype=torch.bool)]
        assert distances.min() > 0.005 * predicted.norm(dim=1).mean()

    def test_reaches_the_residual_branches(self) -> None:
        """A constant plane is just what InstanceNorm subtracts.

        The model's own normalisation must let it through.
        """
        model = build_environment_model(SMALL, ACTIONS, filters=4, blocks=3)
        branches: list[torch.Tensor] = []
        model.get_submodule("blocks_with_action.0.layers").register_forward_hook(
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
        weight, bias = (model.get_parameter(f"decoder.out.1.{name}") for name in ("weight", "bias"))
        torch.nn.init.zeros_(weight)
        torch.nn.init.constant_(bias, -1.0)  # a change below black everywhere
        black = torch.full((2, *spec.state_shape), -1.0)
        predicted = model(black, torch.tensor([0, 5]))
        assert torch.equal(predicted, black)
        (predicted - 1.0).square().mean().backward()
        assert gradient_of(bias).item() < 0  # descent makes it brighter

    def test_a_single_frame_is_predicted_as_a_change(self) -> None:
        spec = StateSpec("image", (1, 32, 36), 1)
        model = build_environment_model(
            spec, ACTIONS, filters=2, blocks=1, prediction="residual"
        ).eval()
        torch.nn.init.zeros_(model.get_parameter("decoder.out.1.weight"))
        states = pictures(spec)
        assert torch.equal(model(states, torch.tensor([0, 5])), states)
