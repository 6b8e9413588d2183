"""Progress of DQN training, and the starting point of a run that extends a finished one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.q_learning.learner import DqnLearner
from corrtool.q_learning.schedules import (
    SETTLED_TESTS,
    SETTLES_FROM,
    is_settled,
    still_improves,
)
from corrtool.runs.run import Run
from corrtool.statistics import moving_mean
from corrtool.tasks import LaneStep


@dataclass
class Progress:
    """Progress of the training: a checkpoint without memory, learner and random numbers.

    Attributes:
        recent_returns: of the last training games, at most 20.
        first_returns: of the first ones, at most 20, played nearly at random.
        evaluated_at: the environment steps at the last play test.
        test_means: of all play tests, in order.
        best_game: the best return of a single game in any of them.
        best_mean_return, best_weights: of the play test that went best.
        unconfirmed: the returns of its games, until it has played as many again; else empty.
        best_env_steps: when it was.
        runner_up: the best of those that have played again, while what is best has not: its mean,
            its weights and when it was.
        solved: whether there is no more to learn: the training games reached the return at which
            to stop, or the play tests settled.
    """

    env_steps: int = 0
    games: int = 0
    recent_returns: list[float] = field(default_factory=list)
    first_returns: list[float] = field(default_factory=list)
    evaluated_at: int = 0
    test_means: list[float] = field(default_factory=list)
    best_game: float | None = None
    best_mean_return: float | None = None
    best_weights: dict[str, Tensor] | None = None
    unconfirmed: list[float] = field(default_factory=list)
    best_env_steps: int = 0
    runner_up: dict[str, Any] | None = None
    solved: bool = False

    def finish_game(self, game_return: float) -> None:
        """Count one training game."""
        self.games += 1
        self.recent_returns = [*self.recent_returns, game_return][-20:]
        self.first_returns = [*self.first_returns, game_return][:20]

    @property
    def mean_return(self) -> float | None:
        """Mean return of the last 20 training games."""
        return moving_mean(self.recent_returns)

    @property
    def improves(self) -> bool:
        """True if the newest play tests are better than those before."""
        return still_improves(self.test_means, moving_mean(self.first_returns))

    def has_settled(self, env_steps: int) -> bool:
        """True if the newest play tests are as good as any game was.

        Never in the first part of the ``env_steps`` that are planned.
        """
        return self.env_steps >= SETTLES_FROM * env_steps and is_settled(
            self.test_means, self.best_game, moving_mean(self.first_returns)
        )

    @property
    def how_it_settled(self) -> str:
        """``play tests of 20.1 and 19.7 are as good as the best game, 21.0, to 5 %``."""
        tests = " and ".join(f"{mean:.1f}" for mean in self.test_means[-SETTLED_TESTS:])
        return f"play tests of {tests} are as good as the best game, {self.best_game:.1f}, to 5 %"

    def finish_test(self, returns: Sequence[float]) -> None:
        """Count a play test, by the returns of its games."""
        self.evaluated_at = self.env_steps
        self.test_means = [*self.test_means, float(np.mean(returns))]
        self.best_game = max(returns if self.best_game is None else [self.best_game, *returns])

    def is_best(self, returns: Sequence[float]) -> bool:
        """True for the games of a play test that are as good as those of the best so far."""
        return self.best_mean_return is None or float(np.mean(returns)) >= self.best_mean_return

    def keep(self, returns: Sequence[float], weights: dict[str, Tensor], *, again: bool) -> None:
        """Keep what a play test of now was played with.

        Args:
            again: whether it has played as many games again already.
        """
        if again:
            self.runner_up = None
        elif self.best_mean_return is not None and not self.unconfirmed:
            self.runner_up = {
                "best_mean_return": self.best_mean_return,
                "best_weights": self.best_weights,
                "best_env_steps": self.best_env_steps,
            }
        self.best_mean_return, self.best_weights = float(np.mean(returns)), weights
        self.unconfirmed, self.best_env_steps = [] if again else list(returns), self.env_steps

    def confirm(self, returns: Sequence[float]) -> None:
        """Count the games that the best play test has played again.

        If luck had made it the best, the one before is it again.
        """
        self.best_mean_return = float(np.mean([*self.unconfirmed, *returns]))
        before, self.unconfirmed, self.runner_up = self.runner_up, [], None
        if before is not None and before["best_mean_return"] > self.best_mean_return:
            vars(self).update(before)

    def has_reached(self, mean_return: float | None) -> bool:
        """True if the last 20 training games have this mean return; never for None."""
        return (
            mean_return is not None
            and self.games >= 20
            and (self.mean_return or 0.0) >= mean_return
        )

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return dict(vars(self))

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        vars(self).update(vars(Progress(**state)))


class OngoingGames:
    """The training games, one a lane: what of each is known so far."""

    def __init__(self, lanes: int) -> None:
        self._returns, self._lengths = np.zeros(lanes), np.zeros(lanes, np.int64)

    def add(self, step: LaneStep) -> list[tuple[float, int]]:
        """Add one step of every lane; returns return and length of each game that ended with it."""
        self._returns += np.where(step.valid, step.rewards, 0.0)
        self._lengths += step.valid
        ended = np.flatnonzero(step.valid & (step.terminated | step.truncated))
        games = [(float(self._returns[lane]), int(self._lengths[lane])) for lane in ended]
        self._returns[ended], self._lengths[ended] = 0.0, 0
        return games


@dataclass(frozen=True)
class StartingPoint:
    """The start of a run that extends a finished one; see :mod:`corrtool.stages.extending`.

    Attributes:
        rows: the newest of the finished run's memory.
        gradient_steps: how many led to the ``weights``.
        metrics: what the finished run logged.
    """

    weights: dict[str, Tensor]
    rows: MemoryRows
    progress: Progress
    gradient_steps: int
    metrics: list[dict[str, Any]]

    def apply_to(self, run: Run, learner: DqnLearner, memory: ReplayMemory) -> None:
        """Make ``learner``, ``memory`` and the metrics those of the finished run.

        Its games end here by truncation.
        """
        for network in (learner.q_function, learner.target, learner.ema):
            network.load_state_dict(self.weights)
        learner.gradient_steps = self.gradient_steps
        memory.restore([self.rows], len(self.rows.frames) // self.rows.lanes)
        memory.truncate_before(
            memory.slots_written - 1
        )  # the newest slot is what was seen last: no transition
        for line in self.metrics:
            run.metrics.write(int(line.get("env_steps", 0)), line)
