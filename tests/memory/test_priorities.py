"""Priorities by hand, the scaling of a memory's states, and how much room they take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.memory.priorities import MIN_ERROR, Priorities
from corrtool.memory.rows import FIELDS, ring_bytes
from corrtool.runs.checkpoints import load_checkpoint, save_checkpoint
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

CPU = torch.device("cpu")


class Fixed(np.random.Generator):
    """A generator whose numbers between 0 and 1 are all the same."""

    def __init__(self, value: float) -> None:
        super().__init__(np.random.PCG64(0))
        self._value = value

    def random(self, size: Any = None, *_: Any, **__: Any) -> Any:
        return np.full(size, self._value)


def by_hand() -> Priorities:
    """Rows 0 to 3, of the priorities 4, 1, 1 and 2, exponent 1."""
    priorities = Priorities(6, 1.0)
    errors = np.array([-4.0 + MIN_ERROR, 1.0 - MIN_ERROR, 1.0 - MIN_ERROR, 2.0 - MIN_ERROR])
    priorities.set_errors(np.arange(4), errors.astype(np.float32))
    return priorities


class TestPriorities:
    @pytest.mark.parametrize(("value", "rows"), [(0.25, [0, 0, 1, 3]), (0.75, [0, 0, 2, 3])])
    def test_one_is_drawn_from_each_equal_part(self, value: float, rows: list[int]) -> None:
        # The sums are 4, 5, 6, 8, and the four parts 2 long: at 2k + 2·value.
        chosen, weights = by_hand().choose(np.arange(4), 4, Fixed(value), 0.0)
        assert chosen.tolist() == rows
        assert weights.dtype == np.float32 and weights.tolist() == [1.0] * 4

    def test_rounding_does_not_lead_beyond_the_last(self) -> None:
        assert by_hand().choose(np.arange(4), 4, Fixed(1.0), 0.0)[0][-1] == 3

    def test_what_is_chosen_often_counts_less(self) -> None:
        chosen, weights = by_hand().choose(np.arange(4), 4, Fixed(0.25), 1.0)
        # N P is 2, ½, ½ and 1: their inverses are ½, ½, 2 and 1, as a share of the largest.
        assert chosen.tolist() == [0, 0, 1, 3]
        assert weights.tolist() == pytest.approx([0.25, 0.25, 1.0, 0.5])

    def test_a_point_between_two_rows_is_of_the_second(self) -> None:
        # The points are 0, 2, 4 and 6; row 1 ends at 4, row 3 at 6, and row 0 has no room at all.
        priorities = Priorities(5, 1.0)
        priorities.load_state({"scaled": [0, 4, 1, 1, 2], "largest": 4})
        assert priorities.state()["scaled"].dtype == np.float32
        assert priorities.choose(np.arange(5), 4, Fixed(0.0), 0.0)[0].tolist() == [1, 1, 2, 4]

    def test_small_priorities_count_beside_large_ones(self) -> None:
        priorities = Priorities(2, 1.0)
        priorities.load_state({"scaled": [2**24, 1], "largest": 2**24})
        # In float32 the sum of both would be that of the first alone.
        nearly_all = (2**24 + 0.5) / (2**24 + 1)
        assert priorities.choose(np.arange(2), 1, Fixed(nearly_all), 0.0)[0].tolist() == [1]

    def test_only_candidates_are_chosen(self) -> None:
        chosen, _ = by_hand().choose(np.array([1, 3]), 30, np.random.default_rng(0), 0.0)
        assert np.bincount(chosen, minlength=4).tolist() == [0, 10, 0, 20]

    def test_new_transitions_get_the_largest_so_far(self) -> None:
        priorities = Priorities(3, 0.5)
        priorities.add(np.array([0]))
        assert priorities.state()["scaled"].tolist() == [1.0, 0.0, 0.0]
        priorities.set_errors(np.array([0]), np.array([9.0 - MIN_ERROR], np.float32))
        priorities.set_errors(np.array([0]), np.array([0.25 - MIN_ERROR], np.float32))
        priorities.add(slice(1, 2))
        assert priorities.state()["scaled"].tolist() == pytest.approx([0.5, 3.0, 0.0])
        assert priorities.state()["scaled"].dtype == np.float32

    def test_go_on_from_a_checkpoint(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "c", by_hand().state())
        resumed = Priorities(6, 1.0)
        resumed.load_state(load_checkpoint(tmp_path / "c"))
        resumed.add(np.array([5]))
        assert resumed.state()["scaled"].tolist() == pytest.approx([4, 1, 1, 2, 0, 4], abs=1e-6)


def memory_of(spec: StateSpec, frames: np.ndarray) -> ReplayMemory:
    fields: dict[str, NDArray[Any]] = {
        name: np.zeros(len(frames), dtype) for name, dtype in FIELDS.items()
    }
    return ReplayMemory.from_rows(MemoryRows(spec, 1, frames, fields), CPU)


class TestScaling:
    def test_vectors_are_standardised_by_the_given_rows(self) -> None:
        memory = memory_of(StateSpec("vector", (1,)), np.array([[1.0], [3.0], [90.0]], np.float32))
        scaling = memory.scaling(np.array([0, 1]))
        assert (scaling.mean.item(), scaling.deviation.item()) == (2.0, 1.0)

    def test_of_many_rows_some_are_enough(self) -> None:
        frames = np.zeros((30_000, 1), np.float32)
        frames[0::3], frames[1::3] = 6.0, 1_000.0
        frames[0::6] = 8.0  # of every third row, which are looked at, half are 6 and half are 8
        scaling = memory_of(StateSpec("vector", (1,)), frames).scaling(np.arange(30_000))
        assert (scaling.mean.item(), scaling.deviation.item()) == pytest.approx((7.0, 1.0))

    def test_pictures_need_none(self) -> None:
        spec = StateSpec("image", (1, 2, 2))
        scaling = memory_of(spec, np.zeros((2, 1, 2, 2), np.uint8)).scaling(np.arange(2))
        assert isinstance(scaling, StateScaling)
        assert scaling.spec == spec and not scaling.state_dict()


def test_the_room_that_a_memory_takes() -> None:
    assert ring_bytes(StateSpec("image", (3, 84, 84), 4), 10) == 10 * (3 * 84 * 84 + 15)
    assert ring_bytes(StateSpec("vector", (5,), 4), 10) == 10 * (5 * 4 + 15)


def test_records_are_the_rows_from_which_a_transition_starts() -> None:
    fields: dict[str, NDArray[Any]] = {name: np.zeros(4, dtype) for name, dtype in FIELDS.items()}
    fields["valid"][[0, 2, 3]] = True
    rows = MemoryRows(StateSpec("vector", (1,)), 1, np.zeros((4, 1), np.float32), fields)
    assert rows.records == 3 and isinstance(rows.records, int)
