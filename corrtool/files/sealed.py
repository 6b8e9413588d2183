"""Sealed files: each carries its own checksum, so that one atomic write is one whole artifact.

safetensors has no checksum, and a checksum in a second file could be torn from its first by a
crash. So the JSON inside a file has a field ``"seal"``; it holds the SHA-256 of the whole file with
the field's 64 digits set to zero. Every bit of the file is covered.

Nothing here imports torch; the tensors of sealed files are the matter of
:mod:`corrtool.files.sealed_tensors`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize

from corrtool.errors import ArtifactError, DamagedError, ForeignFileError, NewerFormatError
from corrtool.files.atomic import regular_file

FORMAT_VERSION = 1
METADATA_KEY = "corrtool"
OVERWRITE = "make it again with --overwrite, or restore it from a copy"
_BLANK = "0" * 64
_JSON_MARKER = b'{"seal": "'
# The same, escaped inside safetensors' header.
TENSOR_MARKER = json.dumps(_JSON_MARKER.decode())[1:-1].encode()
# Of safetensors' floating-point types: unsigned integers of the same size, bits of the exponent.
_EXPONENT: dict[str, tuple[type[np.unsignedinteger[Any]], int]] = {
    "F64": (np.uint64, 0x7FF0_0000_0000_0000),
    "F32": (np.uint32, 0x7F80_0000),
    "BF16": (np.uint16, 0x7F80),
    "F16": (np.uint16, 0x7C00),
}


def seal(content: bytes, marker: bytes) -> bytes:
    """``content`` with the checksum of all of it in the 64 zeros behind ``marker``."""
    at = content.index(marker) + len(marker)
    return content[:at] + hashlib.sha256(content).hexdigest().encode() + content[at + 64 :]


def _seal_holds(content: bytes, marker: bytes) -> bool:
    """True if the checksum behind ``marker`` is that of ``content``."""
    at = content.find(marker) + len(marker)
    if at < len(marker) or len(content) < at + 64:
        return False
    digits = content[at : at + 64]
    blanked = content[:at] + _BLANK.encode() + content[at + 64 :]
    return hashlib.sha256(blanked).hexdigest().encode() == digits


def sealable(value: Mapping[str, object]) -> str:
    """``value`` as JSON with room for a seal, and the version of the format."""
    return json.dumps({"seal": _BLANK, "format_version": FORMAT_VERSION, **value}, sort_keys=False)


def seal_json(value: Mapping[str, object]) -> bytes:
    """``value`` as the bytes of a sealed JSON file."""
    return seal(sealable(value).encode(), _JSON_MARKER)


def read_sealed_json(path: Path, remedy: str = OVERWRITE) -> dict[str, Any]:
    """A sealed JSON file.

    Args:
        remedy: what to do where it is damaged.

    Raises:
        ArtifactError: it is missing, damaged or from a newer version.
    """
    content = _read(path, remedy)
    if not _seal_holds(content, _JSON_MARKER):
        raise damaged(path, remedy)
    try:
        return _checked_version(json.loads(content), path, remedy)
    except (ValueError, RecursionError):  # sealed by somebody else
        raise damaged(path, remedy) from None


def read_sealed_content(path: Path) -> tuple[bytes, dict[str, Any]]:
    """The bytes of a sealed safetensors file, and its JSON.

    Raises:
        ForeignFileError: something else made it.
        ArtifactError: the file is missing, damaged or from a newer version; the message names it.
    """
    content = _read(path)
    if not _seal_holds(content, TENSOR_MARKER):
        _check_origin(content, path)
        raise damaged(path)
    return content, _metadata(content, path)


def tensor_not_finite(content: bytes, path: Path) -> str | None:
    """The name of a tensor of a safetensors file that holds NaN or infinity; None if none does.

    A number is infinite or none exactly if all bits of its exponent are set (IEEE 754).

    Raises:
        ArtifactError: the file is damaged.
    """
    try:
        tensors = deserialize(content)  # type: ignore[no-untyped-call]  # it is written in Rust
    except SafetensorError:  # sealed by somebody else
        raise damaged(path) from None
    for name, tensor in tensors:
        if tensor["dtype"] in _EXPONENT:
            bits, exponent = _EXPONENT[tensor["dtype"]]
            if (np.frombuffer(tensor["data"], bits) & exponent == exponent).any():
                return str(name)
    return None


def read_tensor_metadata(path: Path) -> dict[str, Any]:
    """Read only the JSON of a sealed safetensors file, seal unchecked: quick, for listings."""
    try:
        with regular_file(path).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > 100_000_000:
                raise damaged(path)
            header = length.to_bytes(8, "little") + file.read(length)
            _check_origin(header, path)
            return _metadata(header, path)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}") from None


def _metadata(content: bytes, path: Path) -> dict[str, Any]:
    """The JSON in the header of a safetensors file. Raises :class:`ArtifactError` if damaged."""
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        return _checked_version(json.loads(header["__metadata__"][METADATA_KEY]), path)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise damaged(path) from None


def _check_origin(content: bytes, path: Path) -> None:
    """Raise :class:`ForeignFileError` for tensors that somebody else wrote.

    A header in order, with no trace of a seal in it.
    """
    try:
        text = content[8 : 8 + int.from_bytes(content[:8], "little")]
        header = json.loads(text)
        tensors = [value for name, value in header.items() if name != "__metadata__"]
        in_order = bool(tensors) and all(
            {"dtype", "shape", "data_offsets"} <= set(tensor) for tensor in tensors
        )
        foreign = in_order and METADATA_KEY not in header.get("__metadata__", {})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return  # it is in no order: damage
    if foreign and TENSOR_MARKER not in text:
        raise ForeignFileError(f"{path} was not made by corrtool", "move it elsewhere")


def _checked_version(value: Any, path: Path, remedy: str = OVERWRITE) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("format_version"), int):
        raise damaged(path, remedy)
    if value["format_version"] > FORMAT_VERSION:
        raise NewerFormatError(
            f"{path} was written by a newer corrtool (format {value['format_version']}, this one "
            f"reads {FORMAT_VERSION})",
            "update corrtool",
        )
    return {key: item for key, item in value.items() if key != "seal"}


def _read(path: Path, remedy: str = OVERWRITE) -> bytes:
    """The bytes of a regular file. Raises :class:`ArtifactError` if there is none."""
    try:
        return regular_file(path).read_bytes()
    except FileNotFoundError:
        raise DamagedError(path, "is missing", remedy) from None
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}") from None


def damaged(path: Path, remedy: str = OVERWRITE) -> DamagedError:
    """The error for a file whose bytes are not those that were written."""
    return DamagedError(path, "is damaged", remedy)
