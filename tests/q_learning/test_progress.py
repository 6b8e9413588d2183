"""Where learning by playing stands: the games under way, and those that ended."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from corrtool.q_learning.progress import OngoingGames, Progress
from corrtool.tasks import LaneStep


def step(rewards: list[float], **more: list[bool]) -> LaneStep:
    lanes = len(rewards)
    flags: dict[str, Any] = {
        "terminated": [False] * lanes,
        "truncated": [False] * lanes,
        "valid": [True] * lanes,
    }
    arrays = {name: np.array(values) for name, values in (flags | more).items()}
    return LaneStep(
        frames=np.zeros((lanes, 1)),
        rewards=np.array(rewards),
        episode_steps=np.zeros(lanes, np.int64),
        **arrays,
    )


def test_each_lane_has_a_game_of_its_own() -> None:
    games = OngoingGames(2)
    assert games.add(step([1.0, 5.0])) == []
    assert games.add(step([2.0, 5.0], terminated=[True, False])) == [(3.0, 2)]
    # A finished lane is reset by the next step, which belongs to no game.
    assert games.add(step([7.0, 5.0], valid=[False, True])) == []
    assert games.add(step([4.0, 5.0], truncated=[True, True])) == [(4.0, 1), (20.0, 4)]


def test_progress_keeps_the_last_twenty_returns() -> None:
    progress = Progress()
    assert progress.mean_return is None
    for game_return in range(30):
        progress.finish_game(float(game_return))
    assert (progress.games, len(progress.recent_returns)) == (30, 20)
    assert progress.mean_return == pytest.approx(19.5)  # 10 … 29
