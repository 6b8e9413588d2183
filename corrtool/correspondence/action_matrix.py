"""Which source action does what a target action does, by the errors of F.

F predicts each transition of the target, as G_T translates it, once for every source action. What
predicts best is the source action, for an F that knows what actions do: by far the most of a
picture changes without them, so that the losses of two actions differ by a few per cent only, and
it takes hundreds of transitions to tell them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.assignment import assign
from corrtool.correspondence.model import Correspondence
from corrtool.environment_model.network import ScaledModel
from corrtool.environment_model.validation import CHANGE
from corrtool.memory import ReplayMemory
from corrtool.memory.rows import Rows
from corrtool.states import StateSpec

BATCH = 128  # transitions at a time, which bounds the memory
FEWEST_TAKEN = 3  # transitions of an action; of fewer the noise cannot be told
DEVIATIONS = 2.0  # of the sampling noise: what differs by less is not told apart


class ActionMatrixDescription(TypedDict):
    """An :class:`ActionMatrix` as the metrics hold it."""

    transitions: int
    relative_model_losses: list[list[float]]
    centred: list[list[float]]
    equivalent_target_actions: list[list[int]]


@dataclass(frozen=True)
class ActionMatrix:
    """The errors of F on N transitions of the target, by source action.

    Attributes:
        errors: (N, A_S), over what changes in the newest frame.
        changes: (N,), what persistence gets wrong there.
        actions: (N,), target actions.
        target_count: A_T.
    """

    errors: NDArray[np.float64]
    changes: NDArray[np.float64]
    actions: NDArray[np.int64]
    target_count: int

    @classmethod
    def joined(cls, parts: list[ActionMatrix]) -> ActionMatrix:
        """That of the transitions of all ``parts``."""
        return cls(
            np.concatenate([part.errors for part in parts]),
            np.concatenate([part.changes for part in parts]),
            np.concatenate([part.actions for part in parts]),
            parts[0].target_count,
        )

    @property
    def source_count(self) -> int:
        """A_S."""
        return int(self.errors.shape[1])

    @property
    def costs(self) -> NDArray[np.float64]:
        """(A_T, A_S): what each target action adds to the relative model loss as which source's."""
        none = 1e-6
        costs: NDArray[np.float64] = self._taken.T @ self.errors / (self.changes.sum() + none)
        return costs

    @property
    def relative(self) -> NDArray[np.float64]:
        """(A_T, A_S): the relative model loss of each target action as each source action.

        1 for a target action that was never taken.
        """
        none = 1e-6
        changes = (self._taken.T @ self.changes)[:, None]
        relative: NDArray[np.float64] = (self._taken.T @ self.errors + none) / (changes + none)
        return relative

    @property
    def noise(self) -> NDArray[np.float64]:
        """(A_T, A_S): the standard errors of ``relative`` less each row's mean.

        Infinite for a target action that was hardly ever taken.
        Those of a quotient of two sums over the same transitions.
        """
        apart = self.errors - self.errors.mean(1, keepdims=True)
        changes = np.maximum((self._taken.T @ self.changes)[:, None], 1e-6)
        share = (self._taken.T @ apart) / changes
        residual = apart - share[self.actions] * self.changes[:, None]
        noise: NDArray[np.float64] = np.sqrt(self._taken.T @ residual**2) / changes
        noise[self._taken.sum(0) < FEWEST_TAKEN] = np.inf
        return noise

    @property
    def _taken(self) -> NDArray[np.float64]:
        """(N, A_T), 1 for the action taken."""
        taken: NDArray[np.float64] = np.eye(self.target_count)[self.actions]
        return taken

    def loss(self, action_map: ActionMap) -> float:
        """The relative model loss with a map of the actions."""
        return float(self.costs[np.arange(self.target_count), list(action_map.source_of)].sum())

    def best_map(self) -> ActionMap:
        """The map with the least loss; one to one where there are as many source actions."""
        return ActionMap(assign(self.costs), self.source_count)

    def better_map(self, current: ActionMap) -> ActionMap:
        """The map with the least loss, if ``current`` is worse beyond the noise, else that one.

        The best of many maps is better on the transitions that chose it, whatever the actions do:
        so it is chosen on one half of them, and compared with the ``current`` one on the other.
        """
        best = self.best_map()
        if current == best:
            return current
        chosen, unseen = self._every_second(0).best_map(), self._every_second(1)
        return best if unseen._deviations_better(chosen, current) > DEVIATIONS else current

    def in_order(self, action_map: ActionMap) -> ActionMap:
        """``action_map``, with what cannot be told apart in the order of the source.

        Actions that F cannot tell apart may differ all the same: in Pong a hit with FIRE is harder,
        which random play hardly ever shows, and through a map that exchanged four such actions the
        agent lost every game. Where nothing else is known, tasks list alike actions alike. Neither
        an exchange nor all of them together are worse beyond the noise.
        """
        ordered, changed = action_map, True
        while changed:  # fewer are out of order, or shared, each time
            changed = False
            for other in _closer_to_order(ordered):
                losses = (
                    self._deviations_better(ordered, other),
                    self._deviations_better(action_map, other),
                )
                if max(losses) <= DEVIATIONS:
                    ordered, changed = other, True
                    break
        return ordered

    def _deviations_better(self, one: ActionMap, other: ActionMap) -> float:
        """How much less loss ``one`` has than ``other``, in standard deviations of the noise."""
        gain = self.errors_by(other) - self.errors_by(one)
        noise = gain.std() * np.sqrt(len(gain))
        return float(gain.sum() / max(noise, 1e-12))

    def errors_by(self, action_map: ActionMap) -> NDArray[np.float64]:
        """(N,) the error of F on each transition with a map of the actions."""
        taken = np.array(action_map.source_of)[self.actions]
        errors: NDArray[np.float64] = self.errors[np.arange(len(self.errors)), taken]
        return errors

    def _every_second(self, first: int) -> ActionMatrix:
        """That of every second transition."""
        part = slice(first, None, 2)
        return replace(
            self,
            errors=self.errors[part],
            changes=self.changes[part],
            actions=self.actions[part],
        )

    def equivalent(self) -> list[tuple[int, int]]:
        """Pairs of target actions whose rows differ by less than the noise, so may be exchanged."""
        rows, noise = double_centred(self.relative), self.noise
        return [
            (a, b)
            for a, b in combinations(range(self.target_count), 2)
            if np.isfinite(noise[[a, b]]).all()
            and (np.abs(rows[a] - rows[b]) <= DEVIATIONS * np.hypot(noise[a], noise[b])).all()
        ]

    def to_json(self) -> ActionMatrixDescription:
        """As the metrics hold it."""
        return {
            "transitions": len(self.actions),
            "relative_model_losses": self.relative.round(6).tolist(),
            "centred": double_centred(self.relative).round(6).tolist(),
            "equivalent_target_actions": [list(pair) for pair in self.equivalent()],
        }


