"""A task that is heard: callers to the left and right, low ones to approach, high ones to avoid.

`corrtool init lab --source examples.hearing:Hearing-v0 --signal`, with the directory above this one
in PYTHONPATH. docs/sound.md has a target that differs in its channels and its pitch.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

SAMPLES = 128  # of the sound of one step
CYCLES = (4, 6)  # of a low and of a high call in that time
FARTHEST = 6  # steps to either side
COLOURS = np.array([[70, 130, 240], [240, 90, 70]], np.uint8)  # of a low and of a high caller


class Hearing(gymnasium.Env[NDArray[np.float32], int]):
    """Stereo, (2, 128): a caller is louder on its side and the nearer it is; how high it calls says
    which it is. Actions: step to the left, stay, step to the right. A step nearer to a low caller,
    or farther from a high one, is worth 1, the opposite -1. Then who was met, or left behind, calls
    from elsewhere.
    """

    observation_space = spaces.Box(-1, 1, (2, SAMPLES), np.float32)
    action_space = spaces.Discrete(3)
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self._new_caller()
        return self._sound(), {}

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        before = abs(self._place)
        self._place -= int(action) - 1  # seen from the agent
        nearer = before - abs(self._place)
        reward = float(-nearer if self._is_high else nearer)
        if self._place == 0 or abs(self._place) > FARTHEST:
            self._new_caller()
        return self._sound(), reward, False, False, {}

    def render(self) -> NDArray[np.uint8]:  # type: ignore[override]
        picture = np.zeros((20, 20 * (2 * FARTHEST + 1), 3), np.uint8)
        for place, colour in ((0, 255), (self._place, COLOURS[self._is_high])):
            left = 20 * (place + FARTHEST)
            picture[2:18, left + 2 : left + 18] = colour
        return picture

    def _new_caller(self) -> None:
        side = self.np_random.choice([-1, 1])
        self._place = int(side * self.np_random.integers(1, FARTHEST + 1))
        self._is_high = int(self.np_random.integers(2))

    def _sound(self) -> NDArray[np.float32]:
        time = np.arange(SAMPLES) / SAMPLES
        angle = 2 * np.pi * CYCLES[self._is_high] * time
        call = np.exp(-3 * time) * (np.sin(angle) + 0.3 * np.sin(2 * angle))
        pan = self._place / FARTHEST
        loudness = 0.7 / (1 + 0.2 * abs(self._place)) * np.array([1 - 0.8 * pan, 1 + 0.8 * pan]) / 2
        return (loudness[:, None] * call).astype(np.float32)


gymnasium.register("Hearing-v0", Hearing, max_episode_steps=60, disable_env_checker=True)
