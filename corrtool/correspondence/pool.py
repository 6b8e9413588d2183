"""The last generated states, so that a discriminator does not forget."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


class StatePool:
    """The last generated states, so that a discriminator does not forget.

    CycleGAN's image pool of 50.

    While the pool fills, states pass through. Afterwards each is, with probability one half,
    swapped for a random one of the pool. Size 0 lets everything through.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._states: Tensor | None = None
        self._count = 0

    def exchange(self, states: Tensor, random: np.random.Generator) -> Tensor:
        """(B, …) generated states in, (B, …) states for the discriminator out."""
        if self._size == 0:
            return states
        if self._states is None:
            self._states = torch.zeros(
                (self._size, *states.shape[1:]), dtype=states.dtype, device=states.device
            )
        out = []
        for state in states:
            if self._count < self._size:
                self._states[self._count] = state
                self._count += 1
                out.append(state)
            elif random.random() < 0.5:
                index = int(random.integers(self._size))
                out.append(self._states[index].clone())
                self._states[index] = state
            else:
                out.append(state)
        return torch.stack(out)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"states": self._states, "count": self._count}

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        """The inverse of :meth:`state`."""
        self._states = None if state["states"] is None else state["states"].to(device)
        self._count = int(state["count"])
