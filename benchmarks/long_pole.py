"""CartPole with a pole of twice the length: another task, not another view of the same."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.envs.classic_control.cartpole import CartPoleEnv


class LongPole(CartPoleEnv):
    """CartPole whose pole is two metres long instead of one."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.length = 1.0  # half the pole
        self.polemass_length = self.masspole * self.length


gymnasium.register("LongPole-v0", LongPole, max_episode_steps=500)
