"""Which of several symmetries of F a linear start is: what Q_S makes of the target's rewards.

Parts of a state that do not move each other, such as a basket and a fruit that falls, may each be
mirrored by itself: F explains the mirror image as well, and so do the moments. Positions on two
axes may be exchanged. Nothing but the rewards knows how the parts belong together, and Q_S knows
the rewards. So signed permutations near a start that F explains about as well
(:func:`~corrtool.correspondence.linear_starts.comparable`) are compared by the squared
temporal difference (4) of Q_S on all transitions of M_T: the square, since what a wrong one gets
wrong are the few transitions that are rewarded. Of a drone and a lantern F preferred a linear map
with a mirrored lantern, by little, to any signed permutation; so those near it are compared too,
and each in equal units as well, of which F knew as little.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import sqrt

import torch
from torch import Tensor

from corrtool.correspondence.linear_maps import SignedPermutation, matrices
from corrtool.correspondence.linear_start import LinearStart
from corrtool.correspondence.linear_starts import LinearStartSearch, comparable

MOST_CHANGES = 2_000  # that are tried: all below, of up to eleven coordinates
MOST_SYMMETRIES = 64
MIRRORED_TOGETHER = 4  # coordinates of one part, at most
FEW_TRANSITIONS = 200  # that tell what explains nothing
STANDARD_ERRORS = 3.0  # by which another has to be better, of several that are compared


def best_symmetry(
    search: LinearStartSearch,
    start: LinearStart,
    differences: Callable[[LinearStart], Tensor],
) -> tuple[LinearStart, int]:
    """``start``, or what F explains as well, if the target's rewards speak clearly against it.

    Once one of the others fits them clearly better, the start has no right to be preferred any
    more, and the best of all is taken. Standard errors take the transitions for independent of each
    other.

    And how many others there were: the symmetries of a signed permutation, of the start itself or
    near it, and each with the coordinates in equal units, which F may not see either.

    Args:
        differences: the temporal differences (B,) of Q_S with a start, always on the same
            transitions.
    """
    permutation = start if start.signed_permutation else search.near
    if permutation is None:
        return start, 0
    alike = [permutation, *symmetries(search, permutation)]
    equal = (search.in_equal_units(one) for one in alike)
    others = [one for one in (*alike, *equal) if one is not None and one is not start]
    squares = differences(start).square()
    best, most, clearly = start, 0.0, False
    for other in others:
        less = squares - differences(other).square()
        mean, error = less.mean().item(), less.std().item() / sqrt(len(less))
        clearly |= mean > STANDARD_ERRORS * error
        if mean > most:
            best, most = other, mean
    return best if clearly else start, len(others)


def symmetries(search: LinearStartSearch, start: LinearStart) -> list[LinearStart]:
    """Other signed permutations, with their maps of actions, that F explains as well as ``start``.

    Those that change little, and products of two of them; no more than a few dozen.
    """
    size = len(start.weight)
    nothing = torch.eye(size)[None]
    changes = _explained(search, start, matrices(few_changes(size)[:MOST_CHANGES], size))
    products = torch.stack([b @ a for a, b in combinations(changes, 2)] or list(nothing))
    known = (products[:, None] == torch.cat([nothing, changes])).flatten(2).all(2).any(1)
    products = torch.unique(products[~known], dim=0)[:MOST_CHANGES]
    changes = torch.cat([changes, _explained(search, start, products)])[:MOST_SYMMETRIES]
    changed = search.changed(start, changes, search.judging)
    return [search.started(changed.at(torch.tensor([i]))) for i in range(len(changes))]


def few_changes(size: int) -> list[SignedPermutation]:
    """Of ``size`` coordinates: one to four signs, or two exchanged, or two and two.

    Those that change least come first.
    """
    order, plus = tuple(range(size)), (1,) * size
    mirrored = [
        [(order, tuple(-1 if i in which else 1 for i in order)) for which in combinations(order, n)]
        for n in range(1, MIRRORED_TOGETHER + 1)
    ]
    pairs = list(combinations(order, 2))
    exchanged = [(_exchanged(order, i, j), plus) for i, j in pairs]
    twice = [
        (_exchanged(_exchanged(order, *one), *other), plus)
        for one, other in combinations(pairs, 2)
        if not set(one) & set(other)
    ]
    return [*mirrored[0], *mirrored[1], *exchanged, *mirrored[2], *twice, *mirrored[3]]


def _exchanged(order: tuple[int, ...], i: int, j: int) -> tuple[int, ...]:
    changed = list(order)
    changed[i], changed[j] = changed[j], changed[i]
    return tuple(changed)


@torch.no_grad()
def _explained(search: LinearStartSearch, start: LinearStart, changes: Tensor) -> Tensor:
    """Those of ``changes`` (R, m, m) of source coordinates after which F explains as much."""
    nothing = torch.eye(changes.shape[1])[None]
    few = torch.arange(min(FEW_TRANSITIONS, len(search.judging.states)))
    for judging in (search.judging.at(few), search.judging):
        together = search.changed(start, torch.cat([nothing, changes]), judging)
        losses = torch.cat([search.losses(part, judging, 0.0) for part in together.parts()])
        changes = changes[losses[1:].cpu() <= comparable(losses[0].item())]
    return changes
