"""Many maps of vectors at once, each with its map of actions, and how well F explains them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from corrtool.correspondence.assignment import assign
from corrtool.correspondence.linear_maps import LinearMaps
from corrtool.correspondence.linear_start import LinearStart
from corrtool.correspondence.moments import StateMoments
from corrtool.environment_model.network import ScaledModel

JUDGED_TOGETHER = 64  # maps at a time, which bounds the memory
CHANGE = 0.02  # of a coordinate, in standard deviations: as in the relative model loss
EXPLAINED = 0.5  # of a coordinate's change by F, from which on its scale is learnt by descent


@dataclass(frozen=True)
class Transitions:
    """B transitions in the model range: states (B, n), actions (B,), next states (B, n)."""

    states: Tensor
    actions: Tensor
    next_states: Tensor

    def at(self, index: Tensor) -> Transitions:
        """Those at ``index``."""
        return Transitions(self.states[index], self.actions[index], self.next_states[index])


@dataclass(frozen=True)
class Candidates:
    """R maps of states, each with its map of actions: ``source_of`` (R, A_T)."""

    maps: LinearMaps
    source_of: Tensor

    @classmethod
    def of(cls, start: LinearStart) -> Candidates:
        """The one of a start (R = 1)."""
        source_of = torch.tensor([start.action_map.source_of], device=start.weight.device)
        return cls(LinearMaps(start.weight[None], start.bias[None]), source_of)

    def at(self, index: Tensor) -> Candidates:
        """Those at ``index``."""
        return Candidates(self.maps.at(index), self.source_of[index])

    def parts(self) -> list[Candidates]:
        """A few at a time, in order."""
        indices = torch.arange(len(self.source_of), device=self.source_of.device)
        return [self.at(part) for part in torch.split(indices, JUDGED_TOGETHER)]


@dataclass(frozen=True)
class CandidateLosses:
    """What F and the moments of M_S make of candidates.

    Attributes:
        target_actions, source_actions: numbers of actions.
    """

    model: ScaledModel
    moments: StateMoments
    target_actions: int
    source_actions: int

    def __call__(
        self, candidates: Candidates, batch: Transitions, moments_weight: float = 1.0
    ) -> Tensor:
        """Of each candidate: relative model loss and distance of the moments → (R,).

        The relative loss is half that over all coordinates together and half the mean of each
        one's own, so that what moves little counts too.
        """
        here, following = candidates.maps(batch.states), candidates.maps(batch.next_states)
        actions = candidates.source_of[:, batch.actions]
        error, change = _errors(self.predicted(here, actions), here, following)
        none = 1e-6
        together = (error.sum((1, 2)) + none) / (change.sum((1, 2)) + none)
        apart = ((error.sum(1) + none) / (change.sum(1) + none)).mean(1)
        loss = 0.5 * (together + apart)
        return loss + moments_weight * self.moments.distances(here) if moments_weight else loss

    def predicted(self, here: Tensor, actions: Tensor) -> Tensor:
        """F of states (R, B, m) and actions (R, B)."""
        predicted: Tensor = self.model(here.flatten(0, 1), actions.flatten())
        return predicted.view_as(here)

    @torch.no_grad()
    def assigned(self, candidates: Candidates, batch: Transitions) -> Candidates:
        """The candidates with the maps of actions that explain their transitions best."""
        costs = torch.cat([self._action_costs(part.maps, batch) for part in candidates.parts()])
        assigned = [assign(matrix) for matrix in costs.cpu().numpy()]
        return Candidates(candidates.maps, torch.tensor(assigned, device=costs.device))

    def _action_costs(self, maps: LinearMaps, batch: Transitions) -> Tensor:
        """Errors where a target action is a source action, summed, for R maps → (R, A_T, A_S)."""
        here, following = maps(batch.states), maps(batch.next_states)
        taken = one_hot(batch.actions, self.target_actions).float()
        costs = []
        for action in range(self.source_actions):
            actions = torch.full(here.shape[:2], action, device=here.device)
            error, _ = _errors(self.predicted(here, actions), here, following)
            costs.append(error.sum(2) @ taken)
        return torch.stack(costs, dim=2)

    @torch.no_grad()
    def explained(self, candidate: Candidates, batch: Transitions) -> Tensor:
        """Whether F explains a good part of each coordinate's change, (R, m) bool."""
        here = candidate.maps(batch.states)
        following = candidate.maps(batch.next_states)
        predicted = self.predicted(here, candidate.source_of[:, batch.actions])
        error, change = _errors(predicted, here, following)
        return error.sum(1) < (1 - EXPLAINED) * change.sum(1)


def _errors(predicted: Tensor, here: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
    """The error of a prediction and of persistence, where the state changes: (R, B, m) each."""
    change = (following - here).abs()
    changing = (change > CHANGE).detach()
    return (predicted - following).abs() * changing, change * changing
