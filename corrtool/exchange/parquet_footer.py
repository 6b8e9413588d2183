"""The footer of a Parquet file: how many values each column says that it has.

pyarrow 26 ends the whole process (SIGABRT) where it is asked for a damaged column, though its
reader raises. So the footer, a struct in Thrift's compact protocol, is read here, and no value is.
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md and
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corrtool.errors import ArtifactError

_END = struct.Struct("<I4s")  # of a file: how long the footer is, and these letters
_TRUE, _FALSE, _BYTE, _INTEGERS, _DOUBLE = 1, 2, 3, (4, 5, 6), 7
_BINARY, _LISTS, _MAP, _STRUCT = 8, (9, 10), 11, 12
_MAX_DEPTH = 32  # that of Parquet is 6
# Fields of FileMetaData, RowGroup, ColumnChunk and ColumnMetaData.
_ROW_GROUPS, _COLUMNS, _ROWS, _CONTENT, _PATH, _VALUES, _SIZE = 4, 1, 3, 3, 3, 5, 6


@dataclass(frozen=True)
class ColumnChunk:
    """What is said of one column in one row group.

    Attributes:
        name: of the column; of one of lists without what is below it.
        rows: of the row group; ``values``, of the column; ``size`` in bytes, not compressed.
    """

    name: str
    rows: int
    values: int
    size: int


def column_chunks(path: Path) -> list[ColumnChunk]:
    """All columns of all row groups of a Parquet file. Raises :class:`ArtifactError`."""
    try:
        return [
            ColumnChunk(
                column[_CONTENT][_PATH][0].decode(),
                _whole(group[_ROWS]),
                _whole(column[_CONTENT][_VALUES]),
                _whole(column[_CONTENT][_SIZE]),
            )
            for group in _Thrift(_footer(path)).fields()[_ROW_GROUPS]
            for column in group[_COLUMNS]
        ]
    except (LookupError, TypeError, AttributeError, ValueError, struct.error):
        raise ArtifactError(f"the footer of {path} is damaged", "make the dataset again") from None


def _footer(path: Path) -> bytes:
    with path.open("rb") as file:
        length = file.seek(0, 2)
        file.seek(max(0, length - _END.size))
        size, letters = _END.unpack(file.read())
        if letters != b"PAR1" or size > length - _END.size:
            raise ValueError("no footer")
        file.seek(length - _END.size - size)
        return file.read(size)


def _whole(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a number of things is none")
    return value


class _Thrift:
    """Reads one value after another; each takes at least a byte, so none is without end."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def fields(self, depth: int = 0) -> dict[int, Any]:
        """A struct, as its values by the numbers of its fields."""
        if depth > _MAX_DEPTH:
            raise ValueError("it is too deep")
        found, number = dict[int, Any](), 0
        while header := self._byte():
            step, kind = divmod(header, 16)
            number = number + step if step else self._signed()
            found[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind in _INTEGERS:
            return self._signed()
        if kind == _DOUBLE:
            return struct.unpack("<d", self._bytes(8))[0]
        if kind == _BINARY:
            return self._bytes(self._unsigned())
        if kind in _LISTS:
            return self._list(depth)
        if kind == _MAP:  # Parquet has none; the keys and values are passed over
            return self._map(depth)
        if kind == _STRUCT:
            return self.fields(depth + 1)
        raise ValueError("there is no such kind of value")

    def _list(self, depth: int) -> list[Any]:
        if depth > _MAX_DEPTH:
            raise ValueError("it is too deep")
        count, kind = divmod(self._byte(), 16)
        count = self._unsigned() if count == 15 else count
        return [self._value(kind, depth + 1) for _ in range(count)]

    def _map(self, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise ValueError("it is too deep")
        if count := self._unsigned():
            kinds = divmod(self._byte(), 16)
            for _ in range(count):
                for kind in kinds:
                    self._value(kind, depth + 1)

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def _unsigned(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number does not end")

    def _byte(self) -> int:
        self._at += 1
        return self._content[self._at - 1]

    def _bytes(self, count: int) -> bytes:
        if count > len(self._content) - self._at:
            raise ValueError("a text does not end")
        self._at += count
        return self._content[self._at - count : self._at]
