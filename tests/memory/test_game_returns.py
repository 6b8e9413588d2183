"""Returns of the games that a memory holds whole."""

from __future__ import annotations

import numpy as np
import torch

from corrtool.memory import ReplayMemory
from corrtool.memory.rows import FIELDS, MemoryRows
from corrtool.states import StateSpec


def memory(lanes: int, **fields: list[float]) -> ReplayMemory:
    count = len(fields["rewards"])
    made: dict[str, np.ndarray] = {name: np.zeros(count, dtype) for name, dtype in FIELDS.items()}
    made["valid"][:] = True
    for name, values in fields.items():
        made[name][:] = values
    rows = MemoryRows(StateSpec("vector", (1,)), lanes, np.zeros((count, 1), np.float32), made)
    return ReplayMemory.from_rows(rows, torch.device("cpu"))


def test_a_game_counts_from_its_start_to_its_end() -> None:
    """A game without a start, one by termination, its reset, one by truncation, one under way."""
    held = memory(
        1,
        rewards=[9, 1, 2, 7, 4, 5, 6],
        episode_steps=[5, 0, 1, 2, 0, 1, 0],
        valid=[1, 1, 1, 0, 1, 1, 1],
        terminated=[1, 0, 1, 0, 0, 0, 0],
        truncated=[0, 0, 0, 0, 0, 1, 0],
    )
    assert held.game_returns() == [3.0, 9.0]


def test_lanes_have_games_of_their_own() -> None:
    held = memory(
        2,
        rewards=[1, 10, 2, 20],
        episode_steps=[0, 0, 1, 1],
        terminated=[0, 0, 1, 1],
    )
    assert held.game_returns() == [3.0, 30.0]


def test_without_a_whole_game_there_are_none() -> None:
    assert memory(1, rewards=[1, 1], episode_steps=[3, 4], terminated=[0, 1]).game_returns() == []
