"""Which range a state is in, and in which order its frames stand."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.learner import CorrespondenceLearner
from corrtool.correspondence.model import Correspondence
from corrtool.environment_model.network import ScaledModel
from corrtool.environment_model.validation import _prediction, prediction_errors
from corrtool.layers import freeze
from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.memory.rows import FIELDS
from corrtool.settings.stages import LearnCorrSettings
from corrtool.state_scaling import StateScaling, raw_to_q
from corrtool.states import MAX_FRAMES_OR_PIXELS, StateSpec

CPU = torch.device("cpu")
PICTURES = StateSpec("image", (1, 32, 32), 1)
ALL_BYTES = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)


class TestImageRanges:
    scaling = StateScaling(StateSpec("image", (1, 16, 16)))

    def test_model_range_is_exactly_minus_one_to_one(self) -> None:
        model = self.scaling.raw_to_model(ALL_BYTES)
        assert model.dtype == torch.float32
        assert (model.min().item(), model.max().item()) == (-1.0, 1.0)

    def test_q_range_is_exactly_zero_to_one(self) -> None:
        for q in (self.scaling.raw_to_q(ALL_BYTES), raw_to_q(self.scaling.spec, ALL_BYTES)):
            assert q.dtype == torch.float32
            assert (q.min().item(), q.max().item()) == (0.0, 1.0)

    def test_both_ways_to_the_q_range_agree(self) -> None:
        through_model = self.scaling.model_to_q(self.scaling.raw_to_model(ALL_BYTES))
        assert (through_model.min().item(), through_model.max().item()) == (0.0, 1.0)
        torch.testing.assert_close(
            through_model, self.scaling.raw_to_q(ALL_BYTES), rtol=0, atol=1e-7
        )

    def test_all_256_values_come_back_byte_for_byte(self) -> None:
        assert torch.equal(
            self.scaling.model_to_raw(self.scaling.raw_to_model(ALL_BYTES)), ALL_BYTES
        )

    def test_back_to_raw_rounds_to_the_nearest_value_and_clamps(self) -> None:
        step = 2.0 / 255.0
        model = torch.tensor([-1.5, -1.0 + 0.4 * step, -1.0 + 0.6 * step, 1.0 - 0.4 * step, 2.0])
        assert self.scaling.model_to_raw(model).tolist() == [0, 0, 1, 255, 255]

    def test_the_raw_states_stay_as_they_were(self) -> None:
        raw = ALL_BYTES.clone()
        self.scaling.raw_to_model(raw)
        self.scaling.raw_to_q(raw)
        assert torch.equal(raw, ALL_BYTES)

    def test_model_to_q_is_differentiable(self) -> None:
        model = torch.zeros(3, requires_grad=True)
        (gradient,) = torch.autograd.grad(self.scaling.model_to_q(model).sum(), model)
        assert gradient.tolist() == [0.5, 0.5, 0.5]


class TestVectorRanges:
    spec = StateSpec("vector", (3,))
    # Column means 2, 7, -1; deviations 1 (not unbiased √2), 0 → 1, 3.
    raw = torch.tensor([[1.0, 7.0, -4.0], [3.0, 7.0, 2.0]])

    def test_model_range_is_standardised_with_the_states_own_statistics(self) -> None:
        scaling = StateScaling.from_states(self.spec, self.raw)
        assert scaling.raw_to_model(self.raw).tolist() == [[-1.0, 0.0, -1.0], [1.0, 0.0, 1.0]]

    def test_a_constant_coordinate_is_only_shifted(self) -> None:
        scaling = StateScaling.from_states(self.spec, self.raw)
        assert scaling.raw_to_model(torch.tensor([[2.0, 9.0, -1.0]])).tolist() == [[0.0, 2.0, 0.0]]

    def test_what_hardly_changes_is_standardised_and_what_does_less_is_not(self) -> None:
        raw = torch.tensor([[1e-4, 1e-7, 0.0], [-1e-4, -1e-7, 0.0]])
        scaling = StateScaling.from_states(self.spec, raw)
        assert scaling.deviation.tolist() == pytest.approx([1e-4, 1.0, 1.0])

    def test_pictures_have_no_statistics(self) -> None:
        scaling = StateScaling.from_states(PICTURES, ALL_BYTES)
        assert scaling.spec == PICTURES and not scaling.state_dict()

    def test_round_trip(self) -> None:
        raw = torch.from_numpy(
            np.random.default_rng(0).normal([0, 50, -3], [1e-2, 0, 9], (100, 3))
        ).float()
        scaling = StateScaling.from_states(self.spec, raw)
        torch.testing.assert_close(scaling.model_to_raw(scaling.raw_to_model(raw)), raw)

    def test_a_q_function_gets_the_tasks_own_units(self) -> None:
        scaling = StateScaling.from_states(self.spec, self.raw)
        torch.testing.assert_close(scaling.model_to_q(scaling.raw_to_model(self.raw)), self.raw)
        assert torch.equal(scaling.raw_to_q(self.raw), self.raw)

    def test_the_statistics_travel_with_the_weights(self) -> None:
        scaling = StateScaling.from_states(self.spec, self.raw)
        copy = StateScaling(self.spec)
        copy.load_state_dict(scaling.state_dict())
        assert torch.equal(copy.raw_to_model(self.raw), scaling.raw_to_model(self.raw))

    def test_without_statistics_nothing_changes(self) -> None:
        assert torch.equal(StateScaling(self.spec).raw_to_model(self.raw), self.raw)


class TestStateSpec:
    def test_shape_of_a_state(self) -> None:
        assert StateSpec("image", (3, 20, 30), 4).state_shape == (12, 20, 30)
        assert StateSpec("vector", (5,), 2).state_shape == (10,)

    def test_frames_are_bytes_for_images_and_floats_for_vectors(self) -> None:
        assert StateSpec("image", (1, 2, 2)).frame_dtype == torch.uint8
        assert StateSpec("vector", (2,)).frame_dtype == torch.float32

    def test_frames_stack_along_the_channels_oldest_first(self) -> None:
        spec = StateSpec("image", (2, 1, 1), 3)
        frames = torch.tensor([[[10, 11], [20, 21], [30, 31]]], dtype=torch.uint8).reshape(
            1, 3, 2, 1, 1
        )
        assert spec.stack_frames(frames).flatten().tolist() == [10, 11, 20, 21, 30, 31]

    def test_vectors_stack_end_to_end(self) -> None:
        frames = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
        assert StateSpec("vector", (2,), 2).stack_frames(frames).tolist() == [
            [1, 2, 3, 4],
            [5, 6, 7, 8],
        ]

    def test_stack_order_says_which_frame_stands_where(self) -> None:
        spec = StateSpec("image", (1, 1, 1), 4, stack_order=(1, 3, 0, 2))
        frames = torch.tensor([[10, 20, 30, 40]], dtype=torch.uint8).reshape(1, 4, 1, 1, 1)
        assert spec.stack_frames(frames).flatten().tolist() == [20, 40, 10, 30]

    def test_the_order_is_oldest_first_unless_it_is_given(self) -> None:
        assert StateSpec("vector", (2,), 3).stack_order == (0, 1, 2)

    @pytest.mark.parametrize("order", [(0, 0), (1, 2), (0,), (0, 1, 2)])
    def test_an_order_that_is_no_permutation_is_refused(self, order: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="permutation"):
            StateSpec("vector", (2,), 2, stack_order=order)

    @pytest.mark.parametrize(
        ("kind", "frame_shape", "stack"),
        [
            ("image", (1, 84), 4),
            ("image", (84,), 1),
            ("image", (1, 1, 84, 84), 4),
            ("vector", (2, 3), 1),
            ("vector", (), 1),
            ("vector", (0,), 1),
            ("vector", (-2,), 1),
            ("vector", (2,), 0),
            ("image", (1, 0, 84), 4),
            ("vector", (MAX_FRAMES_OR_PIXELS + 1,), 1),
            ("image", (1, 84, MAX_FRAMES_OR_PIXELS + 1), 4),
        ],
    )
    def test_a_shape_that_no_state_has_is_refused(
        self, kind: str, frame_shape: tuple[int, ...], stack: int
    ) -> None:
        with pytest.raises(ValueError, match="a state of"):
            StateSpec(kind, frame_shape, stack)

    def test_the_largest_shape_is_a_state(self) -> None:
        assert StateSpec("vector", (MAX_FRAMES_OR_PIXELS,)).state_shape == (MAX_FRAMES_OR_PIXELS,)

    @pytest.mark.parametrize(
        ("spec", "kind"),
        [
            (StateSpec("image", (3, 31, 84)), "grid"),
            (StateSpec("image", (3, 84, 31)), "grid"),
            (StateSpec("image", (3, 32, 32)), "image"),
            (StateSpec("vector", (3,)), "vector"),
        ],
    )
    def test_pictures_with_a_short_side_are_grids(self, spec: StateSpec, kind: str) -> None:
        assert spec.settings_kind == kind
        assert spec.is_grid is (kind == "grid")

    @pytest.mark.parametrize(
        ("spec", "text"),
        [
            (StateSpec("vector", (3,), 2), "3 numbers, 2 stacked"),
            (StateSpec("image", (1, 84, 80), 4), "84 × 80 pixels, 1 channel, 4 stacked"),
            (StateSpec("image", (2, 10, 9)), "10 × 9 pixels, 2 channels, 1 stacked"),
        ],
    )
    def test_says_what_it_is(self, spec: StateSpec, text: str) -> None:
        assert str(spec) == text

    def test_frames_of_a_state_are_those_it_was_made_of(self) -> None:
        spec = StateSpec("image", (1, 1, 2), 4, stack_order=(1, 3, 0, 2))
        frames = torch.arange(16, dtype=torch.uint8).reshape(2, 4, 1, 1, 2)
        assert torch.equal(spec.frames_of(spec.stack_frames(frames)), frames)

    def test_json_has_lists(self) -> None:
        value = StateSpec("image", (1, 84, 80), 2).to_json()
        assert value == {
            "kind": "image", "frame_shape": [1, 84, 80], "stack": 2, "stack_order": [0, 1]
        }  # fmt: skip

    def test_an_unknown_kind_is_refused(self) -> None:
        with pytest.raises(ValueError, match="sound"):
            StateSpec("sound", (2,))

    @pytest.mark.parametrize(
        "spec",
        [
            StateSpec("image", (1, 84, 84), 4),
            StateSpec("image", (3, 20, 30), 4, (1, 3, 0, 2)),
            StateSpec("vector", (7,)),
        ],
    )
    def test_json_round_trip(self, spec: StateSpec) -> None:
        assert StateSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec

    @pytest.mark.parametrize(
        "change",
        [
            {"kind": "sound"},
            {"frame_shape": None},
            {"frame_shape": ["wide"]},
            {"stack": "many"},
            {"stack": None},
            {"stack_order": [0, 0, 1, 2]},
            {"stack_order": 3},
        ],
    )
    def test_json_that_does_not_fit_is_a_value_error(self, change: dict[str, Any]) -> None:
        value = StateSpec("image", (1, 84, 84), 4).to_json() | change
        with pytest.raises(ValueError):
            StateSpec.from_json(value)

    @pytest.mark.parametrize("field", ["kind", "frame_shape", "stack", "stack_order"])
    def test_json_that_lacks_a_field_is_a_value_error(self, field: str) -> None:
        value = StateSpec("vector", (2,)).to_json()
        del value[field]
        with pytest.raises(ValueError):
            StateSpec.from_json(value)

    def test_json_that_is_no_table_is_a_value_error(self) -> None:
        no_tables: tuple[Any, ...] = (None, [], 3)
        for value in no_tables:
            with pytest.raises(ValueError):
                StateSpec.from_json(value)


class RecordingNetwork(nn.Module):
    """An environment model that predicts "nothing changes".

    It remembers the range of what it is given.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ranges: list[tuple[float, float]] = []

    def forward(self, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        self.ranges.append((states.min().item(), states.max().item()))
        return states


def memory_of(frames: torch.Tensor, spec: StateSpec) -> ReplayMemory:
    """One lane that saw ``frames``, one after the other, in one episode."""
    fields: dict[str, np.ndarray] = {
        name: np.zeros(len(frames), dtype) for name, dtype in FIELDS.items()
    }
    fields["valid"][:-1] = True
    fields["episode_steps"][:] = np.arange(len(frames))
    return ReplayMemory.from_rows(MemoryRows(spec, 1, frames.numpy(), fields), CPU)


class TestTheEnvironmentModelGetsOneRangeAtBothCallSites:
    """The authors trained F on [-1, 1] and fed it [0, 1] inside the model loss."""

    def range_in_training(
        self, model: ScaledModel, frames: torch.Tensor
    ) -> list[tuple[float, float]]:
        memory = memory_of(frames, model.scaling.spec)
        rows = memory.transition_rows()
        predicted, next_states = _prediction(model, memory, rows)
        prediction_errors(model, memory, rows, 1)
        assert (next_states.min().item(), next_states.max().item()) == (
            predicted.min().item(),
            predicted.max().item(),
        )
        assert isinstance(model.network, RecordingNetwork)
        return model.network.ranges

    def range_in_the_model_loss(
        self, model: ScaledModel, frames: torch.Tensor
    ) -> list[tuple[float, float]]:
        spec = model.scaling.spec
        kind = GeneratorDescription("rotation" if spec.kind == "image" else "linear")
        correspondence = Correspondence(model.scaling, model.scaling, kind)
        if spec.kind == "vector":  # the identity, as an unturned rotation is
            for generator in (correspondence.target_to_source, correspondence.source_to_target):
                nn.init.eye_(generator.get_parameter("layer.weight"))
        settings = LearnCorrSettings(lambda_cyc=0, lambda_q=0, lambda_m=1, discriminator_filters=2)
        random = np.random.default_rng(0)
        freeze(model)
        learner = CorrespondenceLearner(correspondence, None, model, settings, 1, random, CPU)
        learner.update(frames, frames, torch.zeros(len(frames), dtype=torch.int64), frames)
        assert isinstance(model.network, RecordingNetwork)
        return model.network.ranges

    def test_for_images(self) -> None:
        frames = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8)
        frames[:, 0, 0, 0], frames[:, 0, 0, 1] = 0, 255  # every picture has both extremes
        scaling = StateScaling(PICTURES)
        training = self.range_in_training(ScaledModel(RecordingNetwork(), scaling), frames)
        learning = self.range_in_the_model_loss(ScaledModel(RecordingNetwork(), scaling), frames)
        assert len(training) == 2  # the training step and its validation
        assert len(learning) == 1
        for seen in [*training, *learning]:
            assert seen == pytest.approx((-1.0, 1.0), abs=1e-5)

    def test_for_vectors(self) -> None:
        spec = StateSpec("vector", (2,))
        frames = torch.tensor(
            [[100.0, 7.0], [300.0, 8.0], [100.0, 7.0], [300.0, 8.0], [100.0, 7.0]]
        )
        scaling = StateScaling.from_states(
            spec, frames[:4]
        )  # means 200 and 7.5, deviations 100 and 0.5
        training = self.range_in_training(ScaledModel(RecordingNetwork(), scaling), frames)
        learning = self.range_in_the_model_loss(ScaledModel(RecordingNetwork(), scaling), frames)
        assert training == [(-1.0, 1.0)] * 2
        assert learning == [(-1.0, 1.0)]
