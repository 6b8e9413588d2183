"""The replay memory of a training: its size, and whether there is room for it."""

from __future__ import annotations

import torch

from corrtool.memory import ReplayMemory
from corrtool.memory.rows import ring_bytes
from corrtool.runtime.free_memory import check_memory_is_free
from corrtool.settings.stages import DqnSettings
from corrtool.states import StateSpec
from corrtool.tasks.environments import LanesLike


def new_memory(settings: DqnSettings, lanes: LanesLike, device: torch.device) -> ReplayMemory:
    """Line 1 of Algorithm 2. Raises :class:`CorrtoolError` where there is no room for it."""
    slots = _ring_slots(settings, lanes.spec, lanes.count)
    check_memory_is_free(
        ring_bytes(lanes.spec, slots * lanes.count),
        device,
        f"a memory of {settings.memory_capacity:,} records",
        "use a smaller --memory-capacity",
    )
    return ReplayMemory(lanes.spec, lanes.count, slots, device, settings.priority_exponent)


def _ring_slots(settings: DqnSettings, spec: StateSpec, lanes: int) -> int:
    """Slots of a ring that holds ``memory_capacity`` records.

    Besides them it has the open slot, the frames that its oldest states need, and a row for each
    reset (one in a hundred leaves room for the games of Atari).
    """
    return spec.stack + settings.n_step + 2 - (-settings.memory_capacity * 101 // (100 * lanes))
