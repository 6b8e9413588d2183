"""Play tests of a correspondence while it is learnt.

When it plays best, and whether better than none.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from torch import Tensor, nn

from corrtool.correspondence.generators import rotation_angle_degrees
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.play import TransferredQValues
from corrtool.layers import copy_of_weights
from corrtool.play.games import (
    DirectQValues,
    Game,
    GameLimits,
    QValues,
    game_counts,
    play_games,
    returns_of,
)
from corrtool.play.lane_pool import LanePool
from corrtool.runs.context import StageContext
from corrtool.runs.loop import Loop
from corrtool.runs.run import Run
from corrtool.runtime.seeds import derive_seeds, numpy_generator
from corrtool.settings.stages import LearnCorrSettings
from corrtool.statistics import clearly_better


@dataclass
class PlayTestResults:
    """Results of a run's play tests so far; part of its checkpoints.

    Attributes:
        best_mean_return, best_gradient_steps, best_weights, best_angle_degrees, best_source_of: the
            play test that was taken, when, of what, with which action map.
        best_returns, best_score: its games, and the score of what played; None without one.
        tested_at, last_mean_return: the last play test, in gradient steps; None before the first.
        reuse_mean_return, reuse_returns: of Q_S without a correspondence; None where it has not
            played, or cannot.
    """

    best_mean_return: float | None = None
    best_gradient_steps: int = 0
    best_weights: dict[str, Tensor] | None = None
    best_angle_degrees: float | None = None
    best_source_of: list[int] | None = None
    best_returns: list[float] | None = None
    best_score: float | None = None
    tested_at: int | None = None
    last_mean_return: float | None = None
    reuse_mean_return: float | None = None
    reuse_returns: list[float] | None = None

    @property
    def like_reuse(self) -> bool:
        """True if the best play test is not clearly better than that of reuse."""
        if self.best_returns is None or self.reuse_returns is None:
            return False
        return not clearly_better(self.best_returns, self.reuse_returns)

    def is_better(self, returns: list[float], score: float | None, enough: float | None) -> bool:
        """True if a play test is to be taken: with the best mean so far, of equals the later one.

        After one whose score is ``enough`` luck is no gain: another has to have a higher score too,
        or to play clearly better. Breakout's exact start had 18.8 in five games, and 24.0 with 250
        more steps and a lower score, of which 12.3 were left in fresh games.
        """
        if self.best_mean_return is None or self.best_returns is None:
            return self.best_mean_return is None or fmean(returns) >= self.best_mean_return
        if fmean(returns) < fmean(self.best_returns):
            return False
        best = self.best_score
        if enough is None or best is None or score is None or best < enough:
            return True
        return score > best or clearly_better(returns, self.best_returns)

    def numbers(self) -> dict[str, Any]:
        """The numbers to show all the time."""
        numbers = {"best return": self.best_mean_return, "reuse": self.reuse_mean_return}
        return {name: number for name, number in numbers.items() if number is not None}


@dataclass(frozen=True)
class PlayTests:
    """Games on the target task for a run."""

    context: StageContext
    settings: LearnCorrSettings
    run: Run
    source_q: nn.Module
    correspondence: Correspondence

    def play_reuse(self, results: PlayTestResults, loop: Loop, lane_pool: LanePool) -> None:
        """Play the baseline of a correspondence: Q_S on the target's states as they are."""
        q_values = DirectQValues(self.source_q, self.correspondence.target_scaling.spec)
        games = self._play(loop, lane_pool, q_values, "reuse", 0)
        returns = returns_of(games)
        results.reuse_mean_return, results.reuse_returns = float(np.mean(returns)), returns
        self.run.metrics.write(
            0,
            {
                "event": "reuse_test",
                "returns": returns,
                "mean_return": results.reuse_mean_return,
                **game_counts(games),
            },
        )
        loop.note(results.numbers())

    def play(
        self,
        results: PlayTestResults,
        loop: Loop,
        lane_pool: LanePool,
        step: int,
        score: float | None = None,
    ) -> None:
        """Play a test after ``step`` gradient steps; keep the weights if they are best so far."""
        correspondence = self.correspondence
        correspondence.eval()
        q_values = TransferredQValues(self.source_q, correspondence)
        games = self._play(loop, lane_pool, q_values, "select", step)
        returns = returns_of(games)
        correspondence.train()
        results.tested_at, results.last_mean_return = step, float(np.mean(returns))
        mean = results.last_mean_return
        self.run.metrics.write(
            step,
            {
                "event": "play_test",
                "gradient_steps": step,
                "returns": returns,
                "mean_return": mean,
                **game_counts(games),
            },
        )
        settings = self.settings
        enough = None if settings.recipe == "none" else settings.recipe_enough  # the paper's rule
        if results.is_better(returns, score, enough):
            results.best_mean_return, results.best_gradient_steps = mean, step
            results.best_returns, results.best_score = returns, score
            results.best_weights = copy_of_weights(correspondence)
            results.best_angle_degrees = rotation_angle_degrees(correspondence.target_to_source)
            action_map = correspondence.action_map
            results.best_source_of = None if action_map is None else list(action_map.source_of)
        loop.note(results.numbers())

    def _play(
        self, loop: Loop, lane_pool: LanePool, q_values: QValues, purpose: str, step: int
    ) -> list[Game]:
        loop.save()  # an environment that fails costs no learning, nor the search for a start
        test, seed = "reuse test" if purpose == "reuse" else "play test", self.context.seed
        return play_games(
            lane_pool,
            q_values,
            seeds=derive_seeds(seed, purpose, self.settings.eval_games, step),
            epsilon=self.settings.eval_epsilon,
            random=numpy_generator(seed, purpose, step),
            device=self.context.device,
            limits=GameLimits(self.settings.max_idle_frames),
            poll=loop.poll,
            show=lambda numbers: loop.show(0, {test: "under way"} | numbers),
        )
