"""Scores of a correspondence while it is learnt, and which one is best by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from corrtool.correspondence.generators import rotation_angle_degrees
from corrtool.correspondence.knowledge import Knowledge
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.score import TRANSITIONS, Scorer, score_numbers
from corrtool.layers import copy_of_weights
from corrtool.runs.loop import Loop
from corrtool.runs.results import Score
from corrtool.runs.run import Run
from corrtool.runtime.seeds import numpy_generator
from corrtool.states import GRID, IMAGE, VECTOR

# How many transitions of M_T a score takes, by the kind of states: all where that takes no time,
# and few of large pictures, of which each costs a resnet 50 ms on a CPU.
SCORED_TRANSITIONS = {IMAGE: 256, GRID: 2_000, VECTOR: 10_000}
# Learning that a score sees no gain in loses games: an exact start of MinAtar's Freeway rose from
# 0.948 to 0.987, and from 30.6 points fell to 27.5.
CLEARLY_HIGHER = 0.02


def scored_transitions(knowledge: Knowledge) -> int:
    """How many transitions of M_T a score takes."""
    return SCORED_TRANSITIONS.get(knowledge.target.spec.settings_kind, TRANSITIONS)


@dataclass
class ScoreResults:
    """Scores of a run so far; part of its checkpoints.

    Attributes:
        best: of the best correspondence, by play tests or, where there are none, by its score.
        best_gradient_steps, best_weights, best_angle_degrees, best_source_of: when, of what, with
            which action map; only where the score says which is best.
        scored_at, last: the last score, in gradient steps; None before the first.
        highest: the last value that was clearly higher than all before; None before the first.
        no_better: scores in a row since then, none of them clearly higher.
    """

    best: Score | None = None
    best_gradient_steps: int = 0
    best_weights: dict[str, Tensor] | None = None
    best_angle_degrees: float | None = None
    best_source_of: list[int] | None = None
    scored_at: int | None = None
    last: Score | None = None
    highest: float | None = None
    no_better: int = 0

    def add(self, step: int, score: Score) -> None:
        """One more score, after ``step`` gradient steps."""
        self.scored_at, self.last = step, score
        if self.highest is None or score["value"] > self.highest + CLEARLY_HIGHER:
            self.highest, self.no_better = score["value"], 0
        else:
            self.no_better += 1

    def settled(self, patience: int, enough: float) -> bool:
        """True if ``patience`` scores in a row were no better than one that is enough."""
        return (
            patience > 0
            and self.highest is not None
            and self.highest >= enough
            and self.no_better >= patience
        )

    @property
    def value(self) -> float | None:
        """The last score as a number."""
        return None if self.last is None else self.last["value"]

    def numbers(self) -> dict[str, Any]:
        """The number to show all the time."""
        return {} if self.last is None else {"score": self.last["value"]}


@dataclass(frozen=True)
class Scores:
    """Scores for a run, all on the same transitions."""

    run: Run
    correspondence: Correspondence
    scorer: Scorer

    @classmethod
    def of(cls, run: Run, correspondence: Correspondence, knowledge: Knowledge) -> Scores:
        """Those of a run, which draw from a random generator of their own."""
        random = numpy_generator(run.request.seed, "learn-corr score")
        scorer = Scorer(knowledge, random, scored_transitions(knowledge))
        return cls(run, correspondence, scorer)

    def score(self, results: ScoreResults, loop: Loop, step: int, *, decides: bool = True) -> None:
        """Score what ``step`` gradient steps have made.

        Args:
            decides: whether the score says what is best, of equals for the one that learnt longer:
                there are no play tests.
        """
        correspondence = self.correspondence
        correspondence.eval()
        found = self.scorer.score(correspondence, _Poll(loop))
        correspondence.train()
        loop.checked(score_numbers(found))
        results.add(step, found)
        self.run.metrics.write(step, {"event": "score", "gradient_steps": step, **found})
        if decides and (results.best is None or found["value"] >= results.best["value"]):
            results.best, results.best_gradient_steps = found, step
            results.best_weights = copy_of_weights(correspondence)
            results.best_angle_degrees = rotation_angle_degrees(correspondence.target_to_source)
            m = correspondence.action_map
            results.best_source_of = None if m is None else list(m.source_of)
        loop.note(results.numbers())


@dataclass(frozen=True)
class _Poll:
    """Shows that a score is under way, and lets the loop save or stop."""

    loop: Loop

    def __call__(self, transitions: int) -> None:
        self.loop.show(0, {"score": "under way"})
        self.loop.poll()
