"""How widely translated states spread, beside the source's own.

A generator that maps everything into one spot where F is easy, such as a pole that hangs or stands
nearly still, lets F explain what comes, and the Bellman error of states that are all alike is
small. Where both memories are of the same kind of play, that is no translation: the states of the
one task have to cover those of the other.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

# Where less is kept, some is amiss. Of correspondences that transfer, 0.74 or more is, of those
# of pairs that share nothing 0.05 to 0.21 (docs/notebook.md).
ENOUGH_SPREAD = 0.5


class Spread:
    """The variance of each element of states, added batch by batch."""

    def __init__(self) -> None:
        self._states, self._total, self._squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, states: Tensor) -> None:
        """Add states (B, …) in the model range."""
        states = states.cpu().double()  # which MPS does not have
        self._states += len(states)
        self._total = self._total + states.sum(0)
        self._squares = self._squares + states.square().sum(0)

    @property
    def variance(self) -> Tensor:
        """Of each element (…)."""
        mean = self._total / self._states
        return (self._squares / self._states - mean.square()).clamp(min=0.0)


def spread_of(translated: Spread, source: Spread) -> float:
    r"""How far translated states spread, as a share of the source's own.

    .. math:: \sqrt{\sum_i \min(\sigma_i^2, \sigma_{S,i}^2) / \sum_i \sigma_{S,i}^2}

    In [0, 1]: a wide element does not make up for a narrow one. 1 where the source never changes.
    """
    own = source.variance
    if not own.sum() > 0:
        return 1.0
    return sqrt((torch.minimum(translated.variance, own).sum() / own.sum()).item())


def spread_share(spread: float) -> float:
    """What a spread counts in the score, in [0, 1]: in full from a half on."""
    return min(1.0, spread / ENOUGH_SPREAD)
