"""A small picture environment of three channels: a ball that falls, and a bar that is moved."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from support.environments import register

FALLING = "support.falling:Falling-v0"
SIDE = 12


class Falling(gymnasium.Env[Any, Any]):
    """The ball in red, the bar in green, in blue how far the game is; a reward for each catch."""

    observation_space = spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
    action_space = spaces.Discrete(3)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time, self.bar, self.column = 0, SIDE // 2, int(self.np_random.integers(SIDE))
        return self.see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        self.bar = min(max(self.bar + (0, -1, 1)[int(action)], 0), SIDE - 1)
        caught = self.time % SIDE == 0 and self.bar == self.column
        return self.see(), float(caught), self.time >= 3 * SIDE, False, {}

    def see(self) -> Any:
        picture = np.zeros((SIDE, SIDE, 3), np.uint8)
        picture[self.time % SIDE, self.column, 0] = 255
        picture[SIDE - 1, self.bar, 1] = 200
        picture[0, : self.time // 3, 2] = 120
        return picture


register("Falling-v0", Falling)
