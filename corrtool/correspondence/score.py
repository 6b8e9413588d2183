r"""How well a correspondence fits what is known of both tasks, without playing.

Two things are measured on random transitions. Do those of M_T, translated, obey F as those of M_S
do? And do they obey the Bellman equation of Q_S, with the target's own rewards? Both are compared
with the source itself, so that neither F nor Q_S has to be good, and both are needed: F of Pong
obeys the game upside down nearly as well, and a correspondence may explain nothing but what does
not matter. Of a policy that is no Q-function the critic V takes the place of Q_S, with
r + γ V(s') − V(s), of which the policy's own actions have a mean of zero and others their
advantage. So each transition counts as much as the policy finds its action probable, which also
makes the Bellman part see the action map. Without a critic it is left out, since logits know no
rewards.

Of vectors F is asked coordinate by coordinate, and each counts as much as it has of all changes in
M_S. Changes of all together would ask for no pole that is mapped to a constant, and the less of one
that F knows little of, the better: what shrinks would be explained.

Neither is sufficient. Nothing is known of states where the memories have none, such as those that
random play never reaches, and a task with a symmetry has more than one correspondence that scores
1. What a correspondence is worth, only games tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from corrtool.correspondence.generators import translate_together
from corrtool.correspondence.knowledge import Knowledge
from corrtool.correspondence.losses import elements_of_errors_and_changes, share_of_change
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.statistics import element_statistics
from corrtool.correspondence.temporal_differences import (
    parts,
    taken_action_weights,
    target_outputs,
    temporal_differences,
    transition_batches,
)
from corrtool.memory.replay import TransitionBatch
from corrtool.memory.samples import even_sample
from corrtool.runs.results import Score
from corrtool.states import VECTOR, StateSpec

TRANSITIONS = 1_000
REFERENCE = 4  # times as many of the source, of which errors are found once
CYCLED = 4  # so many of its transitions for one of the cycle error, which is only told
MIN_EXPLAINED = 0.02  # of the source by F: three standard deviations of a loss over 128 of Pong
MIN_DEVIATION = 1e-6  # of values that are all equal


def score_numbers(score: Score) -> dict[str, float]:
    """The numbers of a score that there are, by name: those of Q_S may be None."""
    return {name: float(number) for name, number in score.items() if isinstance(number, float)}


def score_value(model_share: float, bellman_share: float | None) -> float:
    r"""The one number that a score comes to, in [0, 1]: :math:`m \sqrt{b}`.

    Both are in [0, 1], and b is 1 without a Q-function. A product, since a correspondence has to
    have both. The root, since a Bellman error never falls to zero: Q_S is a learnt function, and
    on random play of the target it is asked about states that its own agent seldom sees. This is
    a choice: weights fitted to games rank no better (docs/pairs.md).
    """
    return model_share * sqrt(1.0 if bellman_share is None else bellman_share)


def explained_share(loss: float, source_loss: float) -> float:
    """What F explains of translated changes, as a share of what it explains of the source's own.

    Both are relative model losses: 0 explains all, 1 nothing. In [0, 1]; 0 where F explains next
    to nothing of the source, whose share would be one of noise by noise.
    """
    explained, explainable = 1.0 - loss, 1.0 - source_loss
    return 0.0 if explainable < MIN_EXPLAINED else min(1.0, max(0.0, explained / explainable))


def error_share(error: float, source_error: float) -> float:
    """The Bellman error on the source's own states as a share of that on translated ones.

    In [0, 1]: 1 where translated states fit Q_S as well or better.
    """
    return 1.0 if error <= source_error else source_error / error


def score_correspondence(
    correspondence: Correspondence,
    knowledge: Knowledge,
    random: np.random.Generator,
    transitions: int = TRANSITIONS,
    advance: Callable[[int], None] = lambda transitions: None,
) -> Score:
    """The score of a correspondence on so many random transitions of M_T.

    Args:
        correspondence: one whose source states are scaled as F's.
        knowledge: with F.
        advance: called with how many more transitions are done, of :attr:`Scorer.length`.

    Raises:
        ValueError: there is no F.
    """
    return Scorer(knowledge, random, transitions).score(correspondence, advance)


@dataclass(frozen=True)
class _Reference:
    """What Q_S and F make of M_S itself.

    Attributes:
        model_loss: the relative model loss of F, on records that it has not learnt from where that
            is known: F knows those of M_S better than any that it has not seen, and so better than
            those of M_T, however exact their translation.
        importance: what each coordinate has of all changes, (m,); of pictures all have 1, ().
        bellman_error: of Q_S, in its own units; None without it.
        deviation: standard deviation of the values of Q_S; 1 without it.
        mean: the mean state, in the model range.
    """

    model_loss: float
    importance: Tensor
    bellman_error: float | None
    deviation: float
    mean: Tensor


@dataclass
class _Sums:
    """Sums over the transitions of one memory, as they are or translated.

    The methods that add take the same transitions, one after the other.
    """

    states: StateSpec
    error: Tensor = field(default_factory=lambda: torch.zeros(()))
    change: Tensor = field(default_factory=lambda: torch.zeros(()))
    bellman_errors: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)

    def add_model(self, predicted_next: Tensor, here: Tensor, following: Tensor) -> None:
        """Add what F predicts and what comes, (B, …) in the model range."""
        newest = (
            self.states.frames_of(states)[:, -1] for states in (predicted_next, here, following)
        )
        of_vectors = self.states.settings_kind == VECTOR
        error, change = (
            elements.sum(0) if of_vectors else elements.sum()
            for elements in elements_of_errors_and_changes(*newest)
        )
        self.error, self.change = self.error + error, self.change + change

    def add_bellman(
        self,
        values: Tensor,
        next_values: Tensor,
        batch: TransitionBatch,
        probabilities: Tensor | None,
    ) -> None:
        """Add the values of all actions, (B, A), in the states of a batch and in the next ones.

        ``probabilities`` (B, A) of them say how much each transition counts; None: all the same.
        """
        self.bellman_errors.append(temporal_differences(values, next_values, batch))
        self.weights.append(taken_action_weights(probabilities, batch.actions))
        self.values.append(values)

    @property
    def importance(self) -> Tensor:
        """What each coordinate has of all changes, (m,); of pictures all together, ()."""
        return share_of_change(self.change, self.change.sum())

    def model_loss(self, importance: Tensor) -> float:
        """The relative model loss over all transitions, each coordinate as much as it counts."""
        return (importance * share_of_change(self.error, self.change)).sum().item()

    @property
    def bellman_error(self) -> float | None:
        """Weighted mean of the absolute Bellman error; None where nothing counts."""
        if not self.bellman_errors:
            return None
        weights = torch.cat(self.weights)
        total = (weights * torch.cat(self.bellman_errors).abs()).sum() / weights.sum()
        return total.item() if weights.sum() > 0 else None

    @property
    def deviation(self) -> float:
        """Standard deviation of all values, or a little where they are equal; 1 without any."""
        if not self.values:
            return 1.0
        return max(MIN_DEVIATION, torch.cat(self.values).std(unbiased=False).item())


class Scorer:
    """Scores of several correspondences on the same transitions, which makes them comparable.

    What does not depend on a correspondence is computed once. Networks are used as they are: put
    the correspondence into evaluation mode before.

    Args:
        random: chooses the transitions, here and now.
        transitions: so many of M_T, or all where there are fewer, and of M_S some times as many.

    Raises:
        ValueError: there is no F.
    """

    def __init__(
        self, knowledge: Knowledge, random: np.random.Generator, transitions: int = TRANSITIONS
    ) -> None:
        if knowledge.environment_model is None:
            raise ValueError("a score needs F, and there is none")
        self._knowledge, self._model = knowledge, knowledge.environment_model
        source, target = knowledge.source, knowledge.target
        self._target_rows = even_sample(random, target, transitions)
        self._source_rows = even_sample(random, source, REFERENCE * transitions)
        self._cycled_rows = even_sample(random, source, -(-transitions // CYCLED))
        self._reference: _Reference | None = None

    @property
    def length(self) -> int:
        """How many transitions ``advance`` is told of by a first score, the most that it can be."""
        return len(self._source_rows) + len(self._target_rows) + len(self._cycled_rows)

    @torch.no_grad()
    def score(
        self,
        correspondence: Correspondence,
        advance: Callable[[int], None] = lambda transitions: None,
    ) -> Score:
        """The score; ``advance`` is called with how many more transitions are done."""
        source = self._reference = self._reference or self._find_reference(advance)
        sums = self._translated_sums(correspondence, advance)
        model_loss = sums.model_loss(source.importance)
        model_share = explained_share(model_loss, source.model_loss)
        error, source_error = sums.bellman_error, source.bellman_error
        bellman_share = (
            None if error is None or source_error is None else error_share(error, source_error)
        )
        return {
            "model_loss": model_loss,
            "source_model_loss": source.model_loss,
            "model_share": model_share,
            "bellman_error": None if error is None else error / source.deviation,
            "source_bellman_error": (
                None if source_error is None else source_error / source.deviation
            ),
            "bellman_share": bellman_share,
            "cycle_error": self._cycle_error(correspondence, source.mean, advance),
            "value": score_value(model_share, bellman_share),
        }

    def _find_reference(self, advance: Callable[[int], None]) -> _Reference:
        source, scaling = self._knowledge.source, self._model.scaling
        q, choices = self._knowledge.source_values, self._knowledge.source_choices
        sums, held_out = _Sums(scaling.spec), self._knowledge.held_out_loss
        for batch in transition_batches(self._knowledge, source, self._source_rows):
            here, following = (
                scaling.raw_to_model(states) for states in (batch.states, batch.next_states)
            )
            if held_out is None or scaling.spec.settings_kind == VECTOR:
                # Of a loss that is known only the changes are asked, not what F predicts.
                predicted = self._model(here, batch.actions) if held_out is None else here
                sums.add_model(predicted, here, following)
            if q is not None:
                now, then = scaling.raw_to_q(batch.states), scaling.raw_to_q(batch.next_states)
                probabilities = None if choices is None else choices(now)
                sums.add_bellman(q(now), q(then), batch, probabilities)
            advance(len(batch.rows))
        mean = element_statistics(source, self._source_rows, scaling).mean
        importance = sums.importance
        model_loss = sums.model_loss(importance) if held_out is None else held_out
        return _Reference(model_loss, importance, sums.bellman_error, sums.deviation, mean)

    def _translated_sums(self, c: Correspondence, advance: Callable[[int], None]) -> _Sums:
        """F and Q_S on the translated transitions of M_T."""
        knowledge, sums = self._knowledge, _Sums(c.source_scaling.spec)
        for batch in transition_batches(knowledge, knowledge.target, self._target_rows):
            here, following, _ = translate_together(
                c.target_to_source,
                c.target_scaling.raw_to_model(batch.states),
                c.target_scaling.raw_to_model(batch.next_states),
            )
            assert following is not None
            predicted_next = self._model(here, c.source_actions(batch.actions))
            sums.add_model(predicted_next, here, following)
            q, choices = knowledge.source_values, knowledge.source_choices
            if q is not None:
                values, next_values = (target_outputs(c, q, states) for states in (here, following))
                probabilities = None if choices is None else target_outputs(c, choices, here)
                sums.add_bellman(values, next_values, batch, probabilities)
            advance(len(batch.rows))
        return sums

    def _cycle_error(
        self, c: Correspondence, mean: Tensor, advance: Callable[[int], None]
    ) -> float:
        """Eq. (9) of the source, as a share of what its mean state gets wrong."""
        error = constant = 0.0
        for rows in parts(self._cycled_rows, c.source_scaling.spec):
            states = c.source_scaling.raw_to_model(self._knowledge.source.states(rows))
            back = c.target_to_source(c.source_to_target(states))
            error += (back - states).abs().sum().item()
            constant += (mean - states).abs().sum().item()
            advance(len(rows))
        return error / constant if constant else 0.0
