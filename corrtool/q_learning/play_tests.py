"""Play tests while a Q-function learns: which of its weights are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from corrtool.layers import copy_of_weights
from corrtool.play.games import (
    DirectQValues,
    Game,
    GameLimits,
    LanePool,
    game_counts,
    play_games,
    returns_of,
)
from corrtool.q_learning.learner import DqnLearner
from corrtool.q_learning.progress import Progress
from corrtool.runs.loop import Loop
from corrtool.runs.run import Run
from corrtool.runtime.seeds import derive_seeds, numpy_generator
from corrtool.settings.stages import DqnSettings
from corrtool.states import StateSpec


@dataclass(frozen=True)
class PlayTests:
    """Games that choose among the Q-functions of a run."""

    run: Run
    settings: DqnSettings
    spec: StateSpec
    lane_pool: LanePool
    device: torch.device
    seed: int

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

        One that looks better than the best so far, but not clearly, plays as many games again, and
        all of them count: the best of twenty means of ten games is mostly luck.
        """
        loop.save()  # an environment that fails costs no learning
        games = self._games(learner, progress, loop, "select")
        if progress.is_best(returns_of(games)) and not progress.is_clearly_best(returns_of(games)):
            games += self._games(learner, progress, loop, "select again")
        returns = returns_of(games)
        mean, best = float(np.mean(returns)), progress.is_best(returns)
        progress.finish_test(returns)
        if best:
            progress.best_mean_return, progress.best_returns = mean, returns
            progress.best_weights = copy_of_weights(learner.ema)
        loop.note({"best play test": progress.best_mean_return})
        self.run.metrics.write(
            progress.env_steps,
            {
                "event": "play_test",
                "env_steps": progress.env_steps,
                "returns": returns,
                "mean_return": mean,
                **game_counts(games),
            },
        )

    def _games(
        self, learner: DqnLearner, progress: Progress, loop: Loop, purpose: str
    ) -> list[Game]:
        return play_games(
            self.lane_pool,
            DirectQValues(learner.ema, self.spec),
            seeds=derive_seeds(self.seed, purpose, self.settings.eval_games, progress.env_steps),
            epsilon=self.settings.eval_epsilon,
            random=numpy_generator(self.seed, purpose, progress.env_steps),
            device=self.device,
            limits=GameLimits(self.settings.max_idle_frames),
            poll=loop.poll,
            show=lambda numbers: loop.show(
                0, {"play test": f"step {numbers['steps']:,}"} | numbers
            ),
        )
