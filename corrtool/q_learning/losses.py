"""The target and the loss of Algorithms 1 and 2, eq. (4), as pure functions."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

TemporalDifferenceLoss = Literal["huber", "squared"]


def temporal_difference_target(
    rewards: Tensor, terminated: Tensor, next_q_values: Tensor, discounts: Tensor | float
) -> Tensor:
    r"""The target of eq. (4) and of Algorithms 1 and 2: :math:`r_t + \gamma \max_a Q(s_{t+1}, a)`.

    Args:
        rewards: (B,) the reward, or the discounted sum of n rewards for n-step returns.
        terminated: (B,) bool; a terminal next state has no value. Truncation bootstraps instead.
        next_q_values: (B,) the value of the best action in the next state.
        discounts: γ, or (B,) γⁿ for n-step returns.

    Returns:
        (B,) targets; no gradient should flow through them.
    """
    return rewards + discounts * next_q_values * (~terminated)


def temporal_difference_loss(
    q_values: Tensor,
    targets: Tensor,
    kind: TemporalDifferenceLoss = "huber",
    weights: Tensor | float = 1.0,
) -> Tensor:
    r"""Line 16 of Algorithm 2: the mean Huber loss of ``targets - q_values``, both (B,).

    ``squared`` is ½(target - q)², whose plain gradient step is exactly eq. (4) with α the learning
    rate. ``weights`` (B,) say how much each transition counts.
    """
    if kind == "huber":
        errors = F.smooth_l1_loss(q_values, targets, reduction="none")
    else:
        errors = 0.5 * F.mse_loss(q_values, targets, reduction="none")
    return (errors * weights).mean()
