"""Replay memories: on disk (Zarr), on the device, and the journal that makes one resumable."""

from corrtool.memory.joined import JoinedMemory, Transitions, check_episodes
from corrtool.memory.journal import MemoryJournal
from corrtool.memory.replay import ReplayMemory, TransitionBatch
from corrtool.memory.rows import MemoryRows
from corrtool.memory.shuffled import ShuffledRows
from corrtool.memory.stacker import StateStacker
from corrtool.memory.storage import MemoryWriter, read_rows, write_rows

__all__ = [
    "JoinedMemory",
    "MemoryJournal",
    "MemoryRows",
    "MemoryWriter",
    "ReplayMemory",
    "ShuffledRows",
    "StateStacker",
    "TransitionBatch",
    "Transitions",
    "check_episodes",
    "read_rows",
    "write_rows",
]
