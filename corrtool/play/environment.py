"""A task as a Gymnasium environment, for those who play it themselves."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray

from corrtool.errors import UsageError
from corrtool.memory import StateStacker
from corrtool.states import IMAGE
from corrtool.tasks import Lanes, LaneStep, Task


class TaskEnvironment(gymnasium.Env[NDArray[Any], int]):
    """One game of a task at a time, as ``evaluate`` plays it.

    Observations are raw states, preprocessed, viewed and stacked.

    Games are whole, also where learning ends them at a lost life. Rewards are not clipped.

    Raises:
        UsageError: the environment cannot be made.
    """

    def __init__(self, task: Task) -> None:
        self._lanes = Lanes(task.with_full_games(), 1)
        spec = self._lanes.spec
        self._stacker = StateStacker(spec, 1, torch.device("cpu"))
        self._over = True
        low, high, dtype = (
            (0, 255, np.uint8) if spec.kind == IMAGE else (-np.inf, np.inf, np.float32)
        )
        self.observation_space = gymnasium.spaces.Box(low, high, spec.state_shape, dtype)
        self.action_space = gymnasium.spaces.Discrete(self._lanes.actions)  # type: ignore[assignment]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Begin a game; returns its first state, and no more. Equal seeds begin equal games."""
        super().reset(seed=seed)
        frames = self._lanes.reset([int(self.np_random.integers(2**31))])
        self._over = False
        return self._stacker.push(frames)[0].numpy().copy(), {}

    def step(self, action: int) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Act once; returns the next state, the reward, and whether the game ended or was cut off.

        Raises:
            UsageError: no game is under way, or there is no such action.
        """
        if self._over:
            raise UsageError("no game is under way", "call reset() first")
        if not self.action_space.contains(np.int64(action)):
            raise UsageError(
                f"there is no action {action!r}", f"give one from 0 to {self._lanes.actions - 1}"
            )
        step: LaneStep = self._lanes.step(np.array([action], np.int64))
        terminated, truncated = bool(step.terminated[0]), bool(step.truncated[0])
        self._over = terminated or truncated
        state = self._stacker.push(step.frames, step.episode_steps)[0].numpy().copy()
        return state, float(step.rewards[0]), terminated, truncated, {}

    def close(self) -> None:
        """Close the game; nothing can be played with it any more."""
        self._lanes.__exit__()
