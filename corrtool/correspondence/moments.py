"""The states of a memory as its mean, its covariance and the quantiles of each coordinate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class StateMoments:
    """What is known of the states of a memory (N, m) in the model range.

    Attributes:
        mean, covariance: (m,) and (m, m).
        ordered: (N, m), each coordinate by itself in ascending order.
    """

    mean: Tensor
    covariance: Tensor
    ordered: Tensor

    @classmethod
    def of(cls, states: Tensor) -> StateMoments:
        """Those of states (N, m)."""
        size = states.shape[1]
        covariance = torch.cov(states.T).reshape(size, size)
        return cls(states.mean(0), covariance, states.sort(0).values)

    def distances(self, states: Tensor) -> Tensor:
        """How far R batches of states (R, B, m) are from these → (R,), 0 for the same.

        Mean squares over the coordinates: of the differences of means and of covariances, and of
        each coordinate's Wasserstein distance. Only that tells a leg that touches the ground from
        its mirror image.
        """
        count = states.shape[1]
        means = states.mean(1)
        centred = states - means[:, None]
        covariances = torch.einsum("rbm,rbk->rmk", centred, centred) / count
        return (
            (means - self.mean).square().mean(1)
            + (covariances - self.covariance).square().mean((1, 2))
            + self.wasserstein(states).square().mean(1)
        )

    def wasserstein(self, states: Tensor, coordinates: Sequence[int] | None = None) -> Tensor:
        """The Wasserstein distance of each coordinate of R batches (R, B, m) from these → (R, m).

        Or of some ``coordinates``. Its own value tells rare contacts of a leg from their mirror
        image, where its square is lost beside what moves all the time.
        """
        ordered, count = self.ordered, states.shape[1]
        if coordinates is not None:
            ordered, states = ordered[:, list(coordinates)], states[..., list(coordinates)]
        middles = (torch.arange(count, device=states.device) + 0.5) / count * len(ordered)
        return (states.sort(1).values - ordered[middles.long()]).abs().mean(1)
