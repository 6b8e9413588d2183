"""The parts of a checkpoint about a replay memory: the place of its rows, and their priorities."""

from __future__ import annotations

from typing import Any

from corrtool.memory import MemoryJournal, ReplayMemory
from corrtool.runs.records import JOURNAL
from corrtool.runs.run import Run
from corrtool.runtime.console import Console


class JournalledRows:
    """The rows of a growing memory, in the run's journal: a checkpoint only says where."""

    def __init__(self, memory: ReplayMemory, run: Run, console: Console) -> None:
        self._memory, self._run, self._console = memory, run, console
        self._journal = self._journal_of(None)

    def _journal_of(self, state: dict[str, Any] | None) -> MemoryJournal:
        return MemoryJournal(self._run.directory / JOURNAL, state, self._run.keep_checkpoints)

    def state(self) -> dict[str, Any]:
        """For a checkpoint; writes the rows that are new since the last."""
        return self._journal.save(self._memory)

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self._journal = self._journal_of(state)
        with self._console.transient_progress(
            "reading the replay memory", self._journal.slots, "slots"
        ) as reading:
            self._journal.load(self._memory, reading.advance)

    def prune(self) -> None:
        """Delete what no checkpoint on disk needs any more."""
        self._journal.prune()


class CheckpointedPriorities:
    """The priorities of a memory's transitions, put back after its rows; None without any."""

    def __init__(self, memory: ReplayMemory) -> None:
        self._memory = memory

    def state(self) -> dict[str, Any] | None:
        """For a checkpoint."""
        return self._memory.priorities()

    def load_state(self, state: dict[str, Any] | None) -> None:
        """The inverse of :meth:`state`."""
        self._memory.load_priorities(state)
