"""A task that differs from a known one in its actions only, for the tests of action maps."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.envs.classic_control import AcrobotEnv

from support.environments import register

TWO_TORQUES = "TwoTorques-v0"
SOURCE_ACTIONS = [2, 0]  # of its two actions those of Acrobot-v1 that do the same


class TwoTorques(AcrobotEnv):
    """Acrobot without its middle action, and the other two in reverse."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.action_space = gymnasium.spaces.Discrete(2)

    def step(self, a: int) -> Any:
        acrobot: Any = super()  # gymnasium's own step has no types
        return acrobot.step(SOURCE_ACTIONS[int(a)])


if TWO_TORQUES not in gymnasium.registry:
    register(TWO_TORQUES, TwoTorques, max_episode_steps=100, disable_env_checker=True)
