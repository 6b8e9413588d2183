"""The edges of the ring: no more frames than needed, nothing changed in what is overwritten."""

from __future__ import annotations

import numpy as np
from support.made_up_lanes import CPU, MadeUpLanes

from corrtool.memory import ReplayMemory
from corrtool.states import StateSpec

SPEC = StateSpec("vector", (2,), 2)


def test_the_newest_records_come_with_the_frames_that_they_need_and_no_others() -> None:
    memory = ReplayMemory(SPEC, 2, 20, CPU)
    MadeUpLanes(SPEC, 2, longest=10**9).play(15, memory)
    rows = memory.newest_records(4)
    # Two slots of transitions, the open one after them, and one before them for the states of two
    # frames.
    assert rows.records == 4 and len(rows.frames) == 4 * 2


def test_the_episodes_before_the_oldest_slot_are_gone() -> None:
    memory = ReplayMemory(SPEC, 2, 6, CPU)
    MadeUpLanes(SPEC, 2, longest=10**9).play(15, memory)
    for slot in (memory.oldest_slot, memory.oldest_slot - 1):
        memory.truncate_before(slot)
        assert not memory.fields["truncated"].any()
    memory.truncate_before(memory.oldest_slot + 1)
    oldest = memory.oldest_slot % 6 * 2
    assert np.flatnonzero(memory.fields["truncated"]).tolist() == [oldest, oldest + 1]


def test_priorities_go_on_where_there_are_any() -> None:
    memory, resumed = (ReplayMemory(SPEC, 2, 20, CPU, priority_exponent=0.5) for _ in range(2))
    MadeUpLanes(SPEC, 2).play(5, memory)
    memory.set_errors(np.array([3]), np.array([-4.0], np.float32))
    expected = memory.priorities()
    assert expected is not None
    resumed.load_priorities(memory.priorities())
    resumed.load_priorities(None)  # a checkpoint from before there were any
    found = resumed.priorities()
    assert found is not None and found["largest"] == expected["largest"] > 1
    assert np.array_equal(found["scaled"], expected["scaled"])
    uniform = ReplayMemory(SPEC, 2, 20, CPU)
    uniform.load_priorities(memory.priorities())
    assert uniform.priorities() is None
