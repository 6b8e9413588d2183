"""The rows of a replay memory, in the same layout on disk, host and device.

A *row* is one time step of one lane: the frame seen, then the action taken, its reward, and how it
ended. Rows are laid out slot by slot, ``row = slot · lanes + lane``, so that the next row of the
same lane is ``lanes`` further on. A frame is stored once; a state is a gather of the last K rows,
zero where they lie before the episode's start (as ``AtariVectorEnv`` pads), and s_t and s_{t+1}
share K - 1 of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corrtool.states import IMAGE, StateSpec

Rows = NDArray[np.int64]

FIELDS = {
    "actions": np.int32,
    "rewards": np.float32,
    "terminated": np.bool_,
    "truncated": np.bool_,
    "valid": np.bool_,
    "episode_steps": np.int32,
}


@dataclass(frozen=True)
class MemoryRows:
    """Rows on the host, oldest slot first: what is stored on disk.

    Attributes:
        frames: (R, *frame_shape) uint8 or float32.
        fields: each of :data:`FIELDS`, (R,). ``valid`` marks rows that start a whole transition.
        lanes: rows per slot; R is a multiple of it.
    """

    spec: StateSpec
    lanes: int
    frames: NDArray[Any]
    fields: dict[str, NDArray[Any]]

    @property
    def records(self) -> int:
        """Number of transitions."""
        return int(self.fields["valid"].sum())


def ring_bytes(spec: StateSpec, records: int) -> int:
    """Bytes that a memory of so many records takes: frames and fields.

    Of small vectors the fields are nearly half.
    """
    item = 1 if spec.kind == IMAGE else 4
    fields = sum(np.dtype(dtype).itemsize for dtype in FIELDS.values())
    return records * (item * int(np.prod(spec.frame_shape)) + fields)
