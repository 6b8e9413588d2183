"""Replay memories on disk: a Zarr group that plain zarr can read.

Arrays ``frames``, ``actions``, ``rewards``, ``terminated``, ``truncated``, ``valid`` and
``episode_steps``, one entry per row (see :mod:`corrtool.memory.rows` for what a row is). Frames are
compressed with zstd in chunks of about 1 MB that hold whole slots. A chunk that is missing would
read as zeros, so the manifest lists every file with its SHA-256.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
import zarr.errors
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.storage import MemoryStore

from corrtool.errors import ArtifactError, DamagedError
from corrtool.files.atomic import sha256_of_file, sync_file
from corrtool.memory.rows import FIELDS, MemoryRows, ring_bytes
from corrtool.project.manifests import Manifest, MemoryContents
from corrtool.project.memory_files import check_files, is_zarr_file
from corrtool.runtime.free_memory import check_memory_is_free
from corrtool.states import StateSpec
from corrtool.tasks import LaneStep

CHUNK_BYTES = 1 << 20
FIELD_CHUNK_ROWS = 1 << 16
_MORE_CHUNKS = 64  # by which the array of frames grows
_CHUNKS_AT_ONCE = 8  # a call of zarr costs as much as compressing as many
_READ_CHUNKS = 64  # at once, between which a person is told how far it is
_MAX_COMPRESSION = 100_000  # zeros take a 30,000th


class MemoryWriter:
    """Stream rows into a Zarr group, holding a few chunks of frames in memory.

    Whole chunks go to disk with :meth:`write_chunks`; :meth:`state` holds the rest, so that a
    checkpoint and the chunks before it are always a whole. :meth:`finish` writes the small fields.
    """

    def __init__(
        self, path: Path, spec: StateSpec, lanes: int, state: dict[str, Any] | None = None
    ) -> None:
        self._path, self.spec, self.lanes = path, spec, lanes
        self._files: dict[str, str] = {}
        self._chunk_rows = _chunk_rows(spec, lanes)
        self._group: Any
        self._frames: Any
        self._pending: list[NDArray[Any]] = []
        self._fields: dict[str, list[NDArray[Any]]] = {name: [] for name in FIELDS}
        self.records = self._rows = 0  # rows on disk
        if state is not None:
            self.load_state(state)
            return
        self._group = zarr.open_group(path, mode="w")
        self._frames = _create_frames(self._group, spec, lanes, 0)

    def open_slot(
        self, frames: NDArray[Any], episode_steps: NDArray[np.int64] | None = None
    ) -> None:
        """Add a slot with new frames (lanes, *frame_shape); see :meth:`ReplayMemory.open_slot`."""
        steps = np.zeros(self.lanes, np.int64) if episode_steps is None else episode_steps
        self._pending.append(frames)
        for name, dtype in FIELDS.items():
            self._fields[name].append(
                np.zeros(self.lanes, dtype) if name != "episode_steps" else steps.astype(dtype)
            )

    def write_chunks(self) -> None:
        """Compress and write, once there are some whole chunks.

        To be called at every slot, where there is time to spare.
        """
        if sum(map(len, self._pending)) >= _CHUNKS_AT_ONCE * self._chunk_rows:
            self._write_whole_chunks()

    def _write_whole_chunks(self) -> None:
        pending = self._pending_frames()
        whole = len(pending) // self._chunk_rows * self._chunk_rows
        if whole:
            self._append(pending[:whole])
        self._pending = [pending[whole:]]

    def _pending_frames(self) -> NDArray[Any]:
        return np.concatenate(
            [np.zeros((0, *self.spec.frame_shape), self._frames.dtype), *self._pending]
        )

    def record(self, actions: NDArray[np.int64], step: LaneStep, limit: int) -> None:
        """Fill the open slot, and open the next.

        Of its transitions only so many count that ``limit`` is not passed.
        """
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

    def add_rows(self, rows: MemoryRows) -> None:
        """Add whole slots of as many lanes, and write what makes whole chunks."""
        self._pending.append(rows.frames)
        for name, values in rows.fields.items():
            self._fields[name].append(values)
        self.records += rows.records
        self.write_chunks()

    def _append(self, frames: NDArray[Any]) -> None:
        start, self._rows = self._rows, self._rows + len(frames)
        if self._rows > self._frames.shape[0]:
            self._frames.resize(
                (self._rows + _MORE_CHUNKS * self._chunk_rows, *self.spec.frame_shape)
            )
        self._frames[start : self._rows] = frames

    def _cut_to_size(self) -> None:
        self._frames.resize((self._rows, *self.spec.frame_shape))

    def state(self) -> dict[str, Any]:
        """The state for a checkpoint besides the chunks on disk, which are durable from here on."""
        self._write_whole_chunks()
        chunks = (
            "/".join(["frames", "c", str(n), *["0"] * len(self.spec.frame_shape)])
            for n in range(self._rows // self._chunk_rows)  # whole ones
        )
        for name in ("zarr.json", *chunks):
            if name not in self._files:
                sync_file(self._path / name, self._path)
                self._files[name] = sha256_of_file(self._path / name)
        self._fields = {
            name: [np.concatenate(parts)] for name, parts in self._fields.items()
        }  # not one a slot
        return {
            "files": dict(self._files),
            "rows_on_disk": self._rows,
            "pending": self._pending_frames(),
            "fields": {name: values.copy() for name, (values,) in self._fields.items()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`: goes on with the chunks on disk.

        Raises :class:`ArtifactError` where they are damaged.
        """
        self._files = dict(state["files"])
        check_files(self._path, self._files)
        self._group, self._frames = _open_staged(self._path, self.spec, self.lanes)
        self._rows = int(state["rows_on_disk"])
        self._cut_to_size()
        self._pending = [state["pending"]] if len(state["pending"]) else []
        fields = {name: np.array(state["fields"][name]) for name in FIELDS}
        # Emulators restart, so the episodes before a resumption end in a truncation.
        closed = slice(-2 * self.lanes, -self.lanes)
        fields["truncated"][closed] |= fields["valid"][closed] & ~fields["terminated"][closed]
        self._fields = {name: [values] for name, values in fields.items()}
        self.records = int(state["fields"]["valid"].sum())

    def finish(self) -> MemoryContents:
        """Write what is left; returns what the memory's manifest says of it.

        Raises:
            OSError: something that was written before is there no more.
        """
        if len(pending := self._pending_frames()):
            self._append(pending)
            self._pending = []
        self._cut_to_size()
        _write_fields(
            self._group, {name: np.concatenate(parts) for name, parts in self._fields.items()}
        )
        try:
            _checked_arrays(self._path, self.spec, self.lanes, self._rows)
        except _UNREADABLE as error:
            raise OSError(
                f"{self._path} was changed while it was written ({' '.join(str(error).split())})"
            ) from None
        return _description(self.spec, self.lanes, self.records, self._rows)


