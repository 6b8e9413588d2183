"""Parts of the slower Atari path: its first observations as ``AtariVectorEnv``'s, and sound."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from corrtool.settings.preprocessing import ATARI_SOUND

SILENCE = 128  # of unsigned bytes, as ale-py's are


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


class SoundOfSteps(gymnasium.Wrapper[Any, Any, Any, Any]):
    """The sound of all frames of a step, one after another, in place of pictures.

    (frame_skip · 512,) bytes: ale-py gives 512 for each frame. By its own frame skip it would give
    those of the last frame only, and a short sound would go unheard. What is missing at the start
    or at the end of a game is silent.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], frame_skip: int, terminal_on_life_loss: bool
    ) -> None:
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, spaces.Dict)
        sound = space[ATARI_SOUND]
        assert isinstance(sound, spaces.Box)
        self._of_frame = sound.shape[0]
        self._frames, self._lost_life_ends = frame_skip, terminal_on_life_loss
        self.observation_space = spaces.Box(0, 255, (frame_skip * self._of_frame,), np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        silent = np.full(self._of_frame, SILENCE, np.uint8)
        before = [silent] * (self._frames - 1)
        return np.concatenate([*before, observation[ATARI_SOUND]]), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        sounds: list[NDArray[np.uint8]] = []
        total, lives = 0.0, self._lives
        for _ in range(self._frames):
            observation, reward, terminated, truncated, info = self.env.step(action)
            sounds.append(observation[ATARI_SOUND])
            total += float(reward)
            terminated = terminated or (self._lost_life_ends and self._lives < lives)
            if terminated or truncated:
                break
        silent = np.full(self._of_frame, SILENCE, np.uint8)
        after = [silent] * (self._frames - len(sounds))
        return np.concatenate([*sounds, *after]), total, terminated, truncated, info

    @property
    def _lives(self) -> int:
        return int(self.env.unwrapped.ale.lives())  # type: ignore[attr-defined]
