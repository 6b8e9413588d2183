"""A policy of any function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray


@dataclass(frozen=True)
class Values:
    """The values of the actions that ``of`` gives of raw states and their lanes."""

    of: Callable[..., torch.Tensor]
    needs_all_threads: bool = False

    def __call__(self, raw: torch.Tensor, lanes: NDArray[Any] | None = None) -> torch.Tensor:
        return self.of(raw, lanes)
