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
from corrtool.correspondence.play import TransferredQValues
from corrtool.correspondence.training import CorrespondenceTraining
from corrtool.play.games import GameLimits, game_counts, play_games, returns_of
from corrtool.runs.context import StageContext
from corrtool.runs.limits import TimeLimit
from corrtool.runs.run import Run
from corrtool.runtime.seeds import derive_seeds, numpy_generator
from corrtool.settings.stages import LearnCorrSettings
from corrtool.tasks import lanes_in_turns

RANDOM = "random play"
AGAIN = 3  # times as many games, others, confirm that a rival plays better
CLEAR = 2.0  # standard errors of a difference


def may_be_another(training: CorrespondenceTraining) -> bool:
    """True if it sees a mirror image, or found that the target's actions are others."""
    found = training.correspondence.action_map
    other = found is not None and found != ActionMap.identity(found.source_count)
    mirrored = is_mirrored(training.correspondence.target_to_source)  # on all ranks, unlike starts
    return mirrored or (training.finds_actions and other)


@dataclass(frozen=True)
class SymmetryTest:
    """Games of what recipes have found, each played once or twice, while ``limit`` is not over."""

    context: StageContext
    run: Run
    settings: LearnCorrSettings
    knowledge: Knowledge
    limit: TimeLimit
    _results: dict[tuple[str, bool], tuple[float, float]] = field(default_factory=dict)

    @property
    def possible(self) -> bool:
        """True if the run has play tests, and time for one."""
        plays = self.settings.eval_games > 0 and self.knowledge.source_q is not None
        return plays and not self.limit.over()

    def fails(self, training: CorrespondenceTraining) -> bool:
        """True if it may be another symmetry, and plays no better than random play."""
        return self.possible and may_be_another(training) and not self.beats_random_play(training)

    def beats_random_play(self, training: CorrespondenceTraining) -> bool:
        """True if it plays clearly better."""
        return _clear(self._result(training), self._result(training, RANDOM))

    def best(self, rivals: Sequence[CorrespondenceTraining]) -> CorrespondenceTraining:
        """Of rivals whose scores are alike the first that none after it outplays."""
        best = rivals[0]
        if len(rivals) == 1 or not self.possible or not any(map(may_be_another, rivals)):
            return best
        for rival in rivals[1:]:
            if self._outplays(rival, best):
                best = rival
        return best

    def _outplays(self, rival: CorrespondenceTraining, best: CorrespondenceTraining) -> bool:
        """True if a rival is better, and so again, clearly, where both beat random play.

        In MinAtar's Space Invaders returns come in waves of 23: of two right maps one had a mean of
        20 and the other of 73, two standard errors more, in five games.
        """
        if self.mean_return(rival) <= self.mean_return(best):
            return False
        if not self.beats_random_play(best):
            return True
        return _clear(self._result(rival, again=True), self._result(best, again=True))

    def mean_return(self, training: CorrespondenceTraining) -> float:
        """Of a play test; all ranks learn it from the first."""
        return self._result(training)[0]

    def told(self) -> str:
        """Who has played, and how well, for people; empty where nobody has."""
        means = {who + " again" * again: mean for (who, again), (mean, _) in self._results.items()}
        return ", ".join(f"{who} {mean:.1f}" for who, mean in means.items())

    def _result(
        self, training: CorrespondenceTraining, who: str = "", *, again: bool = False
    ) -> tuple[float, float]:
        """The mean return and its standard error; of games of ``who``, if not of the recipe's."""
        key = who or training.recipe, again
        if key not in self._results:
            ranks, device = self.context.ranks, self.context.device
            returns = self._play(*key, training) if ranks.first else [0.0]
            error = float(np.std(returns)) / sqrt(max(1, len(returns) - 1))
            mean, error = (
                ranks.broadcast(number, device) for number in (float(np.mean(returns)), error)
            )
            self._results[key] = mean, error
        return self._results[key]

    def _play(self, who: str, again: bool, training: CorrespondenceTraining) -> list[float]:
        context, correspondence = self.context, training.correspondence
        title = f"learn-corr {self.run.request.name}: playing {who}"
        count = self.settings.eval_games * (AGAIN if again else 1)
        purpose = "symmetry, again" if again else "symmetry"
        assert self.knowledge.source_q is not None
        correspondence.eval()
        with context.console.progress(title, count, "games") as progress:
            games = play_games(
                partial(lanes_in_turns, context.project.task("target").with_full_games()),
                TransferredQValues(self.knowledge.source_q, correspondence),
                seeds=derive_seeds(context.seed, purpose, count),
                epsilon=1.0 if who == RANDOM else self.settings.eval_epsilon,
                random=numpy_generator(context.seed, purpose),
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
                "again": again,
                "returns": returns,
                "mean_return": float(np.mean(returns)),
                **game_counts(games),
            },
        )
        return returns


def _clear(better: tuple[float, float], worse: tuple[float, float]) -> bool:
    """True if a mean is higher by more than two standard errors of the difference."""
    return better[0] - worse[0] > CLEAR * hypot(better[1], worse[1])
