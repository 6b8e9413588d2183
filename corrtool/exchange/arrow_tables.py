"""Minari datasets in Arrow or Parquet (extra ``arrow``): a table for each episode, not trusted.

``N/part-0.arrow`` or ``N/part-0.parquet`` is episode N of a dataset, ``N/metadata.json`` what was
added to it. A table has a row for each observation, so one more than steps, whose other columns
are padding. pyarrow never runs what a file says since 14.0.1 (CVE-2023-47248); which types and how
many values there are is compared with what fits before any are read.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from corrtool.errors import ArtifactError
from corrtool.exchange.episodes import check_bytes_fit, check_observations
from corrtool.exchange.hdf5 import require
from corrtool.exchange.parquet_footer import column_chunks
from corrtool.exchange.sources import MAX_DESCRIPTION, parse_description, reading
from corrtool.files.atomic import regular_file
from corrtool.states import StateSpec

TableFormat = Literal["arrow", "parquet"]
OBSERVATIONS = "observations"
_MAGIC = b"ARROW1\0\0"  # before the messages of an Arrow file
_COMPRESSION = 3  # the field of a record batch's flatbuffer, https://arrow.apache.org/docs/format
_NUMBERS: dict[str, tuple[str, ...]] = {  # columns, and pyarrow's names of their types
    "actions": ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64"),
    "rewards": ("double", "float", "int64", "int32", "bool"),
    "terminations": ("bool",),
    "truncations": ("bool",),
}


@dataclass(frozen=True)
class Tables:
    """The tables of a dataset, each checked against its task but not read.

    Attributes:
        shape: of an observation; ``dtype`` the name of its type.
    """

    directory: Path
    format: TableFormat
    shape: tuple[int, ...]
    dtype: str

    def steps(self, number: int) -> int:
        """The steps of an episode, after checking its header. Raises :class:`ArtifactError`."""
        with self._opened(number) as (path, where):
            rows = self._check(path, where)
        if rows < 1:
            raise ArtifactError(f"{where} has no observation", "make the dataset again")
        return rows - 1

    def read(self, number: int) -> tuple[NDArray[Any], dict[str, NDArray[Any]], dict[str, Any]]:
        """Its observations, the other columns by name, and what was added to it."""
        marks = self.directory / str(number) / "metadata.json"
        with self._opened(number) as (path, where):
            table = _read(path, self.format, where)
            self._check_types(table.schema, where)
            for name in (OBSERVATIONS, *_NUMBERS):
                if table.column(name).null_count:
                    raise ArtifactError(f"{where} has no value in some {name}")
            flat = _values(table.column(OBSERVATIONS), nested=True)
            observations = flat.reshape(-1, *self.shape)
            numbers = {name: _values(table.column(name))[:-1] for name in _NUMBERS}
            if regular_file(marks).stat().st_size > MAX_DESCRIPTION:
                raise ArtifactError(f"{marks} is too large", "make the dataset again")
            return observations, numbers, parse_description(marks.read_bytes(), str(marks))

    def files(self, number: int) -> list[str]:
        """What an episode is made of, relative to the dataset's directory."""
        return [f"{number}/metadata.json", f"{number}/part-0.{self.format}"]

    @contextmanager
    def _opened(self, number: int) -> Iterator[tuple[Path, str]]:
        """The file of an episode, which lies in the dataset, and errors of it in one line."""
        where = f"{self.directory}: episode {number}"
        folder = self.directory / str(number)
        path = folder / f"part-0.{self.format}"
        with reading(path, self.format):
            try:
                if folder.is_symlink() or path.is_symlink():
                    raise ArtifactError(f"{where} is a link", "copy what it leads to")
                parts = sorted(part.name for part in folder.glob("part-*"))
                if len(parts) > 1:
                    raise ArtifactError(
                        f"{where} is in several files: {', '.join(parts[:3])}",
                        "make the dataset again",
                    )
                yield regular_file(path), where
            except MemoryError:
                raise ArtifactError(f"{where} claims to hold more than there is room for") from None
            except IndexError:  # of pyarrow, on places that are not in the file
                raise ArtifactError(f"{where} is damaged", "make the dataset again") from None

    def _check(self, path: Path, where: str) -> int:
        """Compare the header of a file with what fits; returns its rows."""
        per_row = math.prod(self.shape) * np.dtype(self.dtype).itemsize + 32
        if self.format == "parquet":
            rows = self._check_parquet(path, where)
        else:
            batches = _batches(path, where)
            schema = next(batches)
            self._check_types(schema, where)
            rows = sum(batch.num_rows for batch in batches)
        check_bytes_fit(rows * per_row, where)
        return rows

    def _check_parquet(self, path: Path, where: str) -> int:
        """The same of Parquet, whose every column says how many values it has."""
        with require("pyarrow.parquet", "arrow").ParquetFile(path) as file:
            self._check_types(file.schema_arrow, where)
            metadata = file.metadata
        of_row = {OBSERVATIONS: math.prod(self.shape), **dict.fromkeys(_NUMBERS, 1)}
        for chunk in column_chunks(path):
            if chunk.name not in of_row:
                continue
            if chunk.values != chunk.rows * of_row[chunk.name]:
                raise ArtifactError(f"{where}: {chunk.name} has another number of values than rows")
            check_bytes_fit(chunk.size, where)
        return int(metadata.num_rows)

    def _check_types(self, schema: Any, where: str) -> None:
        """Raise :class:`ArtifactError` where a column is missing or of another type."""
        for name in (OBSERVATIONS, *_NUMBERS):
            if len(schema.get_all_field_indices(name)) != 1:
                raise ArtifactError(f"{where} has no column {name}", "make the dataset again")
        if str(schema.field(OBSERVATIONS).type) in ("binary", "large_binary"):
            raise ArtifactError(
                f"{where} holds JPEGs, which are not what was played",
                "make the dataset with jpeg_encoding=False",
            )
        pyarrow = require("pyarrow", "arrow")
        observed = schema.field(OBSERVATIONS).type
        wanted = (pyarrow.from_numpy_dtype(np.dtype(self.dtype)), math.prod(self.shape))
        if not pyarrow.types.is_fixed_size_list(observed) or wanted != (
            observed.value_type,
            observed.list_size,
        ):
            raise ArtifactError(
                f"{where} has observations of the type {observed}, and its metadata say "
                f"{wanted[1]} numbers of {self.dtype} each",
                "make the dataset again",
            )
        for name, known in _NUMBERS.items():
            if (found := str(schema.field(name).type)) not in known:
                raise ArtifactError(f"{where} has {name} of the type {found}")


