"""Play tests while a Q-function learns: which of its weights are kept."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import nn

from corrtool.layers import copy_of_weights
from corrtool.play.games import (
    DirectQValues,
    Game,
    GameLimits,
    game_counts,
    play_games,
    returns_of,
)
from corrtool.play.lane_pool import LanePool
from corrtool.q_learning.learner import DqnLearner
from corrtool.q_learning.progress import Progress
from corrtool.q_learning.schedules import is_solved
from corrtool.runs.loop import Loop
from corrtool.runs.run import Run
from corrtool.runtime.seeds import derive_seeds, numpy_generator
from corrtool.settings.stages import DqnSettings
from corrtool.states import StateSpec


@dataclass(frozen=True)
class PlayTests:
    """Games that choose among the Q-functions of a run.

    Attributes:
        reward_threshold: the mean return that solves the task, if it states one.
    """

    run: Run
    settings: DqnSettings
    spec: StateSpec
    lane_pool: LanePool
    device: torch.device
    seed: int
    reward_threshold: float | None = None

    def due(self, progress: Progress) -> bool:
        """True once the next multiple of ``eval_every`` environment steps is reached.

        Where the average of the weights plays from some step on, there are no play tests before.
        """
        settings = self.settings
        if not settings.eval_every:
            return False
        if (
            settings.greedy_from < 1
            and progress.env_steps < settings.greedy_from * settings.env_steps
        ):
            return False
        return (
            progress.env_steps // settings.eval_every > progress.evaluated_at // settings.eval_every
        )

    def play(self, learner: DqnLearner, progress: Progress, loop: Loop) -> None:
        """One play test of the average network, whose weights are kept if they are the best so far.

        The best of twenty means of ten games is mostly luck. So the best one has to play as many
        games again, all of which count, before it wins against a later one or solves the task.
        """
        loop.save()  # an environment that fails costs no learning
        env_steps = progress.env_steps
        games = self._games(learner.ema, loop, "select", env_steps)
        if not progress.is_best(returns_of(games)):
            self._confirm(learner, progress, loop)
        again = progress.is_best(returns_of(games)) and self._would_solve(games)
        if again:
            games += self._games(learner.ema, loop, "select again", env_steps)
        # From here on nothing is played, so that no checkpoint has one of these without the others.
        returns = returns_of(games)
        self._write(
            "play_test", progress, {"returns": returns, "mean_return": fmean(returns)}, games
        )
        progress.finish_test(returns)
        if progress.is_best(returns):
            progress.keep(returns, copy_of_weights(learner.ema), again=again)
        loop.note({"best play test": progress.best_mean_return})

    def finish(self, learner: DqnLearner, progress: Progress, loop: Loop) -> None:
        """The last play test, unless it has been; and the best one plays again."""
        if self.settings.eval_every and progress.evaluated_at != progress.env_steps:
            self.play(learner, progress, loop)
        self._confirm(learner, progress, loop)

    def _would_solve(self, games: list[Game]) -> bool:
        mean = fmean(returns_of(games))
        return self.reward_threshold is not None and is_solved(mean, self.reward_threshold)

    def _confirm(self, learner: DqnLearner, progress: Progress, loop: Loop) -> None:
        """Let the best play test play as many games again, if it has not yet."""
        if not progress.unconfirmed or progress.best_weights is None:
            return
        network, then = copy.deepcopy(learner.ema), progress.best_env_steps
        network.load_state_dict(progress.best_weights)
        games = self._games(network, loop, "select again", then)
        returns = returns_of(games)
        progress.confirm(returns)
        numbers = {"tested_at": then, "returns_again": returns, "mean_return_again": fmean(returns)}
        self._write("play_test_again", progress, numbers, games)
        loop.note({"best play test": progress.best_mean_return})

    def _write(
        self, event: str, progress: Progress, numbers: dict[str, Any], games: list[Game]
    ) -> None:
        line = {"event": event, "env_steps": progress.env_steps, **numbers, **game_counts(games)}
        self.run.metrics.write(progress.env_steps, line)

    def _games(self, network: nn.Module, loop: Loop, purpose: str, env_steps: int) -> list[Game]:
        return play_games(
            self.lane_pool,
            DirectQValues(network, self.spec),
            seeds=derive_seeds(self.seed, purpose, self.settings.eval_games, env_steps),
            epsilon=self.settings.eval_epsilon,
            random=numpy_generator(self.seed, purpose, env_steps),
            device=self.device,
            limits=GameLimits(self.settings.max_idle_frames),
            poll=loop.poll,
            show=lambda numbers: loop.show(
                0, {"play test": f"step {numbers['steps']:,}"} | numbers
            ),
        )
