"""Parts of the slower Atari path that give it the same first observations as ``AtariVectorEnv``."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np


class NoopReset(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Up to ``noop_max`` no-ops at an episode's start, as in ``AtariVectorEnv`` with the same seed.

    ale-py draws the count with C++'s ``std::mt19937`` and ``uniform_int_distribution``: the top
    bits of a 32-bit draw, scaled to the range. NumPy's legacy MT19937 seeding gives the same
    stream. A test pins that both paths agree.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], noop_max: int, fire_reset: bool) -> None:
        super().__init__(env)
        meanings = env.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
        self._fire = meanings.index("FIRE") if fire_reset and "FIRE" in meanings else None
        self._noop_max = noop_max
        self._bits = np.random.MT19937()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._bits._legacy_seeding(seed)
        observation, info = self.env.reset(seed=seed, options=options)
        noops = int(self._bits.random_raw()) * (self._noop_max + 1) >> 32 if self._noop_max else 0
        start = (
            [0] * noops if self._fire is None else [self._fire] + [0] * (noops - 1)
        )  # FIRE takes a no-op's place
        for action in start:
            observation, _, terminated, truncated, info = self.env.step(action)
            if terminated or truncated:
                observation, info = self.env.reset(options=options)
        return observation, info
