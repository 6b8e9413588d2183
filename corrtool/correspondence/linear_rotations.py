"""A rotation of the raw coordinates: the start where no signed permutation explains the target.

Seen in other axes a task's coordinates are mixed, and any matrix may undo that. But what F explains
badly, such as a leg that seldom touches the ground, descent over all matrices shrinks: LunarLander
turned by an orthogonal matrix came out at 0.7 of its size and without legs, at scores of 0.91 and
1.00, and its agents kept 0.29 and 0.54. A rotation, with or without a mirror image, keeps every
length. So :class:`~.linear_families.RawRotations` are descended as well; one that does nearly as
well as the best linear map is taken instead, and a linear generator does not learn it further.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import pi

import torch
from torch import Tensor

from corrtool.correspondence.linear_candidates import Candidates
from corrtool.correspondence.linear_families import RawRotations
from corrtool.correspondence.linear_maps import random_orthogonal, raw_weight
from corrtool.correspondence.linear_start import LinearStart
from corrtool.correspondence.linear_starts import KEPT_SHARE, MIN_KEPT, LinearStartSearch

# As of linear_starts; the rest is done plane by plane.
ROUNDS = (
    (200, 256, 0.05, 1.0),
    (300, 512, 0.03, 1.0),
    (500, 1_024, 0.02, 0.1),
)
# Of a sweep over all planes the widest turn. The half turn comes when the rest is nearly right:
# before, LunarLander's two legs were taken for their sum and their difference.
SWEEPS = (0.3, 0.15, 0.08, pi, 0.15, 0.08, 0.04, 0.02, 0.01)  # radians
TURNS = 13  # in each plane, the middle one none
SWEPT_TRANSITIONS = 10_000  # of which a leg may touch the ground in a hundred
DISTANCE_WEIGHT = 0.3  # of the Wasserstein distance, beside the model loss
ROTATED_COORDINATES = 12  # beyond, sweeps take minutes
STEPS_OF_SWEEP = 100  # that a sweep counts as, by its time
LENGTH = sum(steps for steps, *_ in ROUNDS) + STEPS_OF_SWEEP * len(SWEEPS)
# A rotation may explain so much less than the linear map. Wrong units of 1.5 took 1.24 times as
# much where F was bad; LunarLander's rotations take up to 1.14 times as much.
TOLERANCE, SLACK = 1.2, 0.005


def best_rotation(search: LinearStartSearch, start: LinearStart, count: int) -> LinearStart:
    """The best of ``count`` rotations if it explains the target nearly as well as ``start``.

    Else ``start``: also where the time is over, and at once where there are other numbers of
    coordinates, or many. A part of a rotation may leave out what F explains badly, as a projection
    does.
    """
    size, target_size = search.sizes
    if size != target_size or size > ROTATED_COORDINATES:
        search.advance(LENGTH)
        return start
    given = Candidates.of(start)
    turns = random_orthogonal(count, size, search.random).to(start.weight.device)
    turns[0] = nearest_orthogonal(raw_weight(start.weight, *search.scalings))
    source_of = given.source_of.expand(count, -1)
    for steps, batch, step_size, moments_weight in ROUNDS:
        rotations = RawRotations(turns, search.scalings)
        found = search.descend(rotations, source_of, steps, batch, step_size, moments_weight)
        best = search.judged(found).argsort()[: max(MIN_KEPT, round(KEPT_SHARE * len(turns)))]
        turns, source_of = rotations.matrices().detach()[best], found.source_of[best]
    turn = _swept(search, turns[0], source_of[0])
    if search.over():
        return start
    rotation = search.assigned(_candidates(search, turn[None], source_of[:1]))
    if search.model_loss(rotation) > TOLERANCE * search.model_loss(given) + SLACK:
        return start
    return replace(search.start_at(rotation), exact=True)


def nearest_orthogonal(weight: Tensor) -> Tensor:
    """The orthogonal matrix nearest to (n, n)."""
    u, _, v = torch.linalg.svd(weight)
    nearest: Tensor = u @ v
    return nearest


@torch.no_grad()
def _swept(search: LinearStartSearch, turn: Tensor, source_of: Tensor) -> Tensor:
    """A rotation (n, n) turned further in every plane of two source coordinates, as Jacobi did.

    By the loss itself: it is least where coordinates are at rest most of the time, such as legs in
    the air, and descent does not see that, for what is at rest counts nothing. A half turn is tried
    with a mirror image as well, since no path of rotations leads to one.
    """
    size = len(turn)
    planes = list(combinations(range(size), 2))
    judging = search.sample(SWEPT_TRANSITIONS)
    for widest in SWEEPS:
        for number, plane in enumerate(planes):
            if search.over():
                return turn
            turns = plane_turns(plane, widest, size).to(turn.device) @ turn
            candidates = _candidates(search, turns, source_of.expand(len(turns), -1))
            states = candidates.maps(judging.states)
            distances = search.losses.moments.wasserstein(states, plane).sum(1) / size
            losses = search.losses(candidates, judging, moments_weight=0.0)
            turn = turns[(losses + DISTANCE_WEIGHT * distances).argmin()]
            before, after = (STEPS_OF_SWEEP * n // len(planes) for n in (number, number + 1))
            search.advance(after - before)
    return turn


def plane_turns(plane: tuple[int, int], widest: float, size: int) -> Tensor:
    """Turns (K, n, n) of a plane of two coordinates by ``-widest`` to ``widest`` radians.

    If that is half a turn each one is followed by its mirror image.
    """
    first, second = plane
    angles = torch.linspace(-widest, widest, TURNS)
    angles[TURNS // 2] = 0.0  # exactly
    turns = torch.eye(size).repeat(TURNS, 1, 1)
    turns[:, first, first] = turns[:, second, second] = angles.cos()
    turns[:, second, first] = angles.sin()
    turns[:, first, second] = -angles.sin()
    if widest < pi:
        return turns
    mirrored = turns.clone()
    mirrored[:, first] *= -1
    return torch.cat([turns, mirrored])


def _candidates(search: LinearStartSearch, turns: Tensor, source_of: Tensor) -> Candidates:
    maps = RawRotations(turns, search.scalings).maps()
    return Candidates(maps, source_of).at(torch.arange(len(turns)))
