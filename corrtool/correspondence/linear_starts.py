"""The start of a linear generator: many maps, descended together, and the best of them.

The model loss has many basins: on Acrobot with permuted coordinates and flipped signs descent from
small random weights ends in one that explains next to nothing, however long it goes on. So many
maps start at once, signed permutations and random rotations, each with the mean and the covariance
of M_S. F of vectors is small, so they are descended in one batch, on the relative model loss (11)
and on how far their states are from those of M_S; without that a map could put everything where
nothing moves. What explains them best is where the generator starts. A signed
permutation that does so nearly as well is taken instead: it is exact where states lie that random
play never reaches. What F does not explain of it, such as a leg that seldom touches the ground,
keeps the scale that the moments give: descent would shrink it to nothing. One that shifts no raw
coordinate, in the same units or in others, is taken before that: a shift that F does not see, such
as of the place of a car on an endless road, is all to an agent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.assignment import assign
from corrtool.correspondence.linear_maps import (
    LinearMaps,
    SignedPermutation,
    candidate_maps,
    nearest_signed_permutation,
    neighbours,
    raw_weight,
)
from corrtool.correspondence.linear_polish import keep_still, polished
from corrtool.correspondence.linear_start import LinearStart
from corrtool.correspondence.moments import StateMoments
from corrtool.environment_model.network import ScaledModel
from corrtool.states import StateScaling

# Gradient steps, transitions in each, step size of Adam at first, weight of the moments. Two
# memories of one kind of play have nearly the same moments: in the end F tells more.
ROUNDS = (
    (200, 256, 0.03, 1.0),
    (400, 256, 0.02, 1.0),
    (400, 256, 0.015, 1.0),
    (1_500, 1_024, 0.01, 0.03),
)
KEPT_SHARE, MIN_KEPT = 0.25, 2  # of the maps, after each round
JUDGED_TRANSITIONS = 2_000
JUDGED_TOGETHER = 64  # maps at a time, which bounds the memory
SNAPPED_COORDINATES = 16  # beyond, a signed permutation has too many neighbours
CHANGE = 0.02  # of a coordinate, in standard deviations: as in the relative model loss
SIMPLER_TOLERANCE, SIMPLER_SLACK = 1.25, 0.005  # a signed permutation may explain so much less
EXPLAINED = 0.5  # of a coordinate's change by F, from which on its scale is learnt by descent
REASSIGN_EVERY_STEPS = 25


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

    def at(self, index: Tensor) -> Candidates:
        """Those at ``index``."""
        return Candidates(self.maps.at(index), self.source_of[index])

    def parts(self) -> list[Candidates]:
        """A few at a time, in order."""
        indices = torch.arange(len(self.source_of), device=self.source_of.device)
        return [self.at(part) for part in torch.split(indices, JUDGED_TOGETHER)]


class LinearStartSearch:
    """The search for a :class:`LinearStart` on transitions of the target.

    Args:
        source_states: of M_S, (N, m) in the model range.
        transitions: of M_T.
        target_scaling: of their states.
        action_map: m; where it is to be found along with the map of states, any that has the
            numbers of actions.
        find_actions: whether it is.
        advance: is called with the number of gradient steps done; see :attr:`length`.
        over: whether the time is over, asked before every step: the search then ends with the best
            map so far.
    """

    length = sum(steps for steps, *_ in (*ROUNDS, ROUNDS[-1]))  # the last once more if sparse

    def __init__(
        self,
        environment_model: ScaledModel,
        source_states: Tensor,
        transitions: Transitions,
        target_scaling: StateScaling,
        action_map: ActionMap,
        random: np.random.Generator,
        advance: Callable[[int], None] = lambda steps: None,
        *,
        find_actions: bool = False,
        over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._model, self._source, self._transitions = (
            environment_model,
            source_states,
            transitions,
        )
        self._target_scaling = target_scaling
        self._moments = StateMoments.of(source_states)
        self._action_map, self._find_actions = action_map, find_actions
        self._random, self._advance, self._over = random, advance, over
        self._judging = self._sample()

    def best(self, count: int) -> LinearStart:
        """The best of ``count`` maps after all rounds of descent."""
        maps = candidate_maps(self._source, self._transitions.states, count, self._random)
        source_of = torch.tensor(self._action_map.source_of, device=self._source.device)
        candidates = Candidates(maps, source_of.expand(count, -1))
        for steps, batch, step_size, moments_weight in ROUNDS:
            candidates = self._descended(candidates, steps, batch, step_size, moments_weight)
            best = self._judged(candidates).argsort()
            candidates = candidates.at(best[: max(MIN_KEPT, round(KEPT_SHARE * len(best)))])
        return self._simplest(candidates)

    def _descended(
        self,
        candidates: Candidates,
        steps: int,
        batch_size: int,
        step_size: float,
        moments_weight: float,
        moving_parts: LinearMaps | None = None,
    ) -> Candidates:
        """The candidates after ``steps`` of Adam, each on its own loss.

        Args:
            moving_parts: 1 for what may change, 0 for what stays; None for everything.
        """
        weight, bias = (
            part.clone().requires_grad_() for part in (candidates.maps.weight, candidates.maps.bias)
        )
        moving = Candidates(LinearMaps(weight, bias), candidates.source_of)
        optimizer = torch.optim.Adam([weight, bias], lr=step_size)
        for step in range(steps):
            if self._over():
                break
            batch = self._sample(batch_size)
            if self._find_actions and step % REASSIGN_EVERY_STEPS == 0:
                moving = self._with_actions(moving, batch)
            optimizer.param_groups[0]["lr"] = step_size * (1 - step / steps)
            optimizer.zero_grad()
            loss = self._losses(moving, batch, moments_weight).sum()
            torch.autograd.backward(loss)
            if moving_parts is not None:
                keep_still(weight, bias, moving_parts)
            optimizer.step()
            self._advance(1)
        still = moving.at(torch.arange(len(weight)))
        return self._with_actions(still, self._sample()) if self._find_actions else still

    def _sample(self, count: int = JUDGED_TRANSITIONS) -> Transitions:
        held = len(self._transitions.states)
        chosen = self._random.choice(held, size=min(count, held), replace=False)
        return self._transitions.at(torch.from_numpy(chosen))

    def _losses(
        self, candidates: Candidates, batch: Transitions, moments_weight: float = 1.0
    ) -> Tensor:
        """Of each candidate: relative model loss and distance of the moments → (R,).

        The relative loss is half that over all coordinates together and half the mean of each
        one's own, so that what moves little counts too.
        """
        here, following = candidates.maps(batch.states), candidates.maps(batch.next_states)
        actions = candidates.source_of[:, batch.actions]
        error, change = _errors(self._predicted(here, actions), here, following)
        none = 1e-6
        together = (error.sum((1, 2)) + none) / (change.sum((1, 2)) + none)
        apart = ((error.sum(1) + none) / (change.sum(1) + none)).mean(1)
        return 0.5 * (together + apart) + moments_weight * self._moments.distances(here)

    def _predicted(self, here: Tensor, actions: Tensor) -> Tensor:
        """F of states (R, B, m) and actions (R, B)."""
        predicted: Tensor = self._model(here.flatten(0, 1), actions.flatten())
        return predicted.view_as(here)

    @torch.no_grad()
    def _judged(self, candidates: Candidates) -> Tensor:
        """The losses of all candidates on the same transitions, whenever it is asked → (R,)."""
        return torch.cat([self._losses(part, self._judging) for part in candidates.parts()])

    @torch.no_grad()
    def _with_actions(self, candidates: Candidates, batch: Transitions) -> Candidates:
        """The candidates with the maps of actions that explain their transitions best."""
        costs = torch.cat([self._action_costs(part.maps, batch) for part in candidates.parts()])
        assigned = [assign(matrix) for matrix in costs.cpu().numpy()]
        return Candidates(candidates.maps, torch.tensor(assigned, device=costs.device))

    def _action_costs(self, maps: LinearMaps, batch: Transitions) -> Tensor:
        """Errors where a target action is a source action, summed, for R maps → (R, A_T, A_S)."""
        here, following = maps(batch.states), maps(batch.next_states)
        taken = one_hot(batch.actions, self._action_map.target_count).float()
        costs = []
        for action in range(self._action_map.source_count):
            actions = torch.full(here.shape[:2], action, device=here.device)
            error, _ = _errors(self._predicted(here, actions), here, following)
            costs.append(error.sum(2) @ taken)
        return torch.stack(costs, dim=2)

    def _simplest(self, finalists: Candidates) -> LinearStart:
        """The best finalist, or a signed permutation near one of them that does nearly as well."""
        best = self._judged(finalists).argmin()[None]
        if self._over():
            return self._start(finalists.at(best))
        free = self._start(self._polished(finalists.at(best)))
        size, target_size = self._source.shape[1], self._transitions.states.shape[1]
        if size > target_size or size > SNAPPED_COORDINATES:
            self._advance(ROUNDS[-1][0])
            return free
        found = zip(finalists.maps.weight, finalists.source_of, strict=True)
        nearest = min((self._snapped(*one) for one in found), key=lambda snapped: snapped[1])[0]
        found_sparse = self._without_shrinking(nearest)
        sparse = self._start(found_sparse)
        if sparse.loss > _tolerated(free.loss):
            return free
        scalings = self._model.scaling, self._target_scaling
        in_other_units, most = raw_weight(sparse.weight, *scalings), self._model_loss(found_sparse)
        for raw in (in_other_units.sign(), in_other_units):
            maps = LinearMaps.of_raw(raw, *scalings)
            exact = Candidates(maps, found_sparse.source_of)
            if self._model_loss(exact) <= _tolerated(most):
                return replace(self._start(exact), signed_permutation=True, exact=True)
        return replace(sparse, signed_permutation=True)

    @torch.no_grad()
    def _model_loss(self, candidate: Candidates) -> float:
        """Without the moments, which differ by more than a wrong unit would."""
        return float(self._losses(candidate, self._judging, moments_weight=0.0)[0])

    def _without_shrinking(self, permutation: Candidates) -> Candidates:
        """A signed permutation after descent; what F does not explain even then is as before."""
        start = permutation.maps
        nonzero = LinearMaps((start.weight != 0).float(), torch.ones_like(start.bias))
        descended = self._descended(permutation, *ROUNDS[-1], nonzero)
        explained = self._explained(descended)
        row = explained[..., None]
        maps = LinearMaps(
            torch.where(row, descended.maps.weight, start.weight),
            torch.where(explained, descended.maps.bias, start.bias),
        )
        moving = LinearMaps(nonzero.weight * row, explained.float())
        return self._polished(Candidates(maps, descended.source_of), moving)

    @torch.no_grad()
    def _explained(self, candidate: Candidates) -> Tensor:
        """Whether F explains a good part of each coordinate's change, (R, m) bool."""
        here = candidate.maps(self._judging.states)
        following = candidate.maps(self._judging.next_states)
        predicted = self._predicted(here, candidate.source_of[:, self._judging.actions])
        error, change = _errors(predicted, here, following)
        return error.sum(1) < (1 - EXPLAINED) * change.sum(1)

    def _polished(
        self, candidate: Candidates, moving_parts: LinearMaps | None = None
    ) -> Candidates:
        """The candidate after L-BFGS on all transitions, if that explains them better."""
        t = self._transitions
        actions = candidate.source_of[0][t.actions]
        maps = polished(candidate.maps, self._model, t.states, actions, t.next_states, moving_parts)
        after, sample = Candidates(maps, candidate.source_of), self._sample()
        with torch.no_grad():
            losses = [self._losses(one, sample, ROUNDS[-1][3]) for one in (after, candidate)]
        return after if losses[0] < losses[1] else candidate

    def _snapped(self, weight: Tensor, source_of: Tensor) -> tuple[Candidates, float]:
        """The signed permutation nearest to ``weight``, changed step by step while that helps.

        And its loss.
        """
        permutation = nearest_signed_permutation(weight, self._source, self._transitions.states)
        loss = float("inf")
        while True:
            around = neighbours(permutation, self._transitions.states.shape[1])
            losses = self._judged(self._of(around, source_of))
            best = int(losses.argmin())
            if losses[best] >= loss:
                return self._of([permutation], source_of), loss
            permutation, loss = around[best], float(losses[best])

    def _of(self, permutations: list[SignedPermutation], source_of: Tensor) -> Candidates:
        """Signed permutations as candidates, with the maps of actions that go best with them."""
        maps = LinearMaps.of_permutations(permutations, self._source, self._transitions.states)
        candidates = Candidates(maps, source_of.expand(len(permutations), -1))
        return self._with_actions(candidates, self._sample()) if self._find_actions else candidates

    def _start(self, candidate: Candidates) -> LinearStart:
        """A single candidate as a start."""
        return LinearStart(
            candidate.maps.weight[0],
            candidate.maps.bias[0],
            ActionMap(
                tuple(int(action) for action in candidate.source_of[0]),
                self._action_map.source_count,
            ),
            float(self._judged(candidate)[0]),
            signed_permutation=False,
        )


def _tolerated(loss: float) -> float:
    """The most loss of a simpler map that is taken instead of one with this."""
    return SIMPLER_TOLERANCE * loss + SIMPLER_SLACK


def _errors(predicted: Tensor, here: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
    """The error of a prediction and of persistence, where the state changes: (R, B, m) each."""
    change = (following - here).abs()
    changing = (change > CHANGE).detach()
    return (predicted - following).abs() * changing, change * changing
