"""Pong whose enemy waits while the ball flies away from it: another game that looks the same.

Seen as an Atari game is by default, but that corrtool takes each step for one frame: a game may
idle four times as long. Bytes of the RAM as in AtariARI (Anand et al. 2019).
"""

from __future__ import annotations

from typing import Any

import gymnasium
from ale_py.env import AtariEnv
from gymnasium.wrappers import AtariPreprocessing

BALL_X, ENEMY_Y = 49, 50


class LazyEnemy(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Puts the enemy back where it was in each frame in which the ball moves away from it."""

    def step(self, action: Any) -> Any:
        """One frame."""
        ale = self.unwrapped.ale  # type: ignore[attr-defined]
        before = ale.getRAM()
        result = super().step(action)
        if ale.getRAM()[BALL_X] > before[BALL_X]:
            ale.setRAM(ENEMY_Y, int(before[ENEMY_Y]))
        return result


def lazy_pong(**arguments: Any) -> gymnasium.Env[Any, Any]:
    """Frames (84, 84, 1), each of four frames of the emulator, after up to 30 no-ops."""
    emulator = AtariEnv(
        game="pong",
        frameskip=1,
        repeat_action_probability=0.0,
        full_action_space=False,
        **arguments,
    )
    return AtariPreprocessing(LazyEnemy(emulator), grayscale_newaxis=True)


gymnasium.register("LazyPong-v0", lazy_pong, max_episode_steps=27_000)
