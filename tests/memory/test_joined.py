"""Several memories seen as one: every row gives what its own memory gives."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.made_up_lanes import (
    CPU,
    MadeUpLanes,
    fast,
    lane_counts,
    longest_episodes,
    seeds,
    stacks,
    vectors,
)

from corrtool.correspondence.statistics import element_statistics
from corrtool.memory import JoinedMemory, MemoryRows, ReplayMemory
from corrtool.states import StateSpec


def memory_of(spec: StateSpec, lanes: int, steps: int, seed: int = 0, longest: int = 5) -> (
    ReplayMemory
):  # fmt: skip
    """A whole memory, as one is read from disk."""
    growing = ReplayMemory(spec, lanes, steps + 1, CPU)
    MadeUpLanes(spec, lanes, seed, longest).play(steps, growing)
    return ReplayMemory.from_rows(growing.slot_range(0, growing.slots_written), CPU)


def numbered(first: float, lanes: int, slots: int) -> ReplayMemory:
    """One long episode a lane; the state of row k is (first + k, 0)."""
    frames = np.zeros((lanes * slots, 2), np.float32)
    frames[:, 0] = first + np.arange(len(frames))
    fields = {
        "actions": np.arange(len(frames)),
        "rewards": np.zeros(len(frames)),
        "terminated": np.zeros(len(frames), bool),
        "truncated": np.zeros(len(frames), bool),
        "valid": np.arange(len(frames)) < lanes * (slots - 1),
        "episode_steps": np.arange(len(frames)) // lanes,
    }
    return ReplayMemory.from_rows(MemoryRows(vectors(1), lanes, frames, fields), CPU)


class TestByHand:
    """Two lanes of 3 slots (rows 0 to 5), then one lane of 4 (rows 6 to 9)."""

    joined = JoinedMemory([numbered(0, 2, 3), numbered(100, 1, 4)])

    def test_rows_follow_those_of_the_memories_before(self) -> None:
        assert self.joined.transition_rows().tolist() == [0, 1, 2, 3, 6, 7, 8]
        assert self.joined.dynamics_rows().tolist() == [0, 1, 2, 3, 6, 7, 8]
        parts = self.joined.split(np.array([8, 0, 7, 3]))
        assert [part.tolist() for part in parts] == [[0, 3], [8, 7]]

    def test_states_and_actions_are_in_the_order_asked_for(self) -> None:
        rows = np.array([7, 0, 9, 5, 6])
        assert self.joined.states(rows)[:, 0].tolist() == [101, 0, 103, 5, 100]
        assert self.joined.actions(rows).tolist() == [1, 0, 3, 5, 0]
        assert self.joined.actions(rows).dtype == torch.int64

    def test_the_next_row_is_as_many_further_as_the_memory_has_lanes(self) -> None:
        assert self.joined.next_rows(np.array([7, 0, 3, 6])).tolist() == [8, 2, 5, 7]

    def test_no_rows_are_no_states(self) -> None:
        none = np.zeros(0, np.int64)
        assert self.joined.states(none).shape == (0, 2)
        assert self.joined.next_rows(none).shape == (0,)

    def test_statistics_are_over_all(self) -> None:
        """The first numbers 0, 2 and 100 have the mean 34 and the variance 6536 / 3."""
        rows = np.array([0, 2, 6])
        scaling = self.joined.scaling(rows)
        assert scaling.mean.tolist() == [34.0, 0.0]
        assert scaling.deviation.tolist() == pytest.approx([(6536 / 3) ** 0.5, 1.0])
        mean, deviation = element_statistics(self.joined, rows, scaling)
        assert mean.tolist() == pytest.approx([0, 0], abs=1e-6)
        assert deviation.tolist() == pytest.approx([1, 0.02], rel=1e-5)


@fast
@given(
    st.lists(st.tuples(lane_counts, st.integers(1, 20), seeds), min_size=1, max_size=3),
    stacks,
    longest_episodes,
    seeds,
)
def test_each_row_is_that_of_its_own_memory(
    shapes: list[tuple[int, int, int]], stack: int, longest: int, seed: int
) -> None:
    memories = [memory_of(vectors(stack), *shape, longest) for shape in shapes]
    joined, first, transitions = JoinedMemory(memories), 0, 0
    every = np.random.default_rng(seed).permutation(sum(len(m.frames) for m in memories))
    states, actions, following = (
        joined.states(every),
        joined.actions(every),
        joined.next_rows(every),
    )
    for memory, part in zip(memories, joined.split(every), strict=True):
        own = part - first
        mine = torch.from_numpy(np.isin(every, part))
        assert sorted(own) == list(range(len(memory.frames)))
        assert torch.equal(states[mine], memory.states(own))
        assert torch.equal(actions[mine], memory.actions(own))
        assert (following[mine.numpy()] - first == memory.next_rows(own)).all()
        transitions += len(memory.transition_rows())
        first += len(memory.frames)
    assert len(joined.transition_rows()) == transitions
    assert set(joined.dynamics_rows()) <= set(joined.transition_rows())


def test_one_memory_joined_is_that_memory() -> None:
    memory = memory_of(StateSpec("image", (1, 2, 3), 2), 3, 15)
    joined, rows = JoinedMemory([memory]), memory.transition_rows()
    assert joined.transition_rows().tolist() == rows.tolist()
    assert torch.equal(joined.states(rows), memory.states(rows))
    assert joined.states(rows).dtype == torch.uint8


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="no memories"):
        JoinedMemory([])
    with pytest.raises(ValueError, match="different states"):
        JoinedMemory([memory_of(vectors(1), 1, 3), memory_of(vectors(2), 1, 3)])
