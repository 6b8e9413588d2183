"""States of games that are being played, without a memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corrtool.runtime.device import to_device
from corrtool.states import StateSpec


class StateStacker:
    """The states of N lanes while they are played: the last K frames of each, on the device."""

    def __init__(self, spec: StateSpec, lanes: int, device: torch.device) -> None:
        self.spec, self.device = spec, device
        self._frames = torch.zeros(
            (lanes, spec.stack, *spec.frame_shape), dtype=spec.frame_dtype, device=device
        )

    def push(self, frames: NDArray[Any], episode_steps: NDArray[np.int64] | None = None) -> Tensor:
        """Add what is seen now; returns the raw states (N, *state_shape).

        Lanes at step 0 start anew.
        """
        newest = to_device(frames, self.device)[:, None]
        if self.spec.stack > 1:
            older = self._frames[:, 1:]
            starts = np.ones(len(frames), bool) if episode_steps is None else episode_steps == 0
            if starts.any():
                older = older.clone()
                older[to_device(np.flatnonzero(starts), self.device)] = 0
            newest = torch.cat([older, newest], dim=1)
        self._frames = newest
        return self.spec.stack_frames(newest)

    def restart(self, lanes: list[int], frames: NDArray[Any]) -> Tensor:
        """Begin ``lanes`` anew with their first ``frames`` (n, …); returns the raw states of all.

        (N, *state_shape), as :meth:`push`.
        """
        first = torch.zeros_like(self._frames[lanes])
        first[:, -1] = to_device(frames, self.device)
        which = to_device(np.asarray(lanes), self.device)
        self._frames = self._frames.index_copy(0, which, first)
        return self.spec.stack_frames(self._frames)
