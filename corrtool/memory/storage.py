"""Replay memories on disk: a Zarr group that plain zarr can read.

Arrays ``frames``, ``actions``, ``rewards``, ``terminated``, ``truncated``, ``valid`` and ``episode_steps``, one entry per
row (see :mod:`corrtool.memory.replay` for what a row is). Frames are compressed with zstd in chunks of about 1 MB that
hold whole slots. A chunk that is missing would read as zeros, so the manifest lists every file with its SHA-256.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.errors
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from corrtool.errors import ArtifactError
from corrtool.memory.replay import FIELDS, MemoryRows
from corrtool.states import StateSpec
from corrtool.tasks import LaneStep

CHUNK_BYTES = 1 << 20
FIELD_CHUNK_ROWS = 1 << 16


class MemoryWriter:
    """Streams rows into a Zarr group, holding at most one chunk of frames in memory.

    Whole chunks go to disk as they fill; :meth:`state` holds the rest, so that a checkpoint and the chunks before it
    are always a whole. Small fields are written by :meth:`finish`.
    """

    def __init__(self, path: Path, spec: StateSpec, lanes: int, state: dict[str, Any] | None = None) -> None:
        self.spec, self.lanes = spec, lanes
        dtype = np.dtype(str(spec.frame_dtype).removeprefix("torch."))
        frame_bytes = int(np.prod(spec.frame_shape)) * dtype.itemsize
        self._chunk_rows = lanes * max(1, CHUNK_BYTES // (frame_bytes * lanes))
        self._frames: Any
        self._pending: list[NDArray[Any]] = []
        self._fields: dict[str, list[NDArray[Any]]] = {name: [] for name in FIELDS}
        self.records = 0
        if state is not None and (path / "frames").exists():
            self._group = zarr.open_group(path, mode="r+")
            self._frames = self._group["frames"]
            self._frames.resize((int(state["rows_on_disk"]), *spec.frame_shape))
            if len(state["pending"]):
                self._pending.append(state["pending"])
            fields = {name: np.array(state["fields"][name]) for name in FIELDS}
            # Emulators restart, so the episodes before a resumption end in a truncation.
            closed = slice(-2 * lanes, -lanes)
            fields["truncated"][closed] |= fields["valid"][closed] & ~fields["terminated"][closed]
            for name in FIELDS:
                self._fields[name].append(fields[name])
            self.records = int(state["fields"]["valid"].sum())
            return
        self._group = zarr.open_group(path, mode="w")
        self._frames = self._group.create_array(
            "frames",
            shape=(0, *spec.frame_shape),
            chunks=(self._chunk_rows, *spec.frame_shape),
            dtype=dtype,
            compressors=[ZstdCodec(level=3, checksum=True)],
            config={"write_empty_chunks": True},
        )

    def open_slot(self, frames: NDArray[Any], episode_steps: NDArray[np.int64] | None = None) -> None:
        """Adds a slot with what is seen now, (lanes, *frame_shape); see :meth:`ReplayMemory.open_slot`."""
        steps = np.zeros(self.lanes, np.int64) if episode_steps is None else episode_steps
        self._pending.append(frames)
        for name, dtype in FIELDS.items():
            self._fields[name].append(np.zeros(self.lanes, dtype) if name != "episode_steps" else steps.astype(dtype))
        if sum(map(len, self._pending)) >= self._chunk_rows:
            pending = np.concatenate(self._pending)
            self._append(pending[: self._chunk_rows])
            self._pending = [pending[self._chunk_rows :]] if len(pending) > self._chunk_rows else []

    def record(self, actions: NDArray[np.int64], step: LaneStep, limit: int) -> None:
        """Fills the open slot and opens the next; of its transitions only so many count that ``limit`` is not passed."""
        valid = step.valid & (self.records + np.cumsum(step.valid) <= limit)
        for name, values in (
            ("actions", actions),
            ("rewards", step.rewards),
            ("terminated", step.terminated & step.valid),
            ("truncated", step.truncated & step.valid),
            ("valid", valid),
        ):
            self._fields[name][-1][-self.lanes :] = values
        self.records += int(valid.sum())
        self.open_slot(step.frames, step.episode_steps)

    def _append(self, frames: NDArray[Any]) -> None:
        start = self._frames.shape[0]
        self._frames.resize((start + len(frames), *self.spec.frame_shape))
        self._frames[start:] = frames

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold besides the chunks on disk."""
        empty = np.zeros((0, *self.spec.frame_shape), self._frames.dtype)
        return {
            "rows_on_disk": int(self._frames.shape[0]),
            "pending": np.concatenate([empty, *self._pending]),
            "fields": {name: np.concatenate(parts) for name, parts in self._fields.items()},
        }

    def finish(self) -> dict[str, Any]:
        """Writes what is left; returns what the memory's manifest says of it."""
        if self._pending:
            self._append(np.concatenate(self._pending))
            self._pending = []
        _write_fields(self._group, {name: np.concatenate(parts) for name, parts in self._fields.items()})
        return _description(self.spec, self.lanes, self.records, int(self._frames.shape[0]))


def _write_fields(group: Any, fields: dict[str, NDArray[Any]]) -> None:
    for name, values in fields.items():
        array = group.create_array(
            name,
            shape=values.shape,
            chunks=(min(len(values), FIELD_CHUNK_ROWS),),
            dtype=values.dtype,
            compressors=[ZstdCodec(level=3, checksum=True)],
            config={"write_empty_chunks": True},
            overwrite=True,
        )
        array[:] = values


def _description(spec: StateSpec, lanes: int, records: int, rows: int) -> dict[str, Any]:
    return {"records": records, "rows": rows, "lanes": lanes, "states": spec.to_json()}


def write_rows(path: Path, rows: MemoryRows) -> dict[str, Any]:
    """Writes ``rows`` to a new Zarr group at ``path``; returns what its manifest says of it."""
    writer = MemoryWriter(path, rows.spec, rows.lanes)
    step = writer._chunk_rows
    for start in range(0, len(rows.frames), step):
        writer._append(rows.frames[start : start + step])
    _write_fields(writer._group, rows.fields)
    return _description(rows.spec, rows.lanes, rows.records, len(rows.frames))


def read_rows(path: Path, manifest: dict[str, Any]) -> MemoryRows:
    """The rows of a memory whose files were checked against ``manifest``.

    Raises:
        ArtifactError: the arrays are not what the manifest says.
    """
    spec = StateSpec.from_json(manifest["states"])
    rows, lanes = int(manifest["rows"]), int(manifest["lanes"])
    dtype = str(spec.frame_dtype).removeprefix("torch.")
    try:
        group = zarr.open_group(path, mode="r")
        frames: Any = group["frames"]
        fields: dict[str, Any] = {name: group[name] for name in FIELDS}
        if frames.shape != (rows, *spec.frame_shape) or str(frames.dtype) != dtype or rows % lanes:
            raise ArtifactError(
                f"{path} does not hold the frames that its manifest describes",
                "collect it again with --overwrite",
            )
        for name, kind in FIELDS.items():
            if fields[name].shape != (rows,) or fields[name].dtype != np.dtype(kind):
                raise ArtifactError(
                    f"{path}/{name} is not what its manifest describes", "collect it again with --overwrite"
                )
        return MemoryRows(spec, lanes, frames[:], {name: array[:] for name, array in fields.items()})
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ArtifactError(f"{path} cannot be read as Zarr ({' '.join(str(error).split())})") from None
