"""The ring gives back the rows and the states that were seen."""

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
    step_counts,
    vectors,
)

from corrtool.memory import MemoryRows
from corrtool.memory.ring import RowRing
from corrtool.memory.rows import FIELDS
from corrtool.states import StateSpec


class TestStates:
    @fast
    @given(seeds, stacks, lane_counts, step_counts, longest_episodes, st.integers(5, 12))
    def test_are_those_seen_while_playing(
        self, seed: int, stack: int, count: int, steps: int, longest: int, slots: int
    ) -> None:
        spec = StateSpec(
            "image",
            (2, 2, 3),
            stack,
            tuple(np.random.default_rng(seed).permutation(stack).tolist()),
        )
        ring = RowRing(spec, count, slots, CPU)
        lanes = MadeUpLanes(spec, count, seed, longest).play(steps, ring)
        for slot in range(ring.oldest_whole_slot, len(lanes.history)):
            rows = np.arange(count) + slot % slots * count
            states = ring.states(rows)
            assert states.dtype == torch.uint8
            assert torch.equal(states, lanes.history[slot].states)

    def test_an_episode_starts_with_nothing_before_it(self) -> None:
        ring = RowRing(vectors(3), 1, 10, CPU)
        lanes = MadeUpLanes(vectors(3), 1, longest=2).play(9, ring)
        for slot, seen in enumerate(lanes.history):
            frames = ring.states(np.array([slot])).reshape(3, 2)
            unseen = max(0, 2 - int(seen.episode_steps[0]))
            assert not frames[:unseen].any()
            assert (frames[unseen:] != 0).any(dim=1).all()

    def test_of_one_time_and_the_next_share_frames(self) -> None:
        ring = RowRing(vectors(4), 2, 20, CPU)
        MadeUpLanes(vectors(4), 2, longest=100).play(12, ring)
        rows = np.array([16, 17, 10])
        states, following = ring.states(rows), ring.states(ring.next_rows(rows))
        assert torch.equal(states[:, 2:], following[:, :-2])


class TestSlots:
    @pytest.mark.parametrize(
        ("steps", "oldest", "oldest_whole"), [(0, 0, 0), (7, 0, 0), (8, 1, 3), (20, 13, 15)]
    )
    def test_the_oldest(self, steps: int, oldest: int, oldest_whole: int) -> None:
        """Of eight slots and three frames a state; the open slot is one more than the steps."""
        ring = RowRing(vectors(3), 2, 8, CPU)
        MadeUpLanes(vectors(3), 2).play(steps, ring)
        assert (ring.oldest_slot, ring.oldest_whole_slot) == (oldest, oldest_whole)

    @pytest.mark.parametrize("steps", [4, 11])
    def test_come_back_from_blocks(self, steps: int) -> None:
        ring, restored = (RowRing(vectors(3), 2, 8, CPU) for _ in range(2))
        MadeUpLanes(vectors(3), 2, longest=4).play(steps, ring)
        first, last = ring.oldest_slot, ring.slots_written
        blocks: list[MemoryRows] = [
            ring.slot_range(first, first + 2),
            ring.slot_range(first + 2, last),
        ]
        restored.restore(blocks, last)
        assert torch.equal(restored.frames, ring.frames)
        for name, values in ring.fields.items():
            assert np.array_equal(restored.fields[name], values)

    def test_that_no_longer_fit_are_left_out(self) -> None:
        ring, smaller = RowRing(vectors(1), 1, 12, CPU), RowRing(vectors(1), 1, 4, CPU)
        MadeUpLanes(vectors(1), 1).play(9, ring)
        smaller.restore([ring.slot_range(0, 10)], 10)
        assert smaller.oldest_slot == 6
        assert torch.equal(smaller.states(np.array([2, 3, 0, 1])), ring.states(np.arange(6, 10)))

    def test_what_was_truncated_afterwards_ends_an_episode(self) -> None:
        ring = RowRing(vectors(1), 3, 10, CPU)
        lanes = MadeUpLanes(vectors(1), 3, seed=3, longest=3).play(5, ring)
        ring.slots_written -= 1  # the open slot is not part of what a journal restores
        ring.truncate_before(ring.slots_written)
        newest = lanes.history[4]
        assert np.array_equal(ring.fields["truncated"][12:15], newest.valid & ~newest.terminated)
        assert np.array_equal(
            ring.fields["truncated"][:12],
            np.concatenate([s.truncated for s in lanes.history[:4]]),
        )


def test_fields_from_elsewhere_get_the_types_of_a_memory() -> None:
    fields = dict.fromkeys(FIELDS, np.arange(4))
    ring = RowRing.from_rows(MemoryRows(vectors(1), 2, np.zeros((4, 2), np.float32), fields), CPU)
    assert {name: values.dtype for name, values in ring.fields.items()} == FIELDS
    assert (ring.slots, ring.slots_written) == (2, 2)
