"""A vector task that draws no pictures."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from support.environments import register


class Undrawn(gymnasium.Env[Any, Any]):
    """One number, which the actions move; eight steps."""

    observation_space = spaces.Box(-8, 8, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.time, self.place = 0, 0
        return self._see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time, self.place = self.time + 1, self.place + (-1, 1)[int(action)]
        return self._see(), float(self.place), self.time >= 8, False, {}

    def _see(self) -> Any:
        return np.array([self.place], np.float32)


register("Undrawn-v0", Undrawn)
