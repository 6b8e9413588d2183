"""Affine maps of vectors, many at once: the candidates for the start of a linear generator."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from corrtool.correspondence.assignment import assign
from corrtool.state_scaling import StateScaling

# For each source coordinate one of the target, another for each, and its sign.
SignedPermutation = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class LinearMaps:
    """R maps s ↦ W s + b of states in the model range: ``weight`` (R, m, n), ``bias`` (R, m)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, states: Tensor) -> Tensor:
        """States (B, n) → (R, B, m)."""
        return torch.einsum("rmn,bn->rbm", self.weight, states) + self.bias[:, None]

    def at(self, index: Tensor) -> LinearMaps:
        """Those at ``index``, detached from further descent."""
        return LinearMaps(self.weight.detach()[index], self.bias.detach()[index])

    @classmethod
    def with_means(cls, weight: Tensor, source: Tensor, target: Tensor) -> LinearMaps:
        """The maps by ``weight`` (R, m, n) that put the mean of (N, n) states at that of (N, m)."""
        return cls(weight, source.mean(0) - weight @ target.mean(0))

    @classmethod
    def of_permutations(
        cls, permutations: list[SignedPermutation], source: Tensor, target: Tensor
    ) -> LinearMaps:
        """Signed permutations that give each coordinate the mean and the deviation of M_S.

        States are scaled by what F learnt from, which is more than M_S.
        """
        signed = matrices(permutations, target.shape[1]).to(source.device)
        weight = signed * _ratios(source, target)
        return cls.with_means(weight, source, target)

    @classmethod
    def of_raw(
        cls,
        weight: Tensor,
        source: StateScaling,
        target: StateScaling,
        shift: Tensor | float = 0.0,
    ) -> LinearMaps:
        """The maps s ↦ ``weight`` s + ``shift`` of raw states, by (R, m, n), or one by (m, n).

        ``shift`` (m,) is that of all.
        """
        weight = weight if weight.ndim == 3 else weight[None]
        scaled = weight * target.deviation / source.deviation[:, None]
        return cls(scaled, source.raw_to_model(weight @ target.mean + shift))


def candidate_maps(
    source: Tensor, target: Tensor, count: int, random: np.random.Generator
) -> LinearMaps:
    """``count`` maps of target states (N, n) that have the moments of source states (N, m).

    Half are signed permutations, where n ≥ m. The others are Σ_S^½ R Σ_T^-½, with R a part of an
    orthogonal matrix that is uniform among all.
    """
    size, from_size = source.shape[1], target.shape[1]
    signed = count // 2 if size <= from_size else 0
    permutations = [
        (
            tuple(map(int, random.permutation(from_size)[:size])),
            tuple(map(int, random.choice([-1, 1], size))),
        )
        for _ in range(signed)
    ]
    turns = random_orthogonal(count - signed, max(size, from_size), random)
    rotations = turns[:, :size, :from_size].to(source.device)
    weight = _covariance_power(source, 0.5) @ rotations @ _covariance_power(target, -0.5)
    turned = LinearMaps.with_means(weight, source, target)
    if not permutations:
        return turned
    permuted = LinearMaps.of_permutations(permutations, source, target)
    return LinearMaps(
        torch.cat([permuted.weight, turned.weight]), torch.cat([permuted.bias, turned.bias])
    )


def random_orthogonal(count: int, size: int, random: np.random.Generator) -> Tensor:
    """Orthogonal matrices (R, N, N), uniform among all: QR of Gaussian ones (Mezzadri 2007)."""
    q, r = np.linalg.qr(random.normal(size=(count, size, size)))
    signs = np.sign(np.diagonal(r, axis1=1, axis2=2))
    return torch.from_numpy((q * signs[:, None, :]).astype(np.float32))


def _covariance_power(states: Tensor, power: float) -> Tensor:
    """The covariance of states (N, n) to a power, (n, n); next to no variance counts as some."""
    values, vectors = torch.linalg.eigh(torch.cov(states.T).reshape(states.shape[1], -1))
    raised: Tensor = vectors @ torch.diag(values.clamp(min=1e-4) ** power) @ vectors.T
    return raised


def _ratios(source: Tensor, target: Tensor) -> Tensor:
    """Deviations of source coordinates (N, m) by those of target coordinates (N, n): (m, n)."""
    deviations = (states.std(0).clamp(min=1e-2) for states in (source, target))
    of_source, of_target = deviations
    return of_source[:, None] / of_target


def raw_weight(weight: Tensor, source: StateScaling, target: StateScaling) -> Tensor:
    """W (m, n) of raw states by that in the model range: :meth:`LinearMaps.of_raw` undoes it."""
    return weight * source.deviation[:, None] / target.deviation


def matrices(permutations: list[SignedPermutation], from_size: int) -> Tensor:
    """Signed permutations of m out of n = ``from_size`` coordinates as matrices (R, m, n)."""
    size = len(permutations[0][0])
    weight = torch.zeros(len(permutations), size, from_size)
    rows = torch.arange(size)
    for matrix, (order, signs) in zip(weight, permutations, strict=True):
        matrix[rows, torch.tensor(order)] = torch.tensor(signs, dtype=torch.float32)
    return weight


def nearest_signed_permutation(weight: Tensor, source: Tensor, target: Tensor) -> SignedPermutation:
    """The one that takes the largest entries of a matrix (m, n) together, n ≥ m.

    Of states in units of the deviations of their coordinates.
    """
    entries = (weight / _ratios(source, target)).abs().cpu().numpy()
    size, from_size = entries.shape
    unused = np.zeros((from_size - size, from_size))  # rows that take what is left over
    order = assign(-np.concatenate([entries, unused]))[:size]
    signs = tuple(-1 if weight[row, column] < 0 else 1 for row, column in enumerate(order))
    return order, signs


def neighbours(permutation: SignedPermutation, from_size: int) -> list[SignedPermutation]:
    """Itself, and those with one sign, two signs or two coordinates changed, of any sign.

    Where the target has more coordinates also those with one of the others in place of one.
    """
    order, signs = permutation
    changed = [permutation]
    for i in range(len(order)):
        changed.append((order, _flipped(signs, i)))
        for other in sorted(set(range(from_size)) - set(order)):
            replaced = (*order[:i], other, *order[i + 1 :])
            changed += [(replaced, signs), (replaced, _flipped(signs, i))]
    for i, j in combinations(range(len(order)), 2):
        changed.append((order, _flipped(signs, i, j)))
        swapped = list(order)
        swapped[i], swapped[j] = swapped[j], swapped[i]
        changed += [(tuple(swapped), _flipped(signs, *which)) for which in ((), (i,), (j,), (i, j))]
    return changed


def _flipped(signs: tuple[int, ...], *which: int) -> tuple[int, ...]:
    return tuple(-sign if i in which else sign for i, sign in enumerate(signs))
