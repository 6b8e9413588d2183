"""Which generator and losses suit a pair: some are tried, and the one with the best score learns.

No generator serves all pairs. An affine map plays rotated Pong as well as its own game, where a
resnet of this size loses a part, and has no chance on what is not an affine map. What each can
explain is seen without a game, by the score of what it is after a short time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from corrtool.correspondence.actions import LEARNED, ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.found_starts import FoundStarts
from corrtool.correspondence.knowledge import Knowledge
from corrtool.correspondence.score import Scorer
from corrtool.correspondence.scores import scored_transitions
from corrtool.correspondence.starts import StartFinder
from corrtool.correspondence.symmetries import SymmetryTest
from corrtool.correspondence.training import CorrespondenceTraining
from corrtool.runs.context import StageContext
from corrtool.runs.limits import TimeLimit
from corrtool.runs.run import Run
from corrtool.runtime.seeds import numpy_generator
from corrtool.settings.recipes import CLEARLY_BETTER
from corrtool.settings.stages import LearnCorrSettings

SCORE_STEPS = 1_000_000  # of a score, which ranks send each other as a whole number
# Of a run with a time limit: what recipes may take of it, until no further one is looked at, and
# what a trial may take of the rest of that. What is left over is for learning.
LOOKING_SHARE = 0.75
TRIAL_SHARE = 0.5


@dataclass(frozen=True)
class Candidate:
    """A recipe that fits the pair: its name, all settings with it, and what they come to here."""

    name: str
    settings: LearnCorrSettings
    generator: GeneratorDescription
    action_map: ActionMap


@dataclass(frozen=True)
class Portfolio:
    """The candidates for a run, of which one is to learn."""

    context: StageContext
    run: Run
    knowledge: Knowledge
    candidates: tuple[Candidate, ...]

    def training_of(self, state: dict[str, Any]) -> CorrespondenceTraining:
        """The training that a checkpoint is of, before its state is restored.

        Older checkpoints name no recipe, and have one candidate. Raises KeyError for an unknown
        one, TypeError for what is no name.
        """
        named = {candidate.name: candidate for candidate in self.candidates}
        return self._new(named[state.get("recipe", self.candidates[0].name)])

    def best(self) -> CorrespondenceTraining:
        """The training of the best candidate, at its start or after its trial.

        A single one is not tried. The first that explains enough is taken at its start. One that
        may be another symmetry of the task has to win a play test, and one whose actions are fixed
        to explain M_T with no other map of them clearly better, if a later one finds maps. Those
        that a time limit leaves out are named in what is returned.
        """
        tried, scores = list[CorrespondenceTraining](), dict[str, float]()
        looking, enough = self._limit.part(LOOKING_SHARE), False
        for candidate in self.candidates:
            training = self._new(candidate)
            training.find_start(self._finder)
            self._find_actions(training)
            if len(self.candidates) == 1:
                training.search_cut = self._finder.found.cut
                self._log_start(training)
                return training
            trial = looking.part(TRIAL_SHARE)
            scores[candidate.name] = score = self._tried(candidate, training, trial)
            tried.append(training)
            enough = score >= candidate.settings.recipe_enough
            enough = enough and not self._actions_are_others(training, len(tried))
            enough = enough and not self._symmetry.fails(training)
            if enough or looking.over():
                break
        best = tried[-1] if enough else self._best_of(tried, scores)
        best.recipe_scores = scores
        found = self._finder.found
        best.search_cut = found.was_cut(best.start) if enough else found.cut
        best.untried = [] if enough else [c.name for c in self.candidates[len(scores) :]]
        self._say(best)
        self._log_start(best)
        return best

    def _actions_are_others(self, training: CorrespondenceTraining, tried: int) -> bool:
        """True if F sees actions that the candidate has wrong, and one not tried yet finds them.

        In MinAtar's Freeway an action moves one pixel in every third step: with all actions wrong
        the score was 0.90, and the agent never left its side of the road.
        """
        finds_them = any(c.settings.action_map == LEARNED for c in self.candidates[tried:])
        return finds_them and training.other_actions_fit()

    def _best_of(
        self, tried: list[CorrespondenceTraining], scores: dict[str, float]
    ) -> CorrespondenceTraining:
        """The first that none after it beats clearly; where they may be symmetries, in games.

        Where the best by score plays no better than random play, all others play as well; it stays
        where none of them does, for then games tell nothing.
        """
        best = tried[0]
        for other in tried:
            if scores[other.recipe] > scores[best.recipe] + CLEARLY_BETTER:
                best = other
        least = scores[best.recipe] - CLEARLY_BETTER
        rivals = [best, *(t for t in tried if t is not best and scores[t.recipe] >= least)]
        best = self._symmetry.best(rivals)
        if not self._symmetry.fails(best):
            return best
        others = (training for training in tried if training is not best)
        played = max([best, *others], key=self._symmetry.mean_return)
        return played if self._symmetry.beats_random_play(played) else best

    def _new(self, candidate: Candidate) -> CorrespondenceTraining:
        training = CorrespondenceTraining(
            self.context,
            candidate.settings,
            self.knowledge,
            candidate.generator,
            candidate.action_map,
        )
        training.recipe = candidate.name
        return training

    def _tried(
        self, candidate: Candidate, training: CorrespondenceTraining, limit: TimeLimit
    ) -> float:
        """The score at the start that was found, or after the steps of a trial, while ``limit``."""
        settings = candidate.settings
        if training.started:
            score = self._score(training)
            if training.exact or score >= settings.recipe_enough:
                return score
        steps = min(settings.recipe_trial_steps, training.total)
        title = f"learn-corr {self.run.request.name}: trying {candidate.name}"
        with self.context.console.progress(
            title, steps, "gradient steps", seconds_left=limit.seconds_left
        ) as progress:
            for _ in range(steps):
                if limit.over():
                    break
                training.step()
                self._find_actions(training)
                progress.advance(1)
        return self._score(training)

    @cached_property
    def _limit(self) -> TimeLimit:
        """That of the run: once it is over, what is best so far learns no more than a step."""
        context = self.context
        return TimeLimit(self.run, partial(context.ranks.agreed, device=context.device))

    @cached_property
    def _symmetry(self) -> SymmetryTest:
        settings = self.candidates[0].settings  # of play tests all have the same
        return SymmetryTest(self.context, self.run, settings, self.knowledge, self._limit)

    @cached_property
    def _finder(self) -> StartFinder:
        """One for all: recipes that search alike share what is found."""
        found = FoundStarts(self.run, kept=self.context.ranks.count == 1)
        return StartFinder(self.context, self.run, self.knowledge, self._limit, found)

    def _find_actions(self, training: CorrespondenceTraining) -> None:
        """Estimate the map of the actions, where that is due."""
        if training.actions_due:
            self.run.metrics.write(training.gradient_steps, training.find_actions())

    def _score(self, training: CorrespondenceTraining) -> float:
        training.correspondence.eval()
        score = self._scorer.score(training.correspondence)
        training.correspondence.train()
        steps = round(score["value"] * SCORE_STEPS)
        return self.context.ranks.broadcast(steps, self.context.device) / SCORE_STEPS

    @cached_property
    def _scorer(self) -> Scorer:
        """One for all, so that they are scored on the same transitions."""
        random = numpy_generator(self.context.seed, "learn-corr recipe score")
        return Scorer(self.knowledge, random, scored_transitions(self.knowledge))

    def _log_start(self, chosen: CorrespondenceTraining) -> None:
        """Log where the one that learns began: of several searches none says that it was taken.

        And one that was made before a kill is not logged any more.
        """
        if chosen.start is not None:
            self.run.metrics.write(0, {"event": "start", **chosen.start.state()})
        elif len(self.candidates) > 1:  # others may have searched
            self.run.metrics.write(0, {"event": "start", "kind": "none"})

    def _say(self, chosen: CorrespondenceTraining) -> None:
        scores = chosen.recipe_scores
        listed = ", ".join(f"{name} {score:.2f}" for name, score in scores.items())
        self.run.metrics.write(0, {"event": "recipe", "chosen": chosen.recipe, "scores": scores})
        played = self._symmetry.told()
        games = f"; mean returns of games between symmetries: {played}" if played else ""
        self.context.console.say(f"learn-corr: recipe {chosen.recipe} (scores: {listed}{games})")
        asked = self.candidates[0].settings.q_loss  # all have the same
        if asked != "auto" and not chosen.has_q_loss:
            self.context.console.say(
                f"learn-corr: --q-loss {asked} changed nothing, for this recipe has no L_Q"
            )
