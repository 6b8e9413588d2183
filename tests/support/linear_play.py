"""Random play of an environment that is its own F, for searches of linear maps."""

from __future__ import annotations

import numpy as np
import torch

from corrtool.correspondence.linear_candidates import Transitions
from corrtool.environment_model.network import ScaledModel


def random_play(model: ScaledModel, count: int, seed: int) -> Transitions:
    """One long game of four coordinates and three actions."""
    random = np.random.default_rng(seed)
    actions = torch.from_numpy(random.integers(3, size=count))
    states = torch.zeros(count + 1, 4)
    for k in range(count):
        states[k + 1] = model(states[k : k + 1], actions[k : k + 1])[0]
    return Transitions(states[:-1], actions, states[1:])
