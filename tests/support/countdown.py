"""Games without an environment, for the tests of play."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from corrtool.states import StateSpec
from corrtool.tasks import LaneStep


class Countdown:
    """Lanes whose games last as many steps as their seed says, with a reward of 1 a step.

    A state tells lane and time.
    """

    spec, actions, frames_per_step, has_time_limit = StateSpec("vector", (2,)), 3, 1, True
    reward_threshold: float | None = None

    def __init__(self, count: int) -> None:
        self.count, self.opened, self.closed = count, 1, 0
        self.acted: list[NDArray[np.int64]] = []

    def __enter__(self) -> Countdown:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed += 1

    def reset(self, seeds: list[int]) -> NDArray[Any]:
        self._left, self._time = np.array(seeds), np.zeros(self.count, np.int64)
        return self._frames()

    def restart(self, lanes: list[int], seeds: list[int]) -> NDArray[Any]:
        self._left[lanes], self._time[lanes] = seeds, 0
        return self._frames()[lanes]

    def send(self, actions: NDArray[np.int64]) -> None:
        self.acted.append(actions.copy())

    def receive(self) -> LaneStep:
        self._left, self._time = self._left - 1, self._time + 1
        no = np.zeros(self.count, bool)
        return LaneStep(
            self._frames(),
            np.ones(self.count, np.float32),
            self._left == 0,
            no,
            ~no,
            self._time.copy(),
        )

    def _frames(self) -> NDArray[Any]:
        return np.stack([np.arange(self.count), self._time], axis=1).astype(np.float32)
