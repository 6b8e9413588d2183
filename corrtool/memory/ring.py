"""A ring buffer of rows (:mod:`corrtool.memory.rows`) on the device, and the states in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corrtool.memory.rows import FIELDS, MemoryRows, Rows
from corrtool.runtime.device import to_device
from corrtool.state_scaling import StateScaling
from corrtool.states import IMAGE, StateSpec
from corrtool.tasks import LaneStep


class RowRing:
    """A ring of ``slots`` × ``lanes`` rows; with ``from_rows`` a whole memory from disk.

    Frames live on ``device``; the small fields stay on the host, where batches are chosen.
    """

    def __init__(self, spec: StateSpec, lanes: int, slots: int, device: torch.device) -> None:
        self.spec, self.lanes, self.slots, self.device = spec, lanes, slots, device
        self.frames = torch.zeros(
            (slots * lanes, *spec.frame_shape), dtype=spec.frame_dtype, device=device
        )
        self.fields: dict[str, NDArray[Any]] = {
            name: np.zeros(slots * lanes, dtype=dtype) for name, dtype in FIELDS.items()
        }
        self.slots_written = 0  # ever; the newest one is open: seen, but not acted on yet

    @classmethod
    def from_rows(cls, rows: MemoryRows, device: torch.device) -> Self:
        """A ring that holds exactly ``rows``."""
        ring = cls(rows.spec, rows.lanes, 0, device)
        ring.frames = torch.from_numpy(rows.frames).to(device)
        ring.fields = {
            name: np.array(rows.fields[name], dtype=dtype) for name, dtype in FIELDS.items()
        }
        ring.slots = ring.slots_written = len(rows.frames) // rows.lanes
        return ring

    def open_slot(
        self, frames: NDArray[Any], episode_steps: NDArray[np.int64] | None = None
    ) -> None:
        """Add a slot with new frames (lanes, *frame_shape).

        They begin new episodes where there are no ``episode_steps``.
        """
        rows = self.slot_rows(self.slots_written)
        self.frames[rows] = to_device(frames, self.device)
        for values in self.fields.values():
            values[rows] = 0
        if episode_steps is not None:
            self.fields["episode_steps"][rows] = episode_steps
        self.slots_written += 1

    def record(self, actions: NDArray[np.int64], step: LaneStep) -> None:
        """Fill the open slot with actions and outcome, and open the next."""
        rows = self.slot_rows(self.slots_written - 1)
        self.fields["actions"][rows] = actions
        self.fields["rewards"][rows] = step.rewards
        self.fields["terminated"][rows] = step.terminated & step.valid
        self.fields["truncated"][rows] = step.truncated & step.valid
        self.fields["valid"][rows] = step.valid
        self.open_slot(step.frames, step.episode_steps)

    def restart_episodes(self, frames: NDArray[Any]) -> None:
        """Truncate the episodes of all lanes, which were reset; ``frames`` begin new ones."""
        self.truncate_before(self.slots_written - 1)
        self.open_slot(frames)

    def truncate_before(self, slot: int) -> None:
        """Truncate the episodes of the slot before ``slot``: what follows is not theirs."""
        if slot - 1 < self.oldest_slot:
            return
        rows = self.slot_rows(slot - 1)
        self.fields["truncated"][rows] |= (
            self.fields["valid"][rows] & ~self.fields["terminated"][rows]
        )

    def slot_rows(self, slot: int) -> slice:
        """The rows of a slot."""
        first = (slot % self.slots) * self.lanes
        return slice(first, first + self.lanes)

    @property
    def oldest_slot(self) -> int:
        """The oldest slot that is still held."""
        return max(0, self.slots_written - self.slots)

    @property
    def oldest_whole_slot(self) -> int:
        """The oldest slot whose states are whole: no frame of them has been overwritten."""
        wrapped = self.slots_written > self.slots
        return self.oldest_slot + (self.spec.stack - 1 if wrapped else 0)

    def states(self, rows: Rows) -> Tensor:
        """The raw states (B, *state_shape) at ``rows`` (B,): the K frames up to each row."""
        return self.spec.stack_frames(self._windows(rows, self.spec.stack))

    def consecutive_states(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """The raw states at ``rows`` and one step later.

        The K - 1 frames that they share are gathered once.
        """
        stack = self.spec.stack
        windows = self._windows(rows, stack + 1)
        return self.spec.stack_frames(windows.narrow(1, 0, stack)), self.spec.stack_frames(
            windows.narrow(1, 1, stack)
        )

    def _windows(self, rows: Rows, frames: int) -> Tensor:
        """``frames`` frames (B, frames, *frame_shape), oldest first; the K-th is each row's own.

        Black before its episode.
        """
        stack = self.spec.stack
        offsets = np.arange(1 - stack, frames - stack + 1)
        index = rows[:, None] + offsets * self.lanes
        index %= self.slots * self.lanes
        # Ten times as fast on a CPU as frames[index].
        gathered = self.frames.index_select(0, to_device(index.reshape(-1), self.device))
        gathered = gathered.view(len(rows), frames, *self.spec.frame_shape)
        ages = self.fields["episode_steps"].take(rows)
        if ages.min(initial=stack) < stack - 1:
            young = np.flatnonzero(ages < stack - 1)
            which, frame = np.nonzero(offsets < -ages[young, None].astype(np.int64))
            places = (to_device(place, self.device) for place in (young[which], frame))
            gathered[tuple(places)] = 0
        return gathered

    def scaling(self, rows: Rows) -> StateScaling:
        """The scaling of this task's states, by (at most 10,000 of) ``rows``; images need none."""
        return scaling_by_states(self.spec, self.states, rows)

    def actions(self, rows: Rows) -> Tensor:
        """The actions (B,) int64 taken at ``rows``."""
        return to_device(self.fields["actions"].take(rows).astype(np.int64), self.device)

    def next_rows(self, rows: Rows, steps: Rows | int = 1) -> Rows:
        """The rows of the same lanes ``steps`` later."""
        return (rows + steps * self.lanes) % (self.slots * self.lanes)

    def slot_range(self, first: int, last: int) -> MemoryRows:
        """The slots [first, last) on the host, oldest first."""
        slots = np.arange(first, last) % self.slots
        rows = (slots[:, None] * self.lanes + np.arange(self.lanes)).ravel()
        frames = self.frames[to_device(rows, self.device)].cpu().numpy()
        return MemoryRows(
            self.spec,
            self.lanes,
            frames,
            {name: values[rows] for name, values in self.fields.items()},
        )

    def restore(self, blocks: list[MemoryRows], slots_written: int) -> None:
        """Put back slots saved with :meth:`slot_range`; the newest ends at ``slots_written``."""
        self.slots_written = slots_written
        first = slots_written - sum(len(block.frames) // self.lanes for block in blocks)
        for block in blocks:
            for slot in range(len(block.frames) // self.lanes):
                if first >= self.oldest_slot:
                    rows = self.slot_rows(first)
                    part = slice(slot * self.lanes, (slot + 1) * self.lanes)
                    self.frames[rows] = to_device(block.frames[part], self.device)
                    for name, values in self.fields.items():
                        values[rows] = block.fields[name][part]
                first += 1


def scaling_by_states(
    spec: StateSpec, states: Callable[[Rows], Tensor], rows: Rows
) -> StateScaling:
    """The scaling by (at most 10,000 of) the ``states`` at ``rows``; that of images needs none."""
    if spec.kind == IMAGE:
        return StateScaling(spec)
    return StateScaling.from_states(spec, states(rows[:: max(1, len(rows) // 10_000)]))
