"""A task as a Gymnasium environment."""

from pathlib import Path

import numpy as np
import pytest

from corrtool.errors import UsageError
from corrtool.play.environment import TaskEnvironment
from corrtool.tasks import parse_task

PREPROCESSING = {"max_episode_frames": 120, "terminal_on_life_loss": True}
BREAKOUT = parse_task("source", {"id": "ALE/Breakout-v5", "preprocessing": PREPROCESSING}, Path())


def test_shows_stacked_states_of_whole_games() -> None:
    environment = TaskEnvironment(BREAKOUT)
    state, info = environment.reset(seed=0)
    assert (
        environment.observation_space.contains(state) and state.shape == (4, 84, 84) and info == {}
    )
    assert not state[:3].any() and state[3].any()  # what came before the first frame is black
    seen, over = [state], False
    while not over:
        state, reward, terminated, truncated, _ = environment.step(
            int(environment.action_space.sample())
        )
        assert np.array_equal(state[:3], seen[-1][1:]) and isinstance(reward, float)
        seen.append(state)
        over = terminated or truncated
    assert truncated and len(seen) == 31
    with pytest.raises(UsageError, match="no game is under way"):
        environment.step(0)
    assert np.array_equal(environment.reset(seed=0)[0], seen[0])
    with pytest.raises(UsageError, match="no action 9"):
        environment.step(9)
    environment.close()


def test_states_are_not_overwritten_by_later_ones() -> None:
    cartpole = TaskEnvironment(parse_task("source", {"id": "CartPole-v1"}, Path()))
    first, _ = cartpole.reset(seed=0)
    kept = first.copy()
    cartpole.step(0)
    assert np.array_equal(first, kept)
    assert not np.array_equal(cartpole.reset()[0], kept)  # without a seed another game
