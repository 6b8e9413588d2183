"""Statistics of a task's states, element by element, for the cycle loss by surprise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from corrtool.memory import Transitions
from corrtool.memory.rows import Rows
from corrtool.state_scaling import StateScaling

MIN_DEVIATION = 0.02


class ElementStatistics(NamedTuple):
    """Mean and standard deviation of each element of a task's states, in the model range."""

    mean: Tensor
    deviation: Tensor


def element_statistics(memory: Transitions, rows: Rows, scaling: StateScaling) -> ElementStatistics:
    """The statistics of (at most 2,000 of) the states at ``rows``, on the memory's device.

    A deviation is at least a hundredth of the range of pictures, so that what never changed is not
    infinitely surprising.
    """
    chosen = np.linspace(0, len(rows) - 1, min(2_000, len(rows))).round().astype(int)
    states = memory.states(rows[chosen])
    total = squares = torch.zeros((), dtype=torch.float64)
    for chunk in torch.split(states, 100):  # as floating point numbers they would take a gigabyte
        elements = scaling.raw_to_model(chunk).cpu().double()  # which MPS does not have
        total, squares = total + elements.sum(dim=0), squares + elements.square().sum(dim=0)
    mean = total / len(states)
    deviation = (squares / len(states) - mean.square()).clamp(min=0.0).sqrt()
    return ElementStatistics(
        mean.float().to(states.device), deviation.float().clamp(min=MIN_DEVIATION).to(states.device)
    )
