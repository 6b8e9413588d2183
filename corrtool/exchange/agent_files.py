"""Agents that were written for other programs: what such a file says of itself.

Nothing of the file is run or unpickled; only where corrtool puts its metadata is looked at.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from corrtool.exchange.to_onnx import onnx_metadata
from corrtool.exchange.to_torch import METADATA
from corrtool.files.atomic import regular_file

_MOST_BYTES = 1 << 20  # of JSON; more is no description of corrtool's


def said_of_itself(path: Path, to: str) -> dict[str, str]:
    """The metadata in a file of one of the formats; empty where corrtool wrote no such file.

    A zip is read to its end, where it has checksums.
    """
    try:
        if to == "onnx":
            return onnx_metadata(regular_file(path).read_bytes())
        with zipfile.ZipFile(regular_file(path)) as archive:
            found = _of_zip(archive, to)
            whole = not found or archive.testzip() is None
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return {}  # whatever it is, corrtool did not write it, or it was damaged since
    return found if whole and isinstance(found, dict) else {}


def _of_zip(archive: zipfile.ZipFile, to: str) -> Any:
    """What stands where ``to_torch`` and ``to_sb3`` put the metadata."""
    for member in archive.infolist():
        is_it = (
            member.filename == "data" if to == "sb3" else member.filename.endswith(f"/{METADATA}")
        )
        if is_it and member.file_size <= _MOST_BYTES:
            value = json.loads(archive.read(member))
            if to == "sb3":
                value = value.get("corrtool") if isinstance(value, dict) else None
            return value
    return {}
