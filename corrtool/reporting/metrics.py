"""Metrics of a run: JSON lines, and TensorBoard events on request."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from corrtool.errors import ArtifactError, UsageError
from corrtool.project.files import regular_file


class MetricsLog:
    """Appends one JSON object per line to ``metrics.jsonl`` in a run's directory.

    On resumption the file is cut to where the checkpoint stood, so that a resumed run has the lines of an unbroken one.
    """

    def __init__(self, directory: Path, keep_bytes: int = 0, tensorboard: bool = False) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "metrics.jsonl"
        self._file = self.path.open("r+b" if self.path.exists() else "w+b")
        self._file.truncate(min(keep_bytes, self.path.stat().st_size))
        self._file.seek(0, os.SEEK_END)
        self._events = _event_writer(directory / "events") if tensorboard else None

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Logs ``values``; ``step`` is the position on TensorBoard's axis."""
        self._file.write(json.dumps(values).encode() + b"\n")
        self._file.flush()
        if self._events is not None:
            for name, value in values.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    self._events.add_scalar(name, value, step)

    def sync(self) -> int:
        """Makes what was logged durable; returns the length in bytes."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Closes the files; closing twice is fine."""
        if not self._file.closed:
            self._file.close()
        if self._events is not None:
            self._events.close()


def _event_writer(directory: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError("--tensorboard needs TensorBoard", "pip install 'corrtool[tensorboard]'") from None
    return SummaryWriter(str(directory))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All lines of a ``metrics.jsonl``; a last line that was cut off by a crash is left out.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    try:
        lines = [json.loads(line) for line in regular_file(path).read_text(encoding="utf-8").split("\n")[:-1]]
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read ({error})", "run the stage again with --overwrite") from None
    if not all(isinstance(line, dict) for line in lines):
        raise ArtifactError(f"{path} is damaged", "run the stage again with --overwrite")
    return lines
