"""The last digits of a linear map: L-BFGS on all transitions, where Adam's steps are too coarse.

What an agent plays depends on them: random play of CartPole moves its cart by little, and a map of
a rotated CartPole whose relative model loss was 0.011 had 326 of 500 points, with 0.0035 all of
them. Squares are smooth, but count rare surprises most, such as a leg that touches the ground. So
the caller has to see whether the result is better.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from corrtool.correspondence.linear_families import FreeMaps
from corrtool.correspondence.linear_maps import LinearMaps
from corrtool.environment_model.network import ScaledModel
from corrtool.runtime.optimizers import LBFGS

ITERATIONS = 150
MEMORY = 20  # pairs of steps and gradients that L-BFGS keeps
LEAST_CHANGE = 1e-6  # mean square; a coordinate that never changes has nothing to explain


def polished(
    maps: LinearMaps,
    environment_model: ScaledModel,
    states: Tensor,
    source_actions: Tensor,
    next_states: Tensor,
    moving: LinearMaps | None = None,
) -> LinearMaps:
    """A single map (R = 1) after descent on the squared model loss of each coordinate.

    Each is relative to how much the coordinate changes.

    Args:
        states, next_states: (B, n) of the target in the model range.
        source_actions: (B,).
        moving: 1 for what may change, 0 for what stays; None for everything.
    """
    family = FreeMaps(maps, moving)
    optimizer = LBFGS(
        family.parameters,
        max_iter=ITERATIONS,
        history_size=MEMORY,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        now = family.maps()
        here, following = now(states)[0], now(next_states)[0]
        error = (environment_model(here, source_actions) - following).square().mean(0)
        change = (following - here).square().mean(0)
        total: Tensor = ((error + LEAST_CHANGE) / (change + LEAST_CHANGE)).mean()
        torch.autograd.backward(total)
        family.keep_still()
        return total

    step: Callable[[Callable[[], Tensor]], object] = optimizer.step
    step(loss)
    found = family.maps()
    return LinearMaps(found.weight.detach(), found.bias.detach())