def _open_staged(path: Path, spec: StateSpec, lanes: int) -> tuple[Any, Any]:
    """The group of an interrupted writer and its frames. Raises :class:`ArtifactError`."""
    try:
        group = zarr.open_group(path, mode="r+")
        frames: Any = group["frames"]
        described = _create_frames(
            zarr.open_group(MemoryStore(), mode="w"), spec, lanes, frames.shape[0]
        )
        if frames.metadata != described.metadata:
            raise ValueError("its frames are others")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ArtifactError(
            f"{path} is damaged ({' '.join(str(error).split())})", "use --overwrite"
        ) from None
    return group, frames


def _frame_dtype(spec: StateSpec) -> np.dtype[Any]:
    return np.dtype(str(spec.frame_dtype).removeprefix("torch."))


def _chunk_rows(spec: StateSpec, lanes: int) -> int:
    """Rows of a chunk of frames: whole slots, of some 1 MB in all."""
    frame_bytes = int(np.prod(spec.frame_shape)) * _frame_dtype(spec).itemsize
    return lanes * max(1, CHUNK_BYTES // (frame_bytes * lanes))


def _create_frames(group: Any, spec: StateSpec, lanes: int, rows: int) -> Any:
    chunk = _chunk_rows(spec, lanes), *spec.frame_shape
    return _create_array(group, "frames", (rows, *spec.frame_shape), chunk, _frame_dtype(spec))


def _create_field(group: Any, name: str, rows: int) -> Any:
    return _create_array(
        group, name, (rows,), (max(1, min(rows, FIELD_CHUNK_ROWS)),), np.dtype(FIELDS[name])
    )


def _create_array(
    group: Any, name: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: np.dtype[Any]
) -> Any:
    return group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        compressors=[ZstdCodec(level=3, checksum=True)],
        config={"write_empty_chunks": True},
        overwrite=True,
    )


def _write_fields(group: Any, fields: dict[str, NDArray[Any]]) -> None:
    for name, values in fields.items():
        _create_field(group, name, len(values))[:] = values


