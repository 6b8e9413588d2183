"""The replay memory gives back what was seen, and learns nothing from what was not a transition."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
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

from corrtool.memory import ReplayMemory, TransitionBatch
from corrtool.memory.priorities import MIN_ERROR
from corrtool.memory.replay import MOST_AT_ONCE

GAMMA = 0.9


def oldest_whole_slot(lanes: MadeUpLanes, memory: ReplayMemory) -> int:
    """The oldest slot whose state has all its frames in the ring."""
    written = len(lanes.history)
    return 0 if written <= memory.slots else written - memory.slots + lanes.spec.stack - 1


def candidates(lanes: MadeUpLanes, memory: ReplayMemory, n_step: int) -> set[tuple[int, int]]:
    """What may be sampled: transitions with a whole state whose n steps have all been seen."""
    return lanes.valid_pairs(oldest_whole_slot(lanes, memory), len(lanes.history) - n_step)


def pairs_of(batch: TransitionBatch, lanes: MadeUpLanes) -> list[tuple[int, int]]:
    """Which slots and lanes a batch of vector states is of: their newest frame tells."""
    return [divmod(int(row), lanes.count) for row in batch.states[:, -2].tolist()]


def assert_transitions(
    batch: TransitionBatch, lanes: MadeUpLanes, n_step: int, clip: bool = False
) -> None:
    assert batch.actions.dtype == torch.int64
    assert batch.returns.dtype == batch.discounts.dtype == torch.float32
    for index, (slot, lane) in enumerate(pairs_of(batch, lanes)):
        expected = lanes.transition(slot, lane, n_step, GAMMA, clip)
        assert torch.equal(batch.states[index], expected.state)
        assert torch.equal(batch.next_states[index], expected.next_state)
        assert batch.actions[index].item() == expected.action
        assert batch.terminated[index].item() == expected.terminated
        assert batch.returns[index].item() == pytest.approx(expected.total, rel=1e-5, abs=1e-5)
        assert batch.discounts[index].item() == pytest.approx(expected.discount, rel=1e-5)


class TestSampling:
    @pytest.mark.parametrize("priority_exponent", [0.0, 0.5])
    @fast
    @given(
        seeds,
        stacks,
        lane_counts,
        step_counts,
        longest_episodes,
        st.integers(5, 12),
        st.integers(1, 4),
        st.booleans(),
    )
    def test_gives_whole_transitions_only(
        self,
        priority_exponent: float,
        seed: int,
        stack: int,
        count: int,
        steps: int,
        longest: int,
        slots: int,
        n_step: int,
        clip: bool,
    ) -> None:
        """Never a row that is none, nor one that crosses the position of writing.

        Neither its frames nor its n steps do.
        """
        memory = ReplayMemory(vectors(stack), count, slots, CPU, priority_exponent)
        lanes = MadeUpLanes(vectors(stack), count, seed, longest).play(steps, memory)
        allowed = candidates(lanes, memory, n_step)
        if allowed:
            batch = memory.sample(
                64, np.random.default_rng(seed), n_step=n_step, gamma=GAMMA, clip_rewards=clip
            )
            assert len(batch.states) == 64
            assert set(pairs_of(batch, lanes)) <= allowed
            assert_transitions(batch, lanes, n_step, clip)

    @pytest.mark.parametrize("priority_exponent", [0.0, 0.5])
    @pytest.mark.parametrize("steps", [7, 30])
    def test_reaches_every_transition_alike(self, steps: int, priority_exponent: float) -> None:
        memory = ReplayMemory(
            vectors(2), 2, 12, CPU, priority_exponent
        )  # all are new, so that all have one priority
        lanes = MadeUpLanes(vectors(2), 2, longest=4).play(steps, memory)
        allowed = candidates(lanes, memory, 3)
        batch = memory.sample(
            6000, np.random.default_rng(0), n_step=3, gamma=GAMMA, clip_rewards=False
        )
        drawn, times = np.unique(pairs_of(batch, lanes), axis=0, return_counts=True)
        assert {tuple(pair) for pair in drawn.tolist()} == allowed
        np.testing.assert_allclose(times, 6000 / len(allowed), rtol=0.25)

    def test_by_priority_prefers_what_was_missed(self) -> None:
        memory = ReplayMemory(vectors(1), 1, 40, CPU, priority_exponent=0.5)
        MadeUpLanes(vectors(1), 1, longest=100).play(20, memory)
        memory.set_errors(np.arange(20), np.full(20, 0.25 - MIN_ERROR, np.float32))
        memory.set_errors(np.array([7]), np.array([-4.0 + MIN_ERROR], np.float32))

        def sample(exponent: float) -> TransitionBatch:
            numbers: dict[str, Any] = {
                "n_step": 1,
                "gamma": GAMMA,
                "clip_rewards": False,
                "importance_exponent": exponent,
            }
            return memory.sample(2_300, np.random.default_rng(0), **numbers)

        # Priorities √4 = 2 once and √¼ = ½ nineteen times: 4 of 23 parts.
        # N P is 80/23 against 20/23.
        batch = sample(0.5)
        assert abs((batch.rows == 7).sum() - 400) <= 1
        assert torch.equal(
            batch.weights, torch.from_numpy(np.where(batch.rows == 7, 0.5, 1.0)).float()
        )
        assert set(sample(0.0).weights.tolist()) == {1.0}

    def test_by_priority_new_ones_come_first_and_again_after_the_ring_is_full(self) -> None:
        memory = ReplayMemory(vectors(1), 1, 12, CPU, priority_exponent=1.0)
        lanes = MadeUpLanes(vectors(1), 1, longest=100).play(8, memory)
        memory.set_errors(np.arange(8), np.full(8, 3.0, np.float32))
        memory.set_errors(np.arange(8), np.full(8, 1.0, np.float32))
        lanes.play(
            6, memory
        )  # over rows 8 … 11, 0 and 1: what was known of the last two is of another transition
        priorities = memory.priorities()
        assert priorities is not None
        assert priorities["scaled"][[0, 1, 8, 11]] == pytest.approx(3.0 + MIN_ERROR)
        assert priorities["scaled"][[2, 7]] == pytest.approx(1.0 + MIN_ERROR)

    @fast
    @given(
        seeds,
        stacks,
        lane_counts,
        step_counts,
        longest_episodes,
        st.integers(5, 8),
        st.integers(1, 4),
    )
    @example(seed=0, stack=4, count=1, steps=7, longest=1, slots=6, n_step=2)
    def test_can_be_asked_for_beforehand(
        self, seed: int, stack: int, count: int, steps: int, longest: int, slots: int, n_step: int
    ) -> None:
        """Where ``can_sample`` is wrong, ``sample`` looks for a transition for ever."""
        memory = ReplayMemory(vectors(stack), count, slots, CPU)
        lanes = MadeUpLanes(vectors(stack), count, seed, longest).play(steps, memory)
        assert memory.can_sample(n_step) == bool(candidates(lanes, memory, n_step))

    def test_several_batches_at_once_are_the_draws_of_one(self) -> None:
        memory = ReplayMemory(vectors(2), 2, 40, CPU)
        MadeUpLanes(vectors(2), 2).play(60, memory)
        how: dict[str, Any] = {"n_step": 2, "gamma": GAMMA, "clip_rewards": False}
        count = MOST_AT_ONCE + 3
        batches = list(memory.sample_batches(count, 5, np.random.default_rng(0), **how))
        assert [len(batch.rows) for batch in batches] == [5] * count
        random = np.random.default_rng(0)
        whole = [memory.sample(5 * n, random, **how) for n in (MOST_AT_ONCE, 3)]
        for name in ("states", "actions", "returns", "next_states", "discounts", "terminated"):
            drawn = torch.cat([getattr(batch, name) for batch in batches])
            assert torch.equal(drawn, torch.cat([getattr(part, name) for part in whole]))
        rows = np.concatenate([batch.rows for batch in batches])
        assert rows.tolist() == np.concatenate([part.rows for part in whole]).tolist()
        assert not list(memory.sample_batches(0, 5, random, **how))

    def test_by_priority_each_update_decides_the_next_batch(self) -> None:
        memory = ReplayMemory(vectors(1), 1, 40, CPU, 1.0)
        MadeUpLanes(vectors(1), 1).play(30, memory)
        random = np.random.default_rng(0)
        how: dict[str, Any] = {"n_step": 1, "gamma": GAMMA, "clip_rewards": False}
        everything = memory.sample(600, random, **how).rows
        memory.set_errors(everything, np.zeros(600, np.float32))
        only = everything[:1]
        batches = memory.sample_batches(2, 50, random, **how)
        assert (next(batches).rows == only).mean() < 0.5
        memory.set_errors(only, np.full(1, 1e9, np.float32))
        assert (next(batches).rows == only).mean() > 0.9

    def test_is_decided_by_the_random_generator(self) -> None:
        memory = ReplayMemory(vectors(1), 2, 12, CPU)
        lanes = MadeUpLanes(vectors(1), 2).play(30, memory)
        drawn = [
            pairs_of(
                memory.sample(
                    20, np.random.default_rng(seed), n_step=1, gamma=GAMMA, clip_rewards=False
                ),
                lanes,
            )
            for seed in (1, 1, 2)
        ]
        assert drawn[0] == drawn[1] != drawn[2]

    def test_n_step_returns_by_hand(self) -> None:
        """One lane, frames 0 to 5, rewards 1, -2, 3, then the episode ends or goes on."""
        for terminated, truncated in ((True, False), (False, True)):
            memory = ReplayMemory(vectors(1), 1, 10, CPU)
            lanes = MadeUpLanes(vectors(1), 1, longest=10**9).play(4, memory)
            memory.fields["rewards"][:4] = [1, -2, 3, 5]
            memory.fields["terminated"][2], memory.fields["truncated"][2] = terminated, truncated
            batch = memory._transitions(np.array([0, 1, 2]), 3, 0.5, clip_rewards=False)
            # From 0: 1 - 0.5·2 + 0.25·3 = 0.75.  From 1: -2 + 0.5·3 = -0.5, cut short.  From 2: 3.
            assert batch.returns.tolist() == [0.75, -0.5, 3.0]
            assert batch.discounts.tolist() == [0.125, 0.25, 0.5]
            assert batch.terminated.tolist() == [terminated] * 3  # truncation bootstraps
            assert torch.equal(batch.next_states, lanes.history[3].states.expand(3, -1))
            clipped = memory._transitions(np.array([0, 1, 2]), 3, 0.5, clip_rewards=True)
            assert clipped.returns.tolist() == [0.75, -0.5, 1.0]  # 1 - 0.5 + 0.25, -1 + 0.5, 1


class TestNewest:
    @fast
    @given(seeds, stacks, lane_counts, st.integers(1, 30), longest_episodes)
    def test_is_the_step_just_recorded(
        self, seed: int, stack: int, count: int, steps: int, longest: int
    ) -> None:
        memory = ReplayMemory(vectors(stack), count, stack + 2, CPU)
        lanes = MadeUpLanes(vectors(stack), count, seed, longest).play(steps, memory)
        batch = memory.newest(gamma=GAMMA, clip_rewards=False)
        expected = sorted(lanes.valid_pairs(steps - 1, steps))
        if not expected:
            assert batch is None
        else:
            assert batch is not None
            assert pairs_of(batch, lanes) == expected
            assert_transitions(batch, lanes, 1)


class TestNewestRecords:
    @fast
    @given(
        seeds,
        stacks,
        lane_counts,
        step_counts,
        longest_episodes,
        st.integers(5, 20),
        st.integers(1, 30),
    )
    def test_are_exactly_so_many_and_the_newest(
        self, seed: int, stack: int, count: int, steps: int, longest: int, slots: int, records: int
    ) -> None:
        memory = ReplayMemory(vectors(stack), count, slots, CPU)
        lanes = MadeUpLanes(vectors(stack), count, seed, longest).play(steps, memory)
        rows = memory.newest_records(records)

        available = sorted(candidates(lanes, memory, 1))
        assert rows.records == min(records, len(available))
        kept = ReplayMemory.from_rows(rows, CPU)
        at = kept.transition_rows()
        batch = kept._transitions(at, 1, GAMMA, False)
        assert set(pairs_of(batch, lanes)) == set(available[len(available) - rows.records :])
        assert_transitions(batch, lanes, 1)

    def test_leave_the_memory_as_it_was(self) -> None:
        memory = ReplayMemory(vectors(2), 2, 10, CPU)
        MadeUpLanes(vectors(2), 2).play(15, memory)
        before = {name: values.copy() for name, values in memory.fields.items()}
        memory.newest_records(3)
        assert all(np.array_equal(values, memory.fields[name]) for name, values in before.items())


class TestRowsOfAMemory:
    def test_dynamics_rows_leave_episode_ends_out(self) -> None:
        memory = ReplayMemory(vectors(2), 2, 40, CPU)
        lanes = MadeUpLanes(vectors(2), 2, longest=4).play(39, memory)
        transitions, dynamics = (
            set(memory.transition_rows().tolist()),
            set(memory.dynamics_rows().tolist()),
        )
        assert transitions == {slot * 2 + lane for slot, lane in lanes.valid_pairs(0, 39)}
        ends = {
            slot * 2 + lane
            for slot, lane in lanes.valid_pairs(0, 39)
            if lanes.history[slot].terminated[lane] or lanes.history[slot].truncated[lane]
        }
        assert len(ends) > 10
        assert dynamics == transitions - ends

    def test_lanes_that_were_reset_in_the_middle_begin_anew(self) -> None:
        """Nothing is learnt across the reset.

        What was seen last is bootstrapped from, and the new games start from nothing.
        """
        memory = ReplayMemory(vectors(2), 2, 20, CPU)
        lanes = MadeUpLanes(vectors(2), 2, longest=10**9).play(5, memory)
        fresh = np.full((2, 2), 77.0, np.float32)
        memory.restart_episodes(fresh)
        last = np.array([8, 9])  # the transitions of slot 4, whose next frames are those of slot 5
        assert memory.fields["truncated"][:12].tolist() == [False] * 8 + [True, True] + [False] * 2
        assert not memory.fields["valid"][10:14].any()
        batch = memory._transitions(last, 3, 0.5, clip_rewards=False)
        assert batch.discounts.tolist() == [0.5, 0.5]
        assert torch.equal(batch.next_states, lanes.history[5].states)
        assert memory.states(np.array([12, 13])).tolist() == [[0.0, 0.0, 77.0, 77.0]] * 2
