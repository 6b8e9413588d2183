"""Mean and deviation of what a memory holds: which states are looked at, and what never changes."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from corrtool.correspondence.statistics import MIN_DEVIATION, element_statistics
from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.memory.rows import FIELDS, Rows
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec


def memory_of(spec: StateSpec, frames: np.ndarray) -> ReplayMemory:
    fields: dict[str, NDArray[Any]] = {
        name: np.zeros(len(frames), dtype) for name, dtype in FIELDS.items()
    }
    return ReplayMemory.from_rows(MemoryRows(spec, 1, frames, fields), torch.device("cpu"))


def test_what_never_changes_has_the_least_deviation_whatever_it_is() -> None:
    """The difference of two sums may be less than zero by rounding, and its root no number."""
    spec = StateSpec("image", (1, 16, 16))
    frames = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(7, axis=0)
    mean, deviation = element_statistics(
        memory_of(spec, frames), np.arange(7), scaling := StateScaling(spec)
    )
    torch.testing.assert_close(mean, scaling.raw_to_model(torch.from_numpy(frames[0])))
    assert (deviation == torch.tensor(MIN_DEVIATION)).all()


def test_states_from_all_over_a_large_memory_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, count = StateSpec("vector", (2,)), 5_000
    frames = np.stack([np.arange(count), np.arange(count) % 2], axis=1).astype(np.float32)
    memory = memory_of(spec, frames)
    looked_at: list[Rows] = []
    states_of = memory.states

    def states(rows: Rows) -> torch.Tensor:
        looked_at.append(rows)
        return states_of(rows)

    monkeypatch.setattr(memory, "states", states)
    rows = np.arange(0, count, 2)  # the even ones
    mean, deviation = element_statistics(memory, rows, StateScaling(spec))
    (rows,) = looked_at
    assert len(rows) == len(set(rows.tolist())) == 2_000 and (rows % 2 == 0).all()
    assert (rows[0], rows[-1]) == (0, count - 2)
    # Numbers from 0 to L, evenly spaced, have the mean L / 2 and the deviation L / √12.
    assert mean.tolist() == pytest.approx([(count - 2) / 2, 0.0], abs=1.0)
    assert deviation.tolist() == pytest.approx([count / 12**0.5, MIN_DEVIATION], rel=2e-3)
