"""Which of several symmetries of the source a correspondence has found: only games tell.

Pong upside down with its actions exchanged is Pong: F explains the mirror image as well as what is
seen, and random play has no value that Q_S would miss. The agent still loses every game in the
mirror, for its Q-function knows the picture on one side only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from math import hypot, sqrt

import numpy as np

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.generators import is_mirrored
from corrtool.correspondence.knowledge import Knowledge
from corrtool.correspondence.play import transferred_q_values
from corrtool.correspondence.training import CorrespondenceTraining
from corrtool.play.games import GameLimits, game_counts, play_games, returns_of
from corrtool.runs.context import StageContext
from corrtool.runs.limits import TimeLimit
from corrtool.runs.run import Run
from corrtool.runtime.seeds import derive_seeds, numpy_generator
from corrtool.settings.stages import LearnCorrSettings
from corrtool.tasks import Lanes

RANDOM = "random play"
MEAN_STEPS = 1_000  # of a mean return, which ranks send each other as a whole number


def may_be_another(training: CorrespondenceTraining) -> bool:
    """True if it sees a mirror image, or found that the target's actions are others."""
    found = training.correspondence.action_map
    other = found is not None and found != ActionMap.identity(found.source_count)
    mirrored = is_mirrored(training.correspondence.target_to_source)  # on all ranks, unlike starts
    return mirrored or (training.finds_actions and other)


@dataclass(frozen=True)
class SymmetryTest:
    """Games of what recipes have found, each played once, while ``limit`` is not over."""

    context: StageContext
    run: Run
    settings: LearnCorrSettings
    knowledge: Knowledge
    limit: TimeLimit
    _means: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def possible(self) -> bool:
        """True if the run has play tests, and time for one."""
        plays = self.settings.eval_games > 0 and self.knowledge.source_q is not None
        return plays and not self.limit.over()

    def fails(self, training: CorrespondenceTraining) -> bool:
        """True if it may be another symmetry, and plays no better than random play."""
        return self.possible and may_be_another(training) and not self.beats_random_play(training)

    def beats_random_play(self, training: CorrespondenceTraining) -> bool:
        """True if it plays better by more than two standard errors of the difference."""
        mean, error = self._mean(training.recipe, training, self.settings.eval_epsilon)
        random, random_error = self._mean(RANDOM, training, 1.0)
        return mean - random > 2.0 * hypot(error, random_error)

    def best(self, rivals: Sequence[CorrespondenceTraining]) -> CorrespondenceTraining:
        """Of rivals whose scores are alike the one that plays best, of equals the first."""
        if len(rivals) == 1 or not self.possible or not any(map(may_be_another, rivals)):
            return rivals[0]
        return max(rivals, key=self.mean_return)

    def mean_return(self, training: CorrespondenceTraining) -> float:
        """Of a play test; all ranks learn it from the first."""
        return self._mean(training.recipe, training, self.settings.eval_epsilon)[0]

    def told(self) -> str:
        """Who has played, and how well, for people; empty where nobody has."""
        return ", ".join(f"{who} {mean:.1f}" for who, (mean, _) in self._means.items())

    def _mean(
        self, who: str, training: CorrespondenceTraining, epsilon: float
    ) -> tuple[float, float]:
        """The mean return and its standard error."""
        if who not in self._means:
            ranks, device = self.context.ranks, self.context.device
            returns = self._play(who, training, epsilon) if ranks.first else [0.0]
            error = float(np.std(returns)) / sqrt(max(1, len(returns) - 1))
            mean, error = (
                ranks.broadcast(round(MEAN_STEPS * number), device) / MEAN_STEPS
                for number in (float(np.mean(returns)), error)
            )
            self._means[who] = mean, error
        return self._means[who]

    def _play(self, who: str, training: CorrespondenceTraining, epsilon: float) -> list[float]:
        context, correspondence = self.context, training.correspondence
        title = f"learn-corr {self.run.request.name}: playing {who}"
        count = self.settings.eval_games
        assert self.knowledge.source_q is not None
        correspondence.eval()
        with context.console.progress(title, count, "games") as progress:
            games = play_games(
                partial(Lanes, context.project.task("target").with_full_games()),
                transferred_q_values(self.knowledge.source_q, correspondence),
                seeds=derive_seeds(context.seed, "symmetry", count),
                epsilon=epsilon,
                random=numpy_generator(context.seed, "symmetry"),
                device=context.device,
                limits=GameLimits(self.settings.max_idle_frames),
                on_game=lambda game: progress.advance(1),
                poll=partial(progress.advance, 0),
            )
        correspondence.train()
        returns = returns_of(games)
        self.run.metrics.write(
            training.gradient_steps,
            {
                "event": "symmetry_test",
                "recipe": who,
                "returns": returns,
                "mean_return": float(np.mean(returns)),
                **game_counts(games),
            },
        )
        return returns