def _closer_to_order(action_map: ActionMap) -> Iterator[ActionMap]:
    """The maps that are one step nearer to the order of the source.

    Two target actions out of order are each other's, or one has a source action that no other has:
    a lower one, or any where it shared its own.
    """
    source_of = action_map.source_of
    for a, b in combinations(range(action_map.target_count), 2):
        if source_of[b] < source_of[a]:
            yield action_map.exchanged(a, b)
    for a, source in enumerate(source_of):
        taken = {*source_of[:a], *source_of[a + 1 :]}
        for free in range(action_map.source_count if source in taken else source):
            if free not in taken:
                yield action_map.with_source(a, free)


def double_centred(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """``matrix`` less its rows' and its columns' means, so that all of them are 0.

    What is left is what the pairs say: how hard a target action is to predict, and how good F is
    at a source action, are gone. It has the same best one-to-one map.
    """
    centred: NDArray[np.float64] = (
        matrix - matrix.mean(0) - matrix.mean(1, keepdims=True) + matrix.mean()
    )
    return centred


@torch.no_grad()
def batch_matrix(
    environment_model: ScaledModel,
    spec: StateSpec,
    translated: Tensor,
    translated_next: Tensor,
    actions: Tensor,
    target_count: int,
) -> ActionMatrix:
    """The matrix of a batch, already translated: (B, …) of ``spec`` in the model range, twice."""
    here, following = (spec.frames_of(states)[:, -1] for states in (translated, translated_next))
    change = (following - here).abs()
    changing = change > CHANGE
    errors = []
    for source_action in range(environment_model.actions):
        taken = torch.full_like(actions, source_action)
        predicted = spec.frames_of(environment_model(translated, taken))[:, -1]
        errors.append(((predicted - following).abs() * changing).flatten(1).sum(1))
    return ActionMatrix(
        torch.stack(errors, dim=1).double().cpu().numpy(),
        (change * changing).flatten(1).sum(1).double().cpu().numpy(),
        actions.cpu().numpy(),
        target_count,
    )


@torch.no_grad()
def action_matrix(
    correspondence: Correspondence,
    environment_model: ScaledModel,
    target: ReplayMemory,
    rows: Rows,
) -> ActionMatrix:
    """The matrix of the transitions of M_T at ``rows``, as G_T translates them now."""
    scaling, spec = correspondence.target_scaling, correspondence.source_scaling.spec
    action_map = correspondence.action_map
    count = environment_model.actions if action_map is None else action_map.target_count
    training = correspondence.training
    correspondence.eval()
    parts = []
    for batch in np.array_split(rows, -(-len(rows) // BATCH)):
        here, following = (
            correspondence.target_to_source(scaling.raw_to_model(target.states(at)))
            for at in (batch, target.next_rows(batch))
        )
        parts.append(
            batch_matrix(environment_model, spec, here, following, target.actions(batch), count)
        )
    correspondence.train(training)
    return ActionMatrix.joined(parts)
