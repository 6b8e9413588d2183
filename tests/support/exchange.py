"""Memories that are written for other tools and read back."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import strategies as st

from corrtool.exchange.episodes import Episode, to_rows
from corrtool.exchange.sources import Description, describe
from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.states import StateSpec
from support.made_up_lanes import CPU, MadeUpLanes, seeds, stacks

ACTIONS = 5  # of made-up lanes


def transitions_of(rows: MemoryRows) -> Counter[tuple[Any, ...]]:
    """Every transition of a memory, with both states in full; in no order."""
    memory = ReplayMemory.from_rows(rows, CPU)
    at = memory.transition_rows()
    states, following = memory.consecutive_states(at)
    fields = [rows.fields[n][at] for n in ("actions", "rewards", "terminated", "truncated")]
    return Counter(
        (
            states[i].numpy().tobytes(),
            *(float(f[i]) for f in fields),
            following[i].numpy().tobytes(),
        )
        for i in range(len(at))
    )


def joined(episodes: list[Episode], spec: StateSpec) -> MemoryRows:
    """The memory that episodes become."""
    parts = [to_rows(episode, spec) for episode in episodes]
    return MemoryRows(
        spec,
        1,
        np.concatenate([part.frames for part in parts]),
        {name: np.concatenate([p.fields[name] for p in parts]) for name in parts[0].fields},
    )


def description_of(rows: MemoryRows, name: str = "played") -> Description:
    """What a memory that nothing made says of itself."""
    return describe(
        name,
        {
            "sha256": "0" * 64,
            "play": "random",
            "actions": ACTIONS,
            "records": rows.records,
            "states": rows.spec.to_json(),
        },
    )


@st.composite
def memories(draw: st.DrawFn, gaps: bool = True) -> MemoryRows:
    """Memories of several lanes, cut at both ends, of a ring or not; with ``gaps`` anywhere."""
    stack = draw(stacks)
    spec = draw(
        st.sampled_from(
            [
                StateSpec("vector", (2,), stack),
                StateSpec("image", (1, 3, 2), stack),
                StateSpec("image", (3, 2, 4), stack, tuple(reversed(range(stack)))),
                StateSpec("signal", (2, 5), stack),
            ]
        )
    )
    steps, slots = draw(st.integers(1, 25)), draw(st.integers(stack + 2, 30))
    memory = ReplayMemory(spec, draw(st.integers(1, 3)), slots, CPU)
    play(memory, steps, draw(seeds), draw(st.integers(1, 9)))
    rows = memory.newest_records(draw(st.integers(1, 40)))
    if gaps:
        kept = np.random.default_rng(draw(seeds)).random(len(rows.frames)) < 0.8
        rows.fields["valid"] &= kept
    return rows


def play(memory: ReplayMemory, steps: int, seed: int = 0, longest: int = 6) -> None:
    """Play made-up games into a memory."""
    MadeUpLanes(memory.spec, memory.lanes, seed, longest).play(steps, memory)
