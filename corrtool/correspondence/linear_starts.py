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
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.linear_candidates import CandidateLosses, Candidates, Transitions
from corrtool.correspondence.linear_families import Family, FreeMaps
from corrtool.correspondence.linear_maps import (
    LinearMaps,
    SignedPermutation,
    candidate_maps,
    nearest_signed_permutation,
    neighbours,
    raw_weight,
)
from corrtool.correspondence.linear_polish import polished
from corrtool.correspondence.linear_start import LinearStart
from corrtool.correspondence.linear_units import (
    MEANS_APART_IN_SAME_UNITS,
    are_near,
    in_simpler_units,
    shifts_nothing,
)
from corrtool.correspondence.moments import StateMoments
from corrtool.environment_model.network import ScaledModel
from corrtool.runtime.optimizers import Adam
from corrtool.state_scaling import StateScaling

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
SNAPPED_COORDINATES = 16  # beyond, a signed permutation has too many neighbours
SIMPLER_TOLERANCE, SIMPLER_SLACK = 1.25, 0.005  # a signed permutation may explain so much less
REASSIGN_EVERY_STEPS = 25


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

    Attributes:
        sizes: coordinates of the source and of the target.
        scalings: of their states.
        near: after a search that found another kind of map, a signed permutation that explains
            hardly less, if there is one: the rewards may still speak for it.
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
        self._model, self._source = environment_model, source_states
        self._transitions = transitions
        self._action_map, self._find_actions = action_map, find_actions
        self.losses = CandidateLosses(
            environment_model,
            StateMoments.of(source_states),
            action_map.target_count,
            action_map.source_count,
        )
        self.random, self.advance, self.over = random, advance, over
        self.sizes = source_states.shape[1], transitions.states.shape[1]
        self.scalings = environment_model.scaling, target_scaling
        self.judging = self.sample()
        self.near: LinearStart | None = None

    def best(self, count: int) -> LinearStart:
        """The best of ``count`` maps after all rounds of descent."""
        maps = candidate_maps(self._source, self._transitions.states, count, self.random)
        source_of = torch.tensor(self._action_map.source_of, device=self._source.device)
        candidates = Candidates(maps, source_of.expand(count, -1))
        for steps, batch, step_size, moments_weight in ROUNDS:
            candidates = self._descended(candidates, steps, batch, step_size, moments_weight)
            best = self.judged(candidates).argsort()
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
        """The candidates after :meth:`descend`.

        Args:
            moving_parts: 1 for what may change, 0 for what stays; None for everything.
        """
        family = FreeMaps(candidates.maps, moving_parts)
        rest = steps, batch_size, step_size, moments_weight
        return self.descend(family, candidates.source_of, *rest)

    def descend(
        self,
        family: Family,
        source_of: Tensor,
        steps: int,
        batch_size: int,
        step_size: float,
        moments_weight: float,
    ) -> Candidates:
        """The maps of a family, with those of actions (R, A_T), after ``steps`` of Adam.

        Each on its own loss.
        """
        optimizer = Adam(family.parameters, lr=step_size)
        for step in range(steps):
            if self.over():
                break
            batch = self.sample(batch_size)
            if self._find_actions and step % REASSIGN_EVERY_STEPS == 0:
                source_of = self.assigned(Candidates(family.maps(), source_of), batch).source_of
            optimizer.param_groups[0]["lr"] = step_size * (1 - step / steps)
            optimizer.zero_grad()
            loss = self.losses(Candidates(family.maps(), source_of), batch, moments_weight).sum()
            torch.autograd.backward(loss)
            family.keep_still()
            optimizer.step()
            self.advance(1)
        still = Candidates(family.maps(), source_of).at(torch.arange(len(source_of)))
        return self.assigned(still)

    def sample(self, count: int = JUDGED_TRANSITIONS) -> Transitions:
        """So many of the target's transitions, or all."""
        held = len(self._transitions.states)
        chosen = self.random.choice(held, size=min(count, held), replace=False)
        return self._transitions.at(torch.from_numpy(chosen))

    @torch.no_grad()
    def judged(self, candidates: Candidates) -> Tensor:
        """The losses of all candidates on the same transitions, whenever it is asked → (R,)."""
        return torch.cat([self.losses(part, self.judging) for part in candidates.parts()])

    def _simplest(self, finalists: Candidates) -> LinearStart:
        """The best finalist, or a signed permutation near one of them that does nearly as well."""
        best = self.judged(finalists).argmin()[None]
        if self.over():
            return self.start_at(finalists.at(best))
        free = self.start_at(self._polished(finalists.at(best)))
        size, target_size = self.sizes
        if size > target_size or size > SNAPPED_COORDINATES:
            self.advance(ROUNDS[-1][0])
            return free
        found = zip(finalists.maps.weight, finalists.source_of, strict=True)
        nearest = min((self._snapped(*one) for one in found), key=lambda snapped: snapped[1])[0]
        found_sparse = self._without_shrinking(nearest)
        sparse = self.start_at(found_sparse)
        if sparse.loss <= tolerated(free.loss):
            return self.started(found_sparse)
        if sparse.loss <= comparable(free.loss):
            self.near = self.started(found_sparse)
        return free

    def started(self, permutation: Candidates) -> LinearStart:
        """The start at a single signed permutation, in the simplest units that explain as much."""
        scalings, source_of = self.scalings, permutation.source_of
        signs = raw_weight(permutation.maps.weight[0], *scalings).sign()
        most = tolerated(self.model_loss(permutation))
        maps, states = LinearMaps.of_raw(signs, *scalings), self._transitions.states
        exact = are_near(self._source, maps, states, MEANS_APART_IN_SAME_UNITS)
        if not exact or self.model_loss(Candidates(maps, source_of)) > most:
            maps = in_simpler_units(
                permutation.maps,
                self._source,
                states,
                scalings,
                lambda maps: self.model_loss(Candidates(maps, source_of)),
                most,
            )
            exact = shifts_nothing(maps, scalings)
        start = self.start_at(Candidates(maps, source_of))
        return replace(start, signed_permutation=True, exact=exact)

    def in_equal_units(self, permutation: LinearStart) -> LinearStart | None:
        """The signed permutation of raw coordinates without scale and shift.

        None where F explains much less with it, or it is the same.
        """
        scalings = self.scalings
        raw = raw_weight(permutation.weight, *scalings)
        if torch.allclose(raw, raw.sign()):
            return None
        given = Candidates.of(permutation)
        equal = Candidates(LinearMaps.of_raw(raw.sign(), *scalings), given.source_of)
        if self.model_loss(equal) > comparable(self.model_loss(given)):
            return None
        return replace(self.start_at(equal), signed_permutation=True, exact=True)

    @torch.no_grad()
    def model_loss(self, candidate: Candidates) -> float:
        """Without the moments, which differ by more than a wrong unit would."""
        return float(self.losses(candidate, self.judging, moments_weight=0.0)[0])

    def changed(self, start: LinearStart, changes: Tensor, judging: Transitions) -> Candidates:
        """A start followed by each of ``changes``, signed permutations (R, m, m) of the source.

        Of raw coordinates where the start shifts none, else of those of M_S in units of their
        deviations, around their means. With the maps of actions that explain ``judging`` best.
        """
        if start.exact:
            scaling = self._model.scaling
            units, centre = 1.0 / scaling.deviation, -scaling.mean / scaling.deviation
        else:
            units, centre = self._source.std(0).clamp(min=1e-2), self._source.mean(0)
        changes = units[:, None] * changes.to(units.device) / units
        maps = LinearMaps(changes @ start.weight, (start.bias - centre) @ changes.mT + centre)
        source_of = torch.tensor(start.action_map.source_of, device=units.device)
        candidates = Candidates(maps, source_of.expand(len(changes), -1))
        return self.assigned(candidates, judging)

    def _without_shrinking(self, permutation: Candidates) -> Candidates:
        """A signed permutation after descent; what F does not explain even then is as before."""
        start = permutation.maps
        nonzero = LinearMaps((start.weight != 0).float(), torch.ones_like(start.bias))
        descended = self._descended(permutation, *ROUNDS[-1], nonzero)
        explained = self.losses.explained(descended, self.judging)
        row = explained[..., None]
        maps = LinearMaps(
            torch.where(row, descended.maps.weight, start.weight),
            torch.where(explained, descended.maps.bias, start.bias),
        )
        moving = LinearMaps(nonzero.weight * row, explained.float())
        return self._polished(Candidates(maps, descended.source_of), moving)

    def _polished(
        self, candidate: Candidates, moving_parts: LinearMaps | None = None
    ) -> Candidates:
        """The candidate after L-BFGS on all transitions, if that explains them better."""
        t = self._transitions
        actions = candidate.source_of[0][t.actions]
        maps = polished(candidate.maps, self._model, t.states, actions, t.next_states, moving_parts)
        after, sample = Candidates(maps, candidate.source_of), self.sample()
        with torch.no_grad():
            losses = [self.losses(one, sample, ROUNDS[-1][3]) for one in (after, candidate)]
        return after if losses[0] < losses[1] else candidate

    def _snapped(self, weight: Tensor, source_of: Tensor) -> tuple[Candidates, float]:
        """The signed permutation nearest to ``weight``, changed step by step while that helps.

        And its loss.
        """
        permutation = nearest_signed_permutation(weight, self._source, self._transitions.states)
        loss = float("inf")
        while True:
            around = neighbours(permutation, self._transitions.states.shape[1])
            losses = self.judged(self._of(around, source_of))
            best = int(losses.argmin())
            if losses[best] >= loss:
                return self._of([permutation], source_of), loss
            permutation, loss = around[best], float(losses[best])

    def _of(self, permutations: list[SignedPermutation], source_of: Tensor) -> Candidates:
        """Signed permutations as candidates, with the maps of actions that go best with them."""
        maps = LinearMaps.of_permutations(permutations, self._source, self._transitions.states)
        return self.assigned(Candidates(maps, source_of.expand(len(permutations), -1)))

    def assigned(self, candidates: Candidates, batch: Transitions | None = None) -> Candidates:
        """With the maps of actions that go best with them, where those are open."""
        if not self._find_actions:
            return candidates
        return self.losses.assigned(candidates, batch or self.sample())

    def start_at(self, candidate: Candidates) -> LinearStart:
        """A single candidate as a start."""
        return LinearStart(
            candidate.maps.weight[0],
            candidate.maps.bias[0],
            ActionMap(
                tuple(int(action) for action in candidate.source_of[0]),
                self._action_map.source_count,
            ),
            float(self.judged(candidate)[0]),
            signed_permutation=False,
        )


def tolerated(loss: float) -> float:
    """The most loss of a simpler map that is taken instead of one with this."""
    return SIMPLER_TOLERANCE * loss + SIMPLER_SLACK


def comparable(loss: float) -> float:
    """The most loss of a map that the rewards may choose instead of one with this.

    At most 1.5625 times as much and 0.01125: F has its own errors, and explained a lantern that
    moves by itself better mirrored than as it is, 0.083 against 0.088.
    """
    return tolerated(tolerated(loss))
