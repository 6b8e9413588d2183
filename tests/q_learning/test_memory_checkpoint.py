"""A replay memory in checkpoints: its rows in the journal, and its priorities."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.made_up_lanes import MadeUpLanes

from corrtool.memory import ReplayMemory
from corrtool.q_learning.memory_checkpoint import CheckpointedPriorities, JournalledRows
from corrtool.runs.resumable import Parts
from corrtool.runtime.console import Console
from corrtool.states import StateSpec

SPEC = StateSpec("vector", (3,))


def new_memory(priority_exponent: float) -> ReplayMemory:
    return ReplayMemory(SPEC, 2, 16, torch.device("cpu"), priority_exponent)


def parts_of(memory: ReplayMemory, directory: Path) -> Parts:
    run: Any = SimpleNamespace(directory=directory, keep_checkpoints=1)
    return Parts(
        journal=JournalledRows(memory, run, Console(quiet=True)),
        priorities=CheckpointedPriorities(memory),
    )


@pytest.mark.parametrize("priority_exponent", [0.0, 0.5])
def test_a_memory_comes_back_with_its_rows_and_priorities(
    tmp_path: Path, priority_exponent: float
) -> None:
    memory, lanes = new_memory(priority_exponent), MadeUpLanes(SPEC, 2, longest=100)
    lanes.reset(memory)
    lanes.play(6, memory)
    memory.set_errors(np.array([0, 3]), np.array([2.0, 0.25], np.float32))
    state = parts_of(memory, tmp_path).state()
    assert (state["priorities"] is None) is (priority_exponent == 0)

    resumed = new_memory(priority_exponent)
    parts_of(resumed, tmp_path).load_state(state)
    # The open slot is put back as well, and what came before it ends there: emulators begin new
    # games.
    assert resumed.slots_written == memory.slots_written
    assert (resumed.slot_range(0, 7).frames == memory.slot_range(0, 7).frames).all()
    assert resumed.fields["truncated"][10:12].all() and not resumed.fields["truncated"][:10].any()
    if priority_exponent:
        assert resumed.priorities() is not None
        assert (resumed.priorities()["scaled"] == state["priorities"]["scaled"]).all()  # type: ignore[index]