def _description(spec: StateSpec, lanes: int, records: int, rows: int) -> MemoryContents:
    return {"records": records, "rows": rows, "lanes": lanes, "states": spec.to_json()}


def write_rows(
    path: Path, rows: MemoryRows, advance: Callable[[int], None] = lambda rows: None
) -> MemoryContents:
    """Write ``rows`` to a new Zarr group at ``path``; returns what its manifest says of it.

    ``advance`` is called with how many more rows are written.
    """
    writer = MemoryWriter(path, rows.spec, rows.lanes)
    step = writer._chunk_rows
    for start in range(0, len(rows.frames), step):
        writer._append(rows.frames[start : start + step])
        advance(len(rows.frames[start : start + step]))
    writer._cut_to_size()
    _write_fields(writer._group, rows.fields)
    return _description(rows.spec, rows.lanes, rows.records, len(rows.frames))


def read_rows(
    path: Path,
    manifest: Manifest | MemoryContents,
    advance: Callable[[int], None] = lambda rows: None,
) -> MemoryRows:
    """The rows of a memory whose files were checked against ``manifest``.

    ``advance`` is called with how many more rows are read.

    Raises:
        ArtifactError: the arrays are not what the manifest says.
    """
    try:
        spec = StateSpec.from_json(manifest["states"])
        rows, lanes = int(manifest["rows"]), int(manifest["lanes"])
        if rows < 0 or lanes < 1 or rows % lanes or min(spec.frame_shape) < 1:
            raise ValueError(f"{rows} rows of {lanes} lanes")
        arrays = _checked_arrays(path, spec, lanes, rows)
        needed = ring_bytes(spec, rows)
        check_memory_is_free(
            needed, torch.device("cpu"), f"the memory {path.stem}", "collect fewer --records"
        )
        fields = {name: arrays[name][:] for name in FIELDS}
        frames = _read(arrays["frames"], _READ_CHUNKS * _chunk_rows(spec, lanes), advance)
        return MemoryRows(spec, lanes, frames, fields)
    except _UNREADABLE as error:
        raise ArtifactError(
            f"{path} cannot be read as Zarr ({' '.join(str(error).split())})"
        ) from None


def _read(array: Any, at_once: int, advance: Callable[[int], None]) -> NDArray[Any]:
    """All of ``array``, ``at_once`` rows at a time."""
    values = np.empty(array.shape, array.dtype)
    for start in range(0, len(values), at_once):
        part = array[start : start + at_once]
        values[start : start + at_once] = part
        advance(len(part))
    return values


_UNREADABLE = (  # what zarr raises on metadata that it did not write
    OSError, ValueError, KeyError, TypeError, AttributeError,
    RuntimeError, OverflowError, RecursionError,
)  # fmt: skip


def _checked_arrays(path: Path, spec: StateSpec, lanes: int, rows: int) -> dict[str, Any]:
    """The arrays of the memory at ``path``, each as :class:`MemoryWriter` makes it.

    Raises :data:`_UNREADABLE`, :class:`ArtifactError`.
    """
    group, described = zarr.open_group(path, mode="r"), zarr.open_group(MemoryStore(), mode="w")
    arrays: dict[str, Any] = {name: group[name] for name in ("frames", *FIELDS)}
    written = {name: _create_field(described, name, rows) for name in FIELDS}
    written["frames"] = _create_frames(described, spec, lanes, rows)
    for name, array in arrays.items():
        _check_array(path / name, array, written[name])
    return arrays


def _check_array(path: Path, array: Any, written: Any) -> None:
    """Check that an array is as :class:`MemoryWriter` makes it: shape, type, codecs, every chunk.

    A chunk that is missing would be read as zeros, and metadata from elsewhere may name any codec
    and any size.
    """
    if not isinstance(array, zarr.Array) or array.metadata != written.metadata:
        raise DamagedError(
            path, "is not what its manifest describes", "collect it again with --overwrite"
        )
    if array.nchunks_initialized != array.nchunks:
        raise DamagedError(
            path, "lacks chunks", "collect it again with --overwrite, or restore it from a copy"
        )
    chunks = [chunk for chunk in path.rglob("*") if chunk.is_file() and is_zarr_file(path, chunk)]
    if array.nbytes > _MAX_COMPRESSION * sum(chunk.stat().st_size for chunk in chunks):
        raise DamagedError(
            path, f"claims to hold {array.nbytes:,} bytes", "collect it again with --overwrite"
        )