def open_tables(
    directory: Path, metadata: dict[str, Any], format: TableFormat, spec: StateSpec
) -> Tables:
    """The tables of a dataset with this ``metadata``, whose observations fit a task.

    Raises:
        ArtifactError: they do not.
        UsageError: pyarrow is not installed.
    """
    require("pyarrow", "arrow")
    where, space = str(directory), metadata.get("observation_space")
    described = parse_description(space, where) if isinstance(space, str) else {}
    shape, dtype = described.get("shape"), described.get("dtype")
    if (
        described.get("type") != "Box"
        or not isinstance(shape, list)
        or not all(type(side) is int and side > 0 for side in shape)
        or not isinstance(dtype, str)
    ):
        raise ArtifactError(
            f"{where} has observations of the space {described.get('type')}",
            "only arrays of numbers can be imported",
        )
    with reading(directory, format):
        check_observations(spec, tuple(shape), np.dtype(dtype), where)
    return Tables(directory, format, tuple(shape), dtype)


def _values(column: Any, *, nested: bool = False) -> NDArray[Any]:
    """A column as an array; of one of lists all their values in a row."""
    chunks = [chunk.flatten() if nested else chunk for chunk in column.chunks]
    if any(chunk.null_count for chunk in chunks):
        raise ArtifactError("a value is missing", "make the dataset again")
    return np.concatenate([chunk.to_numpy(zero_copy_only=False) for chunk in chunks])


def _read(path: Path, format: TableFormat, where: str) -> Any:
    """The table in a file whose header was checked, and of which every value is there."""
    pyarrow, names = require("pyarrow", "arrow"), [OBSERVATIONS, *_NUMBERS]
    if format == "parquet":
        with require("pyarrow.parquet", "arrow").ParquetFile(path) as file:
            table = file.read(names, use_threads=False)
    else:
        batches = _batches(path, where)
        table = pyarrow.Table.from_batches([], next(batches)).select(names)
        table = pyarrow.concat_tables(
            [table, *(pyarrow.Table.from_batches([batch.select(names)]) for batch in batches)]
        )
    table.validate(full=True)
    return table


def _batches(path: Path, where: str) -> Iterator[Any]:
    """The schema of an Arrow file, then its record batches, which are views of the file.

    A compressed one is refused: how large it becomes is the word of the file alone.
    """
    ipc = require("pyarrow.ipc", "arrow")
    pyarrow = require("pyarrow", "arrow")
    content = pyarrow.memory_map(str(path)).read_buffer()
    if content.slice(0, len(_MAGIC)).to_pybytes() != _MAGIC:
        raise ArtifactError(f"{where} is no Arrow file", "make the dataset again")
    messages: Callable[[], Any] = ipc.MessageReader.open_stream(
        content.slice(len(_MAGIC))
    ).read_next_message
    schema = ipc.read_schema(messages())
    yield schema
    while True:
        try:
            message = messages()
        except StopIteration:
            return
        if message.type != "record batch":
            raise ArtifactError(f"{where} has a {message.type} in it", "make the dataset again")
        if _is_compressed(message.metadata.to_pybytes()):
            raise ArtifactError(f"{where} is compressed", "make the dataset again by Minari")
        yield ipc.read_record_batch(message, schema)


def _is_compressed(message: bytes) -> bool:
    """Whether the flatbuffer of a record batch has its field for a compression."""
    try:
        root = struct.unpack_from("<I", message, 0)[0]
        header = _field(message, root, 2)
        batch = header + struct.unpack_from("<I", message, header)[0]
        return bool(_field(message, batch, _COMPRESSION))
    except struct.error:
        raise ArtifactError("a record batch is damaged", "make the dataset again") from None


def _field(message: bytes, table: int, number: int) -> int:
    """The place of a field of a table; 0 where the table does not have it."""
    fields = table - struct.unpack_from("<i", message, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", message, fields)[0]:
        return 0
    offset = struct.unpack_from("<H", message, fields + 4 + 2 * number)[0]
    return table + offset if offset else 0
