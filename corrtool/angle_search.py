"""Where a rotation generator starts: the model loss has a basin only some ten degrees wide, so look all around first.

Elsewhere the loss (11) is flat, 0° is a ridge of it, and descent goes either way; the paper needed 39,000 steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from corrtool.correspondence import Correspondence, ScaledModel
from corrtool.losses import model_loss
from corrtool.networks.layers import RotationLayer

ANGLE_STARTS = 36  # ten degrees apart
TRANSITIONS = 64  # of the target, on which the angles are compared; right and wrong ones differ by a factor of three


@torch.no_grad()
def model_loss_by_angle(
    correspondence: Correspondence,
    environment_model: ScaledModel,
    raw_states: Tensor,
    actions: Tensor,
    raw_next_states: Tensor,
    angles_degrees: list[float],
) -> list[float]:
    """L_M, eq. (11), of a rotation by each of ``angles_degrees`` on transitions (B, …) of the target task, raw."""
    scaling = correspondence.target_scaling
    states, next_states = scaling.raw_to_model(raw_states), scaling.raw_to_model(raw_next_states)
    losses = []
    for angle in angles_degrees:
        rotate = RotationLayer(angle).to(states.device)
        losses.append(model_loss(environment_model(rotate(states), actions), rotate(next_states)).item())
    return losses


def start_at(correspondence: Correspondence, angle_degrees: float) -> None:
    """Turns the rotation of the target's states to an angle, and that of the source's states to its inverse."""
    for generator, angle in (
        (correspondence.target_to_source, angle_degrees),
        (correspondence.source_to_target, -angle_degrees),
    ):
        assert isinstance(generator, RotationLayer)
        generator.load_state_dict(RotationLayer(angle).state_dict())


def evenly_spaced(first: float, count: int) -> list[float]:
    """``count`` angles in degrees, all around from ``first``, in (-180, 180]."""
    return [180.0 - (180.0 - first - 360.0 * k / count) % 360.0 for k in range(count)]
