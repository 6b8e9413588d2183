"""Footers of Parquet files: what pyarrow wrote is read, and what is damaged ends nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corrtool.errors import ArtifactError
from corrtool.exchange.parquet_footer import ColumnChunk, column_chunks

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

ROWS = 5


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A column of lists of two, and one of numbers, in row groups of three and of two rows."""
    lists = pyarrow.array([[0.0, 1.0]] * ROWS, pyarrow.list_(pyarrow.float32(), 2))
    table = pyarrow.table({"observations": lists, "actions": np.arange(ROWS)})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    return tmp_path / "a.parquet"


def footer(path: Path, content: bytes) -> Path:
    path.write_bytes(b"PAR1" + content + len(content).to_bytes(4, "little") + b"PAR1")
    return path


def test_it_says_what_pyarrow_says(written: Path) -> None:
    metadata: Any = parquet.ParquetFile(written).metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    told = [
        ColumnChunk(name, group.num_rows, values, group.column(k).total_uncompressed_size)
        for group in groups
        for k, (name, values) in enumerate(
            [("observations", 2 * group.num_rows), ("actions", group.num_rows)]
        )
    ]
    assert column_chunks(written) == told
    assert [chunk.rows for chunk in told] == [3, 3, 2, 2]


def test_each_kind_of_value_is_passed_over(tmp_path: Path) -> None:
    # FileMetaData with fields 1 true, 2 byte, 3 double, 4 no row groups, 16 a map, 17 a struct
    content = b"\x11\x13\x07\x17" + bytes(8) + b"\x19\x0c" + b"\xcb\x01\x55\x02\x04\x1c\x00\x00"
    assert column_chunks(footer(tmp_path / "a", content)) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00",
        b"\x1d",  # a kind of value that there is not
        b"\x49\xf5\xff\xff\xff\xff\x0f",  # a list of 2³² numbers
        b"\x48\xff\xff\xff\xff\x0f",  # a text of 4 GB
        b"\x46" + b"\xff" * 20,  # a number without end
        b"\x1c" * 100_000,
        b"\x49" + b"\x19" * 100_000,
        b"\x4b" + b"\x01\xbb" * 100_000,
        b"\x46\x02\x00",  # a number for the row groups
        b"\x49\x15\x02\x00",  # a number for a row group
    ],
)
def test_what_is_damaged_is_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ArtifactError, match="the footer of"):
        column_chunks(footer(tmp_path / "a", content))


def test_noise_is_read_or_refused(written: Path) -> None:
    content, rng, refused = written.read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        changed = bytearray(content)
        for place in rng.integers(len(content) - 500, len(content), 3):
            changed[place] ^= int(rng.integers(1, 256))
        written.write_bytes(changed)
        try:
            column_chunks(written)
        except ArtifactError:
            refused += 1
    assert 0 < refused < 300
