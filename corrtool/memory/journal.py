"""The journal: a growing replay memory on disk, with which a killed run resumes.

A DQN resumed without its memory falls from 20 to -21. Writing the whole ring at every checkpoint
would cost up to gigabytes; the journal writes only the slots that are new since the last one, each
block a small Zarr memory, and drops blocks that the ring has overwritten.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from corrtool.files.atomic import publish_directory
from corrtool.memory.replay import ReplayMemory
from corrtool.memory.storage import read_rows, write_rows
from corrtool.project.memory_files import check_memory, seal_memory


class MemoryJournal:
    """Blocks of one run's replay memory.

    Args:
        directory: where they are.
        state: what the last checkpoint said of them.
        checkpoints: how many of the newest checkpoints must find the blocks that they name.
    """

    def __init__(
        self, directory: Path, state: dict[str, Any] | None = None, checkpoints: int = 1
    ) -> None:
        self._directory = directory
        self._blocks: list[list[int]] = (
            [] if state is None else [list(block) for block in state["blocks"]]
        )
        self._named = deque([self._blocks], maxlen=checkpoints)
        self._open_slot: dict[str, Any] = {} if state is None else state["open_slot"]
        self._resumed_at: list[int] = [] if state is None else list(state["resumed_at"])

    def save(self, memory: ReplayMemory) -> dict[str, Any]:
        """Write the slots since the last block; returns what the checkpoint must hold.

        Nothing is deleted here: the checkpoint on disk still needs the old blocks. Call
        :meth:`prune` after the new checkpoint is there.
        """
        saved = self._blocks[-1][1] if self._blocks else 0
        first, last = (
            max(saved, memory.oldest_slot),
            memory.slots_written - 1,
        )  # the open slot is not part of it
        if last > first:
            staged = self._directory / f".{first}-{last}.partial"
            shutil.rmtree(staged, ignore_errors=True)
            staged.parent.mkdir(parents=True, exist_ok=True)
            seal_memory(staged, write_rows(staged, memory.slot_range(first, last)))
            publish_directory(staged, self._directory / f"{first}-{last}.zarr")
            self._blocks = [*self._blocks, [first, last]]
        self._blocks = [block for block in self._blocks if block[1] > memory.oldest_slot]
        self._named.append(self._blocks)
        newest = memory.slot_range(last, last + 1)
        open_slot = {"frames": newest.frames, "episode_steps": newest.fields["episode_steps"]}
        self._resumed_at = [slot for slot in self._resumed_at if slot > memory.oldest_slot]
        return {"blocks": self._blocks, "open_slot": open_slot, "resumed_at": self._resumed_at}

    def prune(self) -> None:
        """Delete everything that no checkpoint needs any more."""
        keep = {f"{first}-{last}.zarr" for blocks in self._named for first, last in blocks}
        for path in self._directory.glob("*"):
            if path.name not in keep:
                shutil.rmtree(path, ignore_errors=True)

    @property
    def slots(self) -> int:
        """Number of slots that :meth:`load` reads."""
        return sum(last - first for first, last in self._blocks)

    def load(
        self, memory: ReplayMemory, advance: Callable[[int], None] = lambda slots: None
    ) -> None:
        """Fill ``memory`` with the blocks.

        ``advance`` is called with how many more :attr:`slots` are read.

        The emulators start new episodes after a resumption, so the transitions before it end in a
        truncation: they bootstrap from what was seen last, and no n-step return reaches into the
        next episode.

        Raises:
            ArtifactError: a block is damaged or missing.
        """
        blocks = []
        for first, last in self._blocks:
            path = self._directory / f"{first}-{last}.zarr"
            blocks.append(read_rows(path, check_memory(path)))
            advance(last - first)
        if self._blocks:
            memory.restore(blocks, self._blocks[-1][1])
            self._resumed_at.append(memory.slots_written)
            for slot in self._resumed_at:
                memory.truncate_before(slot)
        if self._open_slot:
            memory.open_slot(
                self._open_slot["frames"], self._open_slot["episode_steps"].astype(np.int64)
            )
