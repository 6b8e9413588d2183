"""Metrics of a run: JSON lines, and TensorBoard events on request."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from corrtool.errors import DamagedError, UsageError
from corrtool.files.atomic import regular_file
from corrtool.files.sealed import damaged


class Position(TypedDict):
    """How far a file of metrics reaches, as a checkpoint holds it.

    Attributes:
        step: on TensorBoard's axis, of the last line; older checkpoints do not tell.
    """

    bytes: int
    sha256: str
    step: NotRequired[int | None]


class MetricsLog:
    """Append one JSON object per line to ``metrics.jsonl`` in a run's directory.

    On resumption the file is cut to where the checkpoint stood, so that a resumed run has the lines
    of an unbroken one; TensorBoard is told to forget what it was shown from there on.

    Args:
        saved: what :meth:`sync` said for the checkpoint from which a run goes on.

    Raises:
        ArtifactError: the file no longer begins with what it held then.
    """

    def __init__(
        self, directory: Path, saved: Position | None = None, tensorboard: bool = False
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = metrics_path(directory)
        self._digest = hashlib.sha256() if saved is None else digest_of_saved(self.path, saved)
        self._file = self.path.open("r+b" if self.path.exists() else "w+b")
        self._file.truncate(0 if saved is None else saved["bytes"])
        self._file.seek(0, os.SEEK_END)
        self._step = -1 if saved is None else saved.get("step")
        first = (
            self._step + 1 if isinstance(self._step, int) else None
        )  # older checkpoints do not tell
        self._events = _event_writer(directory / "events", first) if tensorboard else None

    def write(self, step: int, values: Mapping[str, object]) -> None:
        """Log ``values``; ``step`` is the position on TensorBoard's axis."""
        line = json.dumps(values).encode() + b"\n"
        self._file.write(line)
        self._file.flush()
        self._digest.update(line)
        self._step = step
        if self._events is not None:
            for name, value in values.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    self._events.add_scalar(name, value, step)

    def sync(self) -> Position:
        """Make what was logged durable.

        Returns its length in ``bytes``, its ``sha256``, and the last ``step``.
        """
        self._file.flush()
        os.fsync(self._file.fileno())
        return {"bytes": self._file.tell(), "sha256": self._digest.hexdigest(), "step": self._step}

    def close(self) -> None:
        """Close the files; closing twice is fine."""
        if not self._file.closed:
            self._file.close()
        if self._events is not None:
            self._events.close()


class NoMetrics(MetricsLog):
    """A metrics log that keeps nothing."""

    def __init__(self) -> None:
        pass

    def write(self, step: int, values: Mapping[str, object]) -> None:
        """Nothing."""


def metrics_path(directory: Path) -> Path:
    """The metrics file of the run in ``directory``."""
    return directory / "metrics.jsonl"


def digest_of_saved(path: Path, saved: Position) -> Any:
    """The SHA-256 object of a file's first bytes, those that :meth:`MetricsLog.sync` told of.

    Raises:
        ArtifactError: the file is missing, shorter or another one.
    """
    try:
        with regular_file(path).open("rb") as file:
            digest = hashlib.sha256(file.read(saved["bytes"]))
    except OSError:
        raise damaged(path) from None
    if digest.hexdigest() != saved["sha256"]:
        raise damaged(path)
    return digest


def _event_writer(directory: Path, first: int | None) -> Any:
    """Write events; those of earlier processes from the step ``first`` on no longer count."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError(
            "--tensorboard needs TensorBoard", "pip install 'corrtool[tensorboard]'"
        ) from None
    return SummaryWriter(str(directory), purge_step=first)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All lines of a ``metrics.jsonl``; a last line that was cut off by a crash is left out.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    try:
        lines = [
            json.loads(line)
            for line in regular_file(path).read_text(encoding="utf-8").split("\n")[:-1]
        ]
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(
            path, f"cannot be read ({error})", "run the stage again with --overwrite"
        ) from None
    if not all(isinstance(line, dict) for line in lines):
        raise damaged(path, "run the stage again with --overwrite")
    return lines
