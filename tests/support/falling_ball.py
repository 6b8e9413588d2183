"""A large ball that falls, and the model that knows it, for the search for a start."""

import numpy as np
import torch

from corrtool.layers import RotationLayer
from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.memory.rows import FIELDS
from corrtool.state_scaling import StateScaling


class LargeBallFalls(torch.nn.Module):
    """An exact environment model: everything moves down by eight pixels, whatever the action."""

    def forward(self, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return torch.roll(states, 8, dims=2)


def ball_falls_turned(degrees: float, records: int, scaling: StateScaling) -> ReplayMemory:
    """A memory of a large ball that falls by eight pixels, seen turned by ``degrees``."""
    upright, times = torch.zeros(records, 1, 84, 84, dtype=torch.uint8), np.arange(records) % 4
    for row, time in enumerate(times):
        upright[row, 0, 16 + 8 * time : 28 + 8 * time, 24:40] = 255
        upright[row, 0, 16 + 8 * time : 22 + 8 * time, 40:52] = 128
    frames = scaling.model_to_raw(RotationLayer(degrees)(scaling.raw_to_model(upright)))
    fields: dict[str, np.ndarray] = {
        name: np.zeros(records, dtype) for name, dtype in FIELDS.items()
    }
    fields["valid"][:], fields["episode_steps"][:] = times < 3, times
    return ReplayMemory.from_rows(
        MemoryRows(scaling.spec, 1, frames.numpy(), fields), torch.device("cpu")
    )
