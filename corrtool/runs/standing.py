"""Where a run of a known fingerprint stands: not begun, going on, interrupted, or done."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from corrtool.errors import ArtifactError
from corrtool.project.artifacts import unchecked_artifact_path
from corrtool.project.locks import lock_holder, recorded_holder
from corrtool.runs.checkpoint_files import checkpoint_paths
from corrtool.runs.records import RunRecord, read_record, run_directory
from corrtool.runs.requests import is_equal

RECENT_SECONDS = 600.0  # a run on another machine that wrote something since then goes on


@dataclass(frozen=True)
class Standing:
    """Where a run stands.

    Attributes:
        state: ``"other"`` where another request's run has its name.
        record: of a run that has begun, whosever it is.
        holder: the process that writes it, of a run that goes on.
        saved_seconds_ago: since its newest checkpoint; None where it has none.
    """

    state: Literal["missing", "running", "interrupted", "done", "other"]
    record: RunRecord | None = None
    holder: str | None = None
    saved_seconds_ago: float | None = None


def standing_of(
    root: Path, stage: str, name: str, fingerprint: str, produces: Sequence[Sequence[str]]
) -> Standing:
    """Where the run stands that a request of this fingerprint asks for.

    Of what it made this looks at no byte: ``verify`` does, and so does whoever reads it.

    Args:
        produces: kind and name of each artifact that it makes.

    Raises:
        ArtifactError: its record is damaged.
    """
    directory = run_directory(root, stage, name)
    saved = saved_seconds_ago(directory)
    holder = _holder(root, directory, [tuple(p) for p in produces] or [(stage, name)])
    if saved is None and not (directory / "run.json").exists():
        return Standing("missing" if holder is None else "running", None, holder)
    record = read_record(directory)
    begun = saved is not None or holder is not None or record["state"] == "finished"
    if begun and not is_equal(fingerprint, record):
        return Standing("other", record, holder, saved)
    if holder is not None:
        return Standing("running", record, holder, saved)
    if record["state"] == "finished":
        there = all(unchecked_artifact_path(root, kind, made).exists() for kind, made in produces)
        return Standing("done" if there else "missing", record)
    return Standing("missing" if saved is None else "interrupted", record, None, saved)


def _holder(root: Path, directory: Path, locks: Sequence[tuple[str, ...]]) -> str | None:
    """The process that writes a run.

    A lock speaks for one machine only: of a process on another one, what it wrote lately does.
    """
    kind, name = locks[0]
    holder = recorded_holder(root, kind, name)
    if not holder:
        return None
    here = lock_holder(root, kind, name)
    if here is not None or holder.split()[-1:] == [socket.gethostname()]:
        return here
    written = [_modified(path) for path in directory.glob("*") if path.is_file()]
    recent = bool(written) and time.time() - max(written) < RECENT_SECONDS
    return holder if recent else None


def saved_seconds_ago(directory: Path) -> float | None:
    """The age of the newest checkpoint of a run; None where it has none."""
    newest = next(iter(checkpoint_paths(directory)), None)
    return None if newest is None else max(0.0, time.time() - _modified(newest))


def _modified(path: Path) -> float:
    """When a file was written last; long ago where it has just been replaced."""
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def equal_runs(directories: Sequence[Path]) -> dict[str, str]:
    """The names of the runs in ``directories`` by fingerprint; damaged ones are nobody's."""
    found: dict[str, str] = {}
    for directory in directories:
        with contextlib.suppress(ArtifactError):
            record = read_record(directory)
            found.setdefault(record["fingerprint"], record["name"])
    return found
