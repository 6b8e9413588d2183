"""The training of a correspondence.

Mini-batches of two memories, gradient steps, a state to go on from.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from corrtool.correspondence.action_matrix import ActionMatrix, action_matrix
from corrtool.correspondence.actions import LEARNED, ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.found_starts import AnyStart
from corrtool.correspondence.generators import (
    LinearGenerator,
    is_mirrored,
    rotation_angle_degrees,
)
from corrtool.correspondence.knowledge import Knowledge
from corrtool.correspondence.learner import CorrespondenceLearner, RunningMeans
from corrtool.correspondence.linear_start import LinearStart
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.play_tests import PlayTestResults
from corrtool.correspondence.scores import ScoreResults
from corrtool.correspondence.starts import StartFinder, agree_on_actions
from corrtool.correspondence.statistics import ElementStatistics, element_statistics
from corrtool.memory import ShuffledRows
from corrtool.memory.rows import Rows
from corrtool.q_learning.policy import PolicyNetwork, settled_q_loss
from corrtool.runs.context import StageContext
from corrtool.runs.results import CorrespondenceChoices
from corrtool.runs.steps import learning_rate_share
from corrtool.runtime.seeds import numpy_generator
from corrtool.settings.stages import LearnCorrSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import IMAGE

LOG_EVERY_GRADIENT_STEPS = 50
_NEWER = {"scores", "started", "recipe", "recipe_scores", "action_map"}  # all or none in a state
EXAMPLE_STATES = 6
ACTIONS_EVERY_GRADIENT_STEPS = 100  # the map of the actions is estimated anew, where it is learnt
ACTION_TRANSITIONS = 512
COMPARED_TRANSITIONS = 2_048  # of other states than pictures, once: an action may move one pixel


class CorrespondenceTraining:
    """Learner and mini-batches of one run, and where it stands: a resumable part of its loop.

    Attributes:
        total: gradient steps in all; fewer than planned where the run's time is over before.
        terms: the means of the loss terms that were last told.
        test_results: what the play tests have found so far.
        scores: the scores so far.
        started: whether the generators began where a search said.
        exact: whether that was a map that learning cannot make better.
        start: where that was; None without a search, and after a resumption.
        recipe, recipe_scores: by whose settings it learns, and what led to that, where it was
            chosen of several.
        untried: recipes that were not looked at for want of time, none of the others being enough.
        search_cut: whether the search for its start ended for want of time; where none was enough,
            whether any did.
        settled: whether learning ended since the score rose no more.
    """

    def __init__(
        self,
        context: StageContext,
        settings: LearnCorrSettings,
        knowledge: Knowledge,
        generator: GeneratorDescription,
        action_map: ActionMap | None = None,
    ) -> None:
        self._settings, self._knowledge, self._ranks, self._device = (
            settings,
            knowledge,
            context.ranks,
            context.device,
        )
        self._seed = context.seed
        source, target, model = knowledge.source, knowledge.target, knowledge.environment_model
        source_rows, target_rows = source.transition_rows(), target.dynamics_rows()
        self._planned = settings.gradient_steps or settings.epochs * max(
            1, max(len(source_rows), len(target_rows)) // settings.batch_size
        )
        self.total = self._planned
        source_scaling = source.scaling(source_rows) if model is None else _copy(model.scaling)
        scalings = source_scaling, target.scaling(target_rows)
        self.correspondence = Correspondence(*scalings, generator, action_map).to(context.device)
        self.learner = CorrespondenceLearner(
            self.correspondence,
            knowledge.source_q,
            model,
            settings,
            self.total,
            numpy_generator(context.seed, "learn-corr pools"),
            context.device,
            self._statistics(source_rows, target_rows),
            context.ranks,
        )
        self._source_batches, self._target_batches = (
            ShuffledRows(
                rows,
                settings.batch_size,
                numpy_generator(context.seed, f"learn-corr {role} batches"),
            )
            for role, rows in (("source", source_rows), ("target", target_rows))
        )
        self.source_examples, self.target_examples = (
            memory.states(rows[np.linspace(0, len(rows) - 1, EXAMPLE_STATES).astype(int)])
            for memory, rows in ((source, source_rows), (target, target_rows))
        )
        self._sums = RunningMeans(context.ranks)
        self.terms: dict[str, float] = {}
        self.test_results, self.scores = PlayTestResults(), ScoreResults()
        self.started = self.exact = False
        self.start: AnyStart | None = None
        self.recipe, self.recipe_scores = "", dict[str, float]()
        self.untried = list[str]()
        self.search_cut = self.settled = False

    def _statistics(
        self, source_rows: Rows, target_rows: Rows
    ) -> tuple[ElementStatistics, ElementStatistics] | None:
        """Statistics for the cycle loss by surprise; None without that loss."""
        if self._settings.cycle_loss != "surprise" or "cycle" not in self._settings.loss_weights:
            return None
        c, knowledge = self.correspondence, self._knowledge
        return (
            element_statistics(knowledge.source, source_rows, c.source_scaling),
            element_statistics(knowledge.target, target_rows, c.target_scaling),
        )

    @property
    def gradient_steps(self) -> int:
        """Number of gradient steps done."""
        return self.learner.gradient_steps

    @property
    def learns_actions(self) -> bool:
        """True if the map of actions is learnt."""
        return self._settings.action_map == LEARNED

    @property
    def has_q_loss(self) -> bool:
        """True if L_Q is one of the losses."""
        return "q" in self._settings.loss_weights

    def choices(self, asked: LearnCorrSettings) -> CorrespondenceChoices:
        """What led to the correspondence; of settings those that are not as they were asked for."""
        made: CorrespondenceChoices = {}
        if self.recipe_scores:
            request, own = asked.to_json(), self._settings.to_json()
            made["recipe"], made["recipe_scores"] = self.recipe, self.recipe_scores
            made["recipe_settings"] = {
                n: own[n] for n in own if own[n] != request[n] and n != "recipe"
            }
        if self.untried:
            made["recipe_untried"] = self.untried
        if self.search_cut:
            made["search_cut"] = True
        agent = self._knowledge.source_q
        q_loss = settled_q_loss(agent, self._settings.q_loss) if agent and self.has_q_loss else "q"
        if q_loss != "q":
            made["q_loss"] = q_loss
        if isinstance(agent, PolicyNetwork):
            made["agent_values"] = "none" if agent.critic is None else "critic"
        if is_mirrored(self.correspondence.target_to_source):
            made["mirrored"] = True
        if self.settled:
            made["settled"] = True
        if self.cut:
            made["cut"] = True
        return made

    @property
    def cut(self) -> bool:
        """True if the run's time was over before the planned gradient steps were done."""
        return self.total < self._planned

    def end_here(self) -> None:
        """Take no further gradient step, which is no cut: nothing more is to be learnt."""
        self.settled = self.gradient_steps < self._planned
        self.total = self._planned = self.gradient_steps
        self.terms = self._sums.take() or self.terms  # those of this step may be told already

    @property
    def angle_degrees(self) -> float | None:
        """The angle of G_T's spatial layer; None without one."""
        return rotation_angle_degrees(self.correspondence.target_to_source)

    def find_start(self, finder: StartFinder) -> None:
        """Begin at the best of many starts, if the model loss can tell them apart."""
        self.start = finder.find(self._settings, self.correspondence)
        self.started = self.start is not None
        linear = isinstance(self.correspondence.target_to_source, LinearGenerator)
        exact = linear and isinstance(self.start, LinearStart) and self.start.exact
        self.exact = self._ranks.agreed(exact, self._device)

    @property
    def finds_actions(self) -> bool:
        """True if the map of the actions is learnt."""
        known = self._knowledge.environment_model is not None
        return self._settings.action_map == LEARNED and known

    @property
    def actions_due(self) -> bool:
        """True if the map of the actions is to be estimated after the last step."""
        if not self.finds_actions:
            return False
        step = self.gradient_steps
        if step == 0:
            return self.started  # G_T of random weights shows F nothing
        return step % ACTIONS_EVERY_GRADIENT_STEPS == 0 or step == self.total

    def find_actions(self) -> dict[str, Any]:
        """Take the map of the actions that explains random transitions best; for the metrics.

        The map stays where another is better by no more than the noise. A new one is put in order,
        once: each time anew a right one would be lost some day. What is drawn depends on seed and
        step only, so a run that is resumed draws the same.
        """
        c, matrix = self.correspondence, self._action_matrix(ACTION_TRANSITIONS)
        current = c.action_map or ActionMap.identity(matrix.source_count)
        found = matrix.better_map(current)
        first = self.gradient_steps == (0 if self.started else ACTIONS_EVERY_GRADIENT_STEPS)
        c.action_map = matrix.in_order(found) if first or found != current else found
        agree_on_actions(self._ranks, c)
        return {
            "event": "action_matrix",
            "gradient_steps": self.gradient_steps,
            **matrix.to_json(),
            "action_map": list(c.action_map.source_of),
        }

    def other_actions_fit(self) -> bool:
        """True if another map of the actions than the fixed one explains M_T better, by F."""
        if self._knowledge.environment_model is None or self.finds_actions:
            return False
        picture = self.correspondence.source_scaling.spec.settings_kind == IMAGE
        matrix = self._action_matrix(ACTION_TRANSITIONS if picture else COMPARED_TRANSITIONS)
        current = self.correspondence.action_map or ActionMap.identity(matrix.source_count)
        found = matrix.better_map(current)
        other = found != current and matrix.in_order(found) != current
        return self._ranks.agreed(other, self._device)

    def _action_matrix(self, transitions: int) -> ActionMatrix:
        """That of random transitions of M_T, always the same ones after so many gradient steps."""
        target, model = self._knowledge.target, self._knowledge.environment_model
        assert model is not None
        random = numpy_generator(self._seed, "learn-corr actions", self.gradient_steps)
        rows = target.dynamics_rows()
        rows = random.choice(rows, size=min(transitions, len(rows)), replace=False)
        return action_matrix(self.correspondence, model, target, rows)

    def step(self) -> bool:
        """One gradient step; whether it is time to tell the ``terms``, which are then new."""
        shard, source, target = self._ranks.shard, self._knowledge.source, self._knowledge.target
        rows = shard(self._target_batches.next())
        terms = self.learner.update(
            source.states(shard(self._source_batches.next())),
            target.states(rows),
            target.actions(rows),
            target.states(target.next_rows(rows))
            if "translated_next" in self.learner.needs
            else None,
        )
        self._sums.add(terms)
        if self.gradient_steps % LOG_EVERY_GRADIENT_STEPS and self.gradient_steps != self.total:
            return False
        self.terms = self._sums.take()
        return True

    def progress(self) -> dict[str, Any]:
        """The metrics of the last steps."""
        share = learning_rate_share(
            self.gradient_steps - 1, self._planned, self._settings.constant_share
        )
        return {
            "event": "progress",
            "gradient_steps": self.gradient_steps,
            **self.terms,
            "learning_rate": self._settings.learning_rate * share,
            "angle_degrees": self.angle_degrees,
        }

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        action_map = self.correspondence.action_map
        return {
            "learner": self.learner.state(),
            "source_batches": self._source_batches.state(),
            "target_batches": self._target_batches.state(),
            "sums": self._sums.state(),
            "terms": self.terms,
            "found": dict(self.test_results.__dict__),
            "scores": dict(self.scores.__dict__),
            "started": self.started,
            "recipe": self.recipe,
            "recipe_scores": self.recipe_scores,
            "action_map": None if action_map is None else action_map.to_json(),
            **({"untried": self.untried} if self.untried else {}),
            **({"search_cut": True} if self.search_cut else {}),
            **({"exact": True} if self.exact else {}),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self.learner.load_state(state["learner"])
        self._source_batches.load_state(state["source_batches"])
        batches = state["target_batches"]
        if (
            "random" not in state["learner"]
        ):  # once one generator was saved with both: twice the same draws, were it to go on
            batches = batches | {"random": self._target_batches.state()["random"]}
        self._target_batches.load_state(batches)
        self._sums.load_state(state["sums"], self._device)
        self.terms, self.test_results = state["terms"], PlayTestResults(**state["found"])
        if _NEWER & state.keys():
            self._load_choices(state)

    def _load_choices(self, state: dict[str, Any]) -> None:
        """What older checkpoints lack. Raises KeyError or TypeError where it is not whole."""
        self.scores = ScoreResults(**state["scores"])
        self.recipe, self.recipe_scores = state["recipe"], dict(state["recipe_scores"])
        self.untried = [str(name) for name in state.get("untried", [])]
        self.search_cut = state.get("search_cut") is True
        if type(state["started"]) is not bool:
            raise TypeError("whether it was started is not said")
        self.started, self.exact = state["started"], state.get("exact") is True
        if state["action_map"] is not None:
            self.correspondence.action_map = ActionMap.from_json(state["action_map"])


def _copy(scaling: StateScaling) -> StateScaling:
    """F is frozen, and what is learnt has a scaling of its own."""
    copied = StateScaling(scaling.spec)
    copied.load_state_dict(scaling.state_dict())
    return copied
