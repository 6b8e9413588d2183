"""Families of affine maps that are descended: all of them, or rotations of the raw coordinates."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from corrtool.correspondence.linear_maps import LinearMaps
from corrtool.state_scaling import StateScaling


class Family(Protocol):
    """R maps of one kind, by parameters that an optimizer changes."""

    @property
    def parameters(self) -> list[Tensor]:
        """What is descended."""

    def maps(self) -> LinearMaps:
        """The maps that the parameters make now."""

    def keep_still(self) -> None:
        """Take away the gradients of what is to stay as it is."""


class FreeMaps:
    """Maps of which every number moves, or those where ``moving`` is 1 and not 0."""

    def __init__(self, start: LinearMaps, moving: LinearMaps | None = None) -> None:
        self._weight, self._bias = (
            part.clone().requires_grad_() for part in (start.weight, start.bias)
        )
        self._moving = moving

    @property
    def parameters(self) -> list[Tensor]:
        """Weights and biases."""
        return [self._weight, self._bias]

    def maps(self) -> LinearMaps:
        """The maps that the parameters are."""
        return LinearMaps(self._weight, self._bias)

    def keep_still(self) -> None:
        """Take away the gradients where ``moving`` is 0."""
        if self._moving is None:
            return
        for part, mask in ((self._weight, self._moving.weight), (self._bias, self._moving.bias)):
            if part.grad is not None:
                part.grad *= mask


class RawRotations:
    r"""Maps s ↦ Q s of raw states, with Q orthogonal: :math:`Q = e^{K-K^T} Q_0`.

    They change no length, with or without a mirror image, and shift nothing. So descent, which
    shrinks what F explains badly, cannot.

    Args:
        start: Q_0, (R, n, n).
        scalings: of the source and the target, of as many coordinates each.
    """

    def __init__(self, start: Tensor, scalings: tuple[StateScaling, StateScaling]) -> None:
        self._start, self._scalings = start, scalings
        self._skew = torch.zeros_like(start).requires_grad_()

    @property
    def parameters(self) -> list[Tensor]:
        """K, 0 at first."""
        return [self._skew]

    def matrices(self) -> Tensor:
        """Q, (R, n, n)."""
        turned: Tensor = torch.matrix_exp(self._skew - self._skew.mT) @ self._start
        return turned

    def maps(self) -> LinearMaps:
        """The maps of states in the model range."""
        return LinearMaps.of_raw(self.matrices(), *self._scalings)

    def keep_still(self) -> None:
        """All of it moves."""
