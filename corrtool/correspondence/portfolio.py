"""Which generator and losses suit a pair: several are tried, and the one with the best score learns.

No generator serves all pairs. An affine map plays rotated Pong as well as its own game, where a
resnet of this size loses a part, and has no chance on what is not an affine map. What each can
explain is seen without a game, by the score of what it is after a short time.
"""

from __future__ import annotations

from dataclasses import dataclass

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.knowledge import Knowledge
from corrtool.correspondence.score import score_correspondence
from corrtool.correspondence.training import CorrespondenceTraining
from corrtool.runs.context import StageContext
from corrtool.runs.run import Run
from corrtool.runtime.seeds import numpy_generator
from corrtool.settings.stages import LearnCorrSettings

CLEARLY_BETTER = 0.02  # by which a later recipe, which can do more, has to beat an earlier one


@dataclass(frozen=True)
class Candidate:
    """A recipe that fits the pair: its name, all settings with it, and its generator."""

    name: str
    settings: LearnCorrSettings
    generator: GeneratorDescription


@dataclass(frozen=True)
class Portfolio:
    """The candidates for a run, of which one is to learn."""

    context: StageContext
    run: Run
    knowledge: Knowledge
    action_map: ActionMap
    candidates: tuple[Candidate, ...]

    def new(self, candidate: Candidate) -> CorrespondenceTraining:
        """The training of a candidate, before its start is found or its state restored."""
        return CorrespondenceTraining(
            self.context, candidate.settings, self.knowledge, candidate.generator, self.action_map
        )

    def chosen(self) -> tuple[Candidate, CorrespondenceTraining, dict[str, float]]:
        """The best candidate, its training so far, and the score of each that was tried.

        A single one is not tried. The first that explains enough is taken at its start.
        """
        best, scores = None, dict[str, float]()
        for candidate in self.candidates:
            training = self.new(candidate)
            training.find_start(self.context, self.run)
            if len(self.candidates) == 1:
                return candidate, training, scores
            score = self._tried(candidate, training)
            scores[candidate.name] = score
            if best is None or score > scores[best[0].name] + CLEARLY_BETTER:
                best = candidate, training
            if score >= candidate.settings.recipe_enough:
                break
        assert best is not None
        self._say(best[0], scores)
        return *best, scores

    def _tried(self, candidate: Candidate, training: CorrespondenceTraining) -> float:
        """The score at the start that was found, or after the steps of a trial."""
        settings = candidate.settings
        if training.started and (score := self._score(training)) >= settings.recipe_enough:
            return score
        steps = min(settings.recipe_trial_steps, training.total)
        title = f"learn-corr {self.run.request.name}: trying {candidate.name}"
        with self.context.console.progress(title, steps, "gradient steps") as progress:
            for _ in range(steps):
                training.step()
                progress.advance(1)
        return self._score(training)

    def _score(self, training: CorrespondenceTraining) -> float:
        random = numpy_generator(self.context.seed, "learn-corr recipe score")
        return score_correspondence(training.correspondence, self.knowledge, random).value

    def _say(self, chosen: Candidate, scores: dict[str, float]) -> None:
        listed = ", ".join(f"{name} {score:.2f}" for name, score in scores.items())
        self.run.metrics.write(0, {"event": "recipe", "chosen": chosen.name, "scores": scores})
        self.context.console.say(f"learn-corr: recipe {chosen.name} (scores: {listed})")
