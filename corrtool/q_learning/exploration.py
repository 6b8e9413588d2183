"""ε-greedy actions of the training, in some lanes with random actions that last."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from corrtool.play.games import choose_actions

DURATION_EXPONENT = 2.0  # μ of the zeta distribution in Dabney et al. 2021
LONGEST_DURATION = 10_000


class Exploration:
    """Line 4 of Algorithm 2, with temporally extended exploration in a share of the lanes.

    There, with probability ε, a random action begins and is repeated for n steps, n drawn from a
    zeta distribution: P(n) ∝ n^(-2) (Dabney et al. 2021, "Temporally-extended ε-greedy
    exploration"). It finds rewards that take many steps in one direction: random play of single
    actions crossed the road of Freeway in none of 27 games, this 182 times in as many. The others
    are ε-greedy step by step, for games where holding an action costs points, as in Pong.

    Args:
        actions: how many there are.
        held_share: share of the lanes whose random actions last, rounded up: those that explore
            least, for an action that lasts is random for many steps.
        random: the generator that all choices are drawn from.
    """

    def __init__(
        self, lanes: int, actions: int, held_share: float, random: np.random.Generator
    ) -> None:
        self._actions, self._random = actions, random
        self._lasting = math.ceil(held_share * lanes)  # the first lanes
        self._steps_by_step = np.arange(lanes) >= self._lasting
        self._held = np.zeros(self._lasting, np.int64)
        self._steps_left = np.zeros(self._lasting, np.int64)

    def choose(self, q_values: Tensor, epsilons: NDArray[np.float64]) -> NDArray[np.int64]:
        """The action of each lane (N,), from its Q-values (N, A) and its ε (N,)."""
        lanes, single = len(epsilons), np.where(self._steps_by_step, epsilons, 0.0)
        chosen = choose_actions(q_values, lanes, self._actions, single, self._random)
        if self._lasting:
            self._begin(epsilons[: self._lasting])
            holding = self._steps_left > 0
            chosen[: self._lasting][holding] = self._held[holding]
            self._steps_left -= holding
        return chosen

    def _begin(self, epsilons: NDArray[np.float64]) -> None:
        """Draw, where none is held, whether an action begins, which, and for how long."""
        random, count = self._random, self._lasting
        begins = (self._steps_left == 0) & (random.random(count) < epsilons)
        drawn = random.integers(0, self._actions, count)
        durations = np.minimum(random.zipf(DURATION_EXPONENT, count), LONGEST_DURATION)
        self._held = np.where(begins, drawn, self._held)
        self._steps_left = np.where(begins, durations, self._steps_left)

    def state(self) -> dict[str, Any]:
        """The actions that are held, and for how long yet."""
        return {"held": self._held, "steps_left": self._steps_left}

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`; :class:`ValueError` for another number of lanes."""
        self._held[:], self._steps_left[:] = state["held"], state["steps_left"]
