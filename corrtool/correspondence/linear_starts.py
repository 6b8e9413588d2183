"""The start of a linear generator: many maps, descended together, and the best of them.

The model loss has many basins: on Acrobot with permuted coordinates and flipped signs descent from
small random weights ends in one that explains next to nothing, however long it goes on. So many
maps start at once, signed permutations and random rotations, each with the mean and the covariance
of M_S. F is small for vectors, so they are all descended in one batch, on the relative model loss
of (11) and on the distance of these moments, without which a map could put everything where
nothing moves. The map that explains most of held-out transitions is where the generator starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corrtool.correspondence.generators import LinearGenerator
from corrtool.correspondence.model import Correspondence
from corrtool.environment_model.network import ScaledModel
from corrtool.memory import ReplayMemory

DESCENT_STEPS = 400
BATCH = 256  # transitions of the target in a step
STEP_SIZE = 0.03  # of Adam, falling to zero; weights are near 1, since states are standardised
JUDGED_TRANSITIONS = 2_000
CHANGE = 0.02  # what counts as a change of a coordinate: as in the relative model loss


@dataclass(frozen=True)
class LinearMaps:
    """R maps s ↦ W s + b of states in the model range: ``weight`` (R, m, n), ``bias`` (R, m)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, states: Tensor) -> Tensor:
        """States (B, n) → (R, B, m)."""
        return torch.einsum("rmn,bn->rbm", self.weight, states) + self.bias[:, None]


def candidate_maps(
    source: Tensor, target: Tensor, count: int, random: np.random.Generator
) -> LinearMaps:
    """``count`` maps that give target states (N, n) the moments of source states (N, m).

    Half are signed permutations, where n = m; the others turn whitened states at random:
    Σ_S^½ R Σ_T^-½ with R a part of an orthogonal matrix, uniform in all of them.
    """
    size, from_size = source.shape[1], target.shape[1]
    signed = count // 2 if size == from_size else 0
    permutations = np.zeros((signed, size, size), np.float32)
    for matrix in permutations:
        matrix[np.arange(size), random.permutation(size)] = random.choice([-1.0, 1.0], size)
    larger = max(size, from_size)
    q, r = np.linalg.qr(random.normal(size=(count - signed, larger, larger)))
    turns = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
    rotations = torch.from_numpy(turns[:, :size, :from_size].astype(np.float32)).to(source.device)
    rotations = _root(source, 0.5) @ rotations @ _root(target, -0.5)
    weight = torch.cat([torch.from_numpy(permutations).to(source.device), rotations])
    return LinearMaps(weight, source.mean(0) - weight @ target.mean(0))


def _root(states: Tensor, power: float) -> Tensor:
    """The covariance of states (N, n) to a power, (n, n); next to no variance counts as some."""
    values, vectors = torch.linalg.eigh(torch.cov(states.T).reshape(states.shape[1], -1))
    root: Tensor = vectors @ torch.diag(values.clamp(min=1e-4) ** power) @ vectors.T
    return root


def relative_model_losses(predicted_next: Tensor, here: Tensor, following: Tensor) -> Tensor:
    """The relative model loss of each of R maps, (R, B, m) each → (R,)."""
    change = (following - here).abs()
    changing = (change > CHANGE).detach()
    error = ((predicted_next - following).abs() * changing).sum((1, 2))
    none = 1e-6
    return (error + none) / ((change * changing).sum((1, 2)) + none)


def moment_distances(states: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """How far mean and covariance of states (R, B, m) are from those given, squared → (R,)."""
    means = states.mean(1)
    centred = states - means[:, None]
    covariances = torch.einsum("rbm,rbk->rmk", centred, centred) / states.shape[1]
    return (means - mean).square().mean(1) + (covariances - covariance).square().mean((1, 2))


@dataclass(frozen=True)
class TargetTransitions:
    """N transitions of the target in the model range: (N, n), (N,) and (N, n)."""

    states: Tensor
    actions: Tensor
    next_states: Tensor

    def __getitem__(self, index: Tensor) -> TargetTransitions:
        return TargetTransitions(self.states[index], self.actions[index], self.next_states[index])
