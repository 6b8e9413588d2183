"""Which records are held out, where the state changes most, and the objective of F by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corrtool.environment_model.network import ScaledModel
from corrtool.environment_model.objective import ModelObjective, build_objective
from corrtool.environment_model.validation import (
    _VALIDATION_BATCH,
    hold_out,
    most_changed_rows,
    prediction_errors,
)
from corrtool.errors import ArtifactError
from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.memory.rows import FIELDS
from corrtool.runtime.precision import Precision
from corrtool.runtime.ranks import ONE_PROCESS
from corrtool.settings.stages import TrainModelSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

CPU = torch.device("cpu")
SPEC = StateSpec("vector", (2,))


def memory_of(frames: np.ndarray) -> ReplayMemory:
    """One episode that shows ``frames``, with action 1 at every other step."""
    fields: dict[str, NDArray[Any]] = {
        name: np.zeros(len(frames), dtype) for name, dtype in FIELDS.items()
    }
    fields["valid"][:-1], fields["episode_steps"][:] = True, np.arange(len(frames))
    fields["actions"][1::2] = 1
    return ReplayMemory.from_rows(MemoryRows(SPEC, 1, frames.astype(np.float32), fields), CPU)


class TestHoldOut:
    memory = memory_of(np.zeros((21, 2)))  # 20 transitions

    def test_every_row_is_of_one_of_the_parts(self) -> None:
        training, validation = hold_out(self.memory, 0.28, seed=0)
        assert len(validation) == 6 and len(training) == 14
        assert sorted([*training, *validation]) == list(range(20))
        assert (np.diff(training) > 0).all() and (np.diff(validation) > 0).all()

    def test_the_seed_decides(self) -> None:
        parts = [hold_out(self.memory, 0.25, seed)[1].tolist() for seed in (1, 1, 2)]
        assert parts[0] == parts[1] != parts[2]

    def test_both_parts_hold_something(self) -> None:
        training, validation = hold_out(memory_of(np.zeros((3, 2))), 0.5, seed=0)
        assert len(training) == len(validation) == 1
        for frames, share in ((3, 0.1), (2, 0.9), (1, 0.5)):
            with pytest.raises(ArtifactError, match=f"only {frames - 1} usable"):
                hold_out(memory_of(np.zeros((frames, 2))), share, seed=0)

    @pytest.mark.parametrize("ends", ["terminated", "truncated"])
    def test_of_episodes_of_one_step_more_would_not_help(self, ends: str) -> None:
        memory = memory_of(np.zeros((6, 2)))
        memory.fields[ends][:], memory.fields["episode_steps"][:] = True, 0
        with pytest.raises(ArtifactError, match="every episode ended with its first step") as error:
            hold_out(memory, 0.5, seed=0)
        assert "collect" not in str(error.value)


def test_the_greatest_change_of_each_stretch() -> None:
    frames = np.zeros((9, 2))
    frames[2:] += 1  # both numbers change from row 1
    frames[3:, 0] += 1  # and one from row 2
    frames[6:] += 1  # both from row 5
    frames[8:, 0] += 1  # and one from row 7
    memory = memory_of(frames)
    assert most_changed_rows(memory, np.arange(8), 2).tolist() == [1, 5]
    assert most_changed_rows(memory, np.array([0, 4, 7]), 1).tolist() == [7]
    assert most_changed_rows(memory, np.array([0, 2]), 5).tolist() == [0, 2]


class Adds(nn.Module):
    """Predicts that the first number grows by a half; knows whether it is in training."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.tensor([0.5, 0.0]))
        self.seen: list[tuple[int, bool]] = []

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        self.seen.append((len(states), self.training))
        return states + self.step


def test_errors_are_means_over_all_batches() -> None:
    count = _VALIDATION_BATCH + 3
    frames = np.zeros((count + 1, 2))
    frames[:, 0] = np.arange(count + 1)  # grows by 1 a step
    model = ScaledModel(Adds(), StateScaling(SPEC))
    advanced: list[int] = []
    model.train()
    found = prediction_errors(model, memory_of(frames), np.arange(count), 2, advanced.append)
    assert model.network.seen == [(_VALIDATION_BATCH, False), (3, False)] and model.training
    assert advanced == [_VALIDATION_BATCH, 3] and found["records"] == count
    assert (found["l1"], found["l1_persistence"]) == pytest.approx((0.25, 0.5))
    assert (found["l1_changing"], found["l1_newest"]) == pytest.approx((0.5, 0.5))
    assert found["changing_share"] == pytest.approx(0.5)
    assert [part["action"] for part in found["by_action"]] == [0, 1]
    assert [part["l1_newest_persistence"] for part in found["by_action"]] == pytest.approx([1, 1])


@pytest.mark.parametrize(("loss", "expected"), [("mse", (1 + 9) / 2), ("l1", (1 + 3) / 2)])
def test_the_objective_is_in_the_model_range(loss: Literal["mse", "l1"], expected: float) -> None:
    scaling = StateScaling(SPEC, torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0]))
    model = ScaledModel(Adds(), scaling)
    settings = replace(TrainModelSettings(), loss=loss)
    # (3, 2) is (1, 0), predicted (1.5, 0); (2, 14) is (0.5, 3): errors 1 and 3.
    states, following = torch.tensor([[3.0, 2.0]]), torch.tensor([[2.0, 14.0]])
    for objective in (
        ModelObjective(model, settings, Precision(torch.float32, CPU)),
        build_objective(model, settings, CPU, ONE_PROCESS),
    ):
        value = objective(states, torch.tensor([0]), following)
        assert value.item() == pytest.approx(expected)
