"""States for the tests of networks: a game's, odd and small ones, and vectors."""

import torch
from torch import Tensor, nn

from corrtool.states import StateSpec

PONG = StateSpec("image", (1, 84, 84), 4)
ODD = StateSpec("image", (1, 83, 85), 2)
SMALL = StateSpec("image", (1, 32, 36), 2)
VECTOR = StateSpec("vector", (3,), 2)
ACTIONS = 6


def parameters(network: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())


def pictures(spec: StateSpec, batch: int = 2, seed: int = 0) -> Tensor:
    """Random states in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, *spec.state_shape, generator=generator) * 2 - 1


def gradient_of(weights: Tensor) -> Tensor:
    """What was propagated back to them; they must have got something."""
    assert weights.grad is not None
    return weights.grad
