"""Several replay memories seen as one, for what learns from the transitions of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corrtool.errors import ArtifactError
from corrtool.memory.replay import ReplayMemory
from corrtool.memory.ring import scaling_by_states
from corrtool.memory.rows import Rows
from corrtool.runtime.device import to_device
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec


class Transitions(Protocol):
    """What learns from whole memories asks of one: of a :class:`ReplayMemory`, or several."""

    @property
    def spec(self) -> StateSpec:
        """The kind of all its states."""

    @property
    def device(self) -> torch.device:
        """Where its frames are."""

    def transition_rows(self) -> Rows:
        """As :meth:`ReplayMemory.transition_rows`."""

    def dynamics_rows(self) -> Rows:
        """As :meth:`ReplayMemory.dynamics_rows`."""

    def states(self, rows: Rows) -> Tensor:
        """As :meth:`ReplayMemory.states`."""

    def actions(self, rows: Rows) -> Tensor:
        """As :meth:`ReplayMemory.actions`."""

    def next_rows(self, rows: Rows) -> Rows:
        """As :meth:`ReplayMemory.next_rows`, one step later."""

    def scaling(self, rows: Rows) -> StateScaling:
        """As :meth:`ReplayMemory.scaling`."""


def check_episodes(memory: Transitions, called: str) -> None:
    """Check that not all transitions of a memory end an episode.

    Raises:
        ArtifactError: they do, so none follows the dynamics, and no more of them ever would.
    """
    if len(memory.transition_rows()) and not len(memory.dynamics_rows()):
        raise ArtifactError(
            f"every episode ended with its first step in {called}, so there is no transition that "
            "follows the dynamics",
            "that takes a task whose episodes are longer",
        )


_Gather: TypeAlias = Callable[[ReplayMemory, Rows], Tensor]


class JoinedMemory:
    """Memories of one kind of states on one device; the numbers of their lanes may differ.

    Rows of the k-th are its own, after all rows of those before: with memories of 30 and 50 rows,
    row 35 is row 5 of the second. Nothing is copied.

    Raises:
        ValueError: there are no memories, or their states or devices differ.
    """

    def __init__(self, memories: Sequence[ReplayMemory]) -> None:
        if not memories:
            raise ValueError("there are no memories to join")
        self.memories = tuple(memories)
        self.spec, self.device = memories[0].spec, memories[0].device
        if any((m.spec, m.device) != (self.spec, self.device) for m in memories):
            raise ValueError("memories of different states or devices cannot be joined")
        ends = np.cumsum([len(memory.frames) for memory in memories])
        self._firsts: Rows = np.concatenate([[0], ends[:-1]]).astype(np.int64)

    def split(self, rows: Rows) -> list[Rows]:
        """Those of ``rows`` that are of each memory, in their order."""
        which = self._which(rows)
        return [rows[which == k] for k in range(len(self.memories))]

    def transition_rows(self) -> Rows:
        """Rows of all transitions, memory by memory."""
        return self._joined([memory.transition_rows() for memory in self.memories])

    def dynamics_rows(self) -> Rows:
        """Rows of the transitions that do not end an episode, memory by memory."""
        return self._joined([memory.dynamics_rows() for memory in self.memories])

    def states(self, rows: Rows) -> Tensor:
        """The raw states (B, *state_shape) at ``rows`` (B,)."""
        return self._gathered(ReplayMemory.states, rows)

    def actions(self, rows: Rows) -> Tensor:
        """The actions (B,) int64 taken at ``rows``."""
        return self._gathered(ReplayMemory.actions, rows)

    def next_rows(self, rows: Rows) -> Rows:
        """The rows of the same memories' lanes one step later."""
        following = np.empty_like(rows)
        for memory, first, places in self._parts(rows):
            following[places] = memory.next_rows(rows[places] - first) + first
        return following

    def scaling(self, rows: Rows) -> StateScaling:
        """The scaling of the states at ``rows``, of which those of all memories count alike."""
        return scaling_by_states(self.spec, self.states, rows)

    def _joined(self, rows: list[Rows]) -> Rows:
        return np.concatenate(
            [own + first for own, first in zip(rows, self._firsts, strict=True)]
        ).astype(np.int64)

    def _which(self, rows: Rows) -> NDArray[np.intp]:
        """The number of the memory of each of ``rows``."""
        return np.searchsorted(self._firsts, rows, side="right") - 1

    def _parts(self, rows: Rows) -> Iterator[tuple[ReplayMemory, int, NDArray[np.intp]]]:
        """Each memory of which ``rows`` has some, its first row, and where in ``rows`` they are."""
        which = self._which(rows)
        for k, memory in enumerate(self.memories):
            if len(places := np.flatnonzero(which == k)):
                yield memory, int(self._firsts[k]), places

    def _gathered(self, values_of: _Gather, rows: Rows) -> Tensor:
        """The values (B, …) that ``values_of`` takes at ``rows`` from their memories."""
        if len(self.memories) == 1:
            return values_of(self.memories[0], rows)
        values = values_of(self.memories[0], rows[:0])
        values = values.new_empty((len(rows), *values.shape[1:]))
        for memory, first, places in self._parts(rows):
            values[to_device(places, self.device)] = values_of(memory, rows[places] - first)
        return values
