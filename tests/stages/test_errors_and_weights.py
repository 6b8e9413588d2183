"""What train-model says of F, and how learn-corr weighs pixels.

The numbers beside them were worked out by hand.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from corrtool.correspondence.statistics import MIN_DEVIATION, element_statistics
from corrtool.environment_model.network import ScaledModel
from corrtool.environment_model.validation import prediction_errors
from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.memory.rows import FIELDS
from corrtool.stages.train_model import _warn
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

SPEC = StateSpec("image", (1, 16, 16), 2)


class HalfWay(nn.Module):
    """A model that knows the older frame.

    Of the newest it predicts nothing but action 1, by which every pixel becomes half white.
    """

    def forward(self, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        frames = SPEC.frames_of(states)
        newest = torch.where(
            actions[:, None, None, None] == 1, frames[:, -1].clamp(min=0.0), frames[:, -1]
        )
        return SPEC.stack_frames(torch.stack([frames[:, -1], newest], dim=1))


def test_errors_of_everything_of_what_changes_and_of_the_newest_frame() -> None:
    frames = torch.zeros(
        4, 1, 16, 16, dtype=torch.uint8
    )  # black, and a white pixel that appears twice
    frames[2, 0, 3, 3] = frames[3, 0, 3, 3] = frames[3, 0, 4, 4] = 255
    fields: dict[str, np.ndarray] = {name: np.zeros(4, dtype) for name, dtype in FIELDS.items()}
    fields["valid"][:3], fields["episode_steps"][:], fields["actions"][:] = (
        True,
        np.arange(4),
        [0, 0, 1, 0],
    )
    memory = ReplayMemory.from_rows(
        MemoryRows(SPEC, 1, frames.numpy(), fields), torch.device("cpu")
    )
    advanced: list[int] = []
    model = ScaledModel(HalfWay(), StateScaling(SPEC))
    errors = prediction_errors(model, memory, np.array([1, 2]), 3, advanced.append)
    assert sum(advanced) == 2

    # s_1 → s_2: the newest frame gains one white pixel, a change of 2; F with action 0 misses it.
    # The older frame stays.
    # s_2 → s_3: the older frame gains that pixel, which F knows; the newest gains another, where F
    # with action 1 says 0, half of the way, as it does of 254 pixels that stay black.
    elements = 2 * 2 * 256
    assert errors["l1"] == pytest.approx((2 + 1 + 254) / elements)
    assert errors["l1_persistence"] == pytest.approx((2 + 2 + 2) / elements)
    assert errors["changing_share"] == pytest.approx(3 / elements)
    assert errors["l1_changing"] == pytest.approx((2 + 0 + 1) / 3)
    assert errors["l1_changing_persistence"] == pytest.approx(2)
    assert errors["l1_newest"] == pytest.approx((2 + 1) / 2)
    assert [a["l1_newest"] for a in errors["by_action"]] == pytest.approx([2, 1, 0])
    assert [a["l1_newest_persistence"] for a in errors["by_action"]] == pytest.approx([2, 2, 0])


@pytest.mark.parametrize(("error", "warned"), [(0.30, False), (0.31, True), (0.32, True)])
def test_a_model_that_is_no_better_than_persistence_is_named(error: float, warned: bool) -> None:
    said: list[str] = []
    context: Any = SimpleNamespace(console=SimpleNamespace(say=said.append))
    errors: Any = {"l1_newest": error, "l1_newest_persistence": 0.31}
    _warn(context, errors, {})
    assert bool(said) is warned
    assert not warned or "--gradient-steps" in said[0]
    said.clear()
    good: Any = {"l1_newest": 0.1, "l1_newest_persistence": 0.31}
    _warn(context, good, {"validation_by_memory": {"source_memory": good, "random_memory": errors}})
    assert bool(said) is warned
    assert not warned or "in the random memory, F" in said[0]


def test_what_is_usual_comes_from_the_memory() -> None:
    frames = torch.zeros(4, 1, 16, 16, dtype=torch.uint8)
    frames[1::2, 0, 3, 3] = 255  # every other time black and white: mean 0, deviation 1
    frames[:, 0, 5, 5] = 255  # never changes
    spec = StateSpec("image", (1, 16, 16), 1)
    fields: dict[str, np.ndarray] = {name: np.zeros(4, dtype) for name, dtype in FIELDS.items()}
    memory = ReplayMemory.from_rows(
        MemoryRows(spec, 1, frames.numpy(), fields), torch.device("cpu")
    )
    mean, deviation = element_statistics(memory, np.arange(4), StateScaling(spec))
    assert mean.shape == deviation.shape == spec.state_shape
    assert (mean[0, 3, 3].item(), mean[0, 5, 5].item(), mean[0, 0, 0].item()) == pytest.approx(
        (0.0, 1.0, -1.0)
    )
    assert (deviation[0, 3, 3].item(), deviation[0, 5, 5].item()) == pytest.approx(
        (1.0, MIN_DEVIATION)
    )
