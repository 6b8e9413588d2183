"""The files of a run's checkpoints: where they are, and how many are kept."""

from __future__ import annotations

from pathlib import Path

from corrtool.files.atomic import copy_atomic

CHECKPOINT = "checkpoint.safetensors"  # the newest one, in a run's directory


def checkpoint_paths(directory: Path) -> list[Path]:
    """The checkpoints of the run in ``directory``, the newest first."""
    older = {
        age: path
        for path in directory.glob("checkpoint-*.safetensors")
        if (age := _age(path)) is not None
    }
    return [
        path
        for path in (directory / CHECKPOINT, *(older[age] for age in sorted(older)))
        if path.exists()
    ]


def _age(path: Path) -> int | None:
    """The number of newer checkpoints; None for a file that is not a checkpoint of this run."""
    number = path.stem.partition("-")[2]
    return int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else None


def make_room(path: Path, keep: int) -> None:
    """Let the checkpoints step back, so that at most ``keep`` are there with a new one at ``path``.

    That one stays until it is replaced: there always is one.
    """
    for older in reversed(checkpoint_paths(path.parent)[1:]):
        age = _age(older) or 0
        if age + 1 >= keep:
            older.unlink()
        else:
            older.rename(path.with_name(f"checkpoint-{age + 1}.safetensors"))
    if keep > 1 and path.exists():
        copy_atomic(path, path.with_name("checkpoint-1.safetensors"))
