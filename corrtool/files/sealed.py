"""Sealed files: each carries its own checksum, so that one atomic write is one whole artifact.

safetensors has no checksum, and a checksum in a second file could be torn from its first by a
crash. So the JSON inside a file has a field ``"seal"``; it holds the SHA-256 of the whole file with
the field's 64 digits set to zero. Every bit of the file is covered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from corrtool.errors import ArtifactError, ForeignFileError, NewerFormatError
from corrtool.files.atomic import regular_file

FORMAT_VERSION = 1
METADATA_KEY = "corrtool"
OVERWRITE = "make it again with --overwrite, or restore it from a copy"
_BLANK = "0" * 64


def _seal(content: bytes, marker: bytes) -> bytes:
    at = content.index(marker) + len(marker)
    return content[:at] + hashlib.sha256(content).hexdigest().encode() + content[at + 64 :]


def _seal_holds(content: bytes, marker: bytes) -> bool:
    at = content.find(marker) + len(marker)
    if at < len(marker) or len(content) < at + 64:
        return False
    seal = content[at : at + 64]
    blanked = content[:at] + _BLANK.encode() + content[at + 64 :]
    return hashlib.sha256(blanked).hexdigest().encode() == seal


_JSON_MARKER = b'{"seal": "'
_TENSOR_MARKER = json.dumps(_JSON_MARKER.decode())[
    1:-1
].encode()  # the same, escaped inside safetensors' header


def _sealable(value: Mapping[str, object]) -> str:
    return json.dumps({"seal": _BLANK, "format_version": FORMAT_VERSION, **value}, sort_keys=False)


def seal_json(value: Mapping[str, object]) -> bytes:
    """``value`` as the bytes of a sealed JSON file."""
    return _seal(_sealable(value).encode(), _JSON_MARKER)


def seal_tensors(tensors: dict[str, Tensor], value: Mapping[str, object]) -> bytes:
    """``tensors`` and ``value`` as the bytes of a sealed file that plain safetensors can read."""
    ready: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        flat = tensor.detach().to("cpu").contiguous()
        shared = (
            flat.untyped_storage().data_ptr() in seen
        )  # safetensors refuses tensors that share memory
        seen.add(flat.untyped_storage().data_ptr())
        ready[name] = flat.clone() if shared else flat
    content: bytes = tensors_to_bytes(ready, metadata={METADATA_KEY: _sealable(value)})
    return _seal(content, _TENSOR_MARKER)


def content_sha256(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values: what was learnt, whatever the manifest says."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu").contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensors_to_bytes({"": tensor}))
    return digest.hexdigest()


def read_sealed_json(path: Path, remedy: str = OVERWRITE) -> dict[str, Any]:
    """A sealed JSON file.

    Args:
        remedy: what to do where it is damaged.

    Raises:
        ArtifactError: it is missing, damaged or from a newer version.
    """
    content = _read(path)
    if not _seal_holds(content, _JSON_MARKER):
        raise damaged(path, remedy)
    try:
        return _checked_version(json.loads(content), path, remedy)
    except (ValueError, RecursionError):  # sealed by somebody else
        raise damaged(path, remedy) from None


def read_sealed_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A sealed safetensors file: tensors on the CPU, and its JSON.

    Raises:
        ForeignFileError: something else made it.
        ArtifactError: the file is missing, damaged or from a newer version; the message names it.
    """
    content = _read(path)
    if not _seal_holds(content, _TENSOR_MARKER):
        _check_origin(content, path)
        raise damaged(path)
    value = _metadata(content, path)
    try:
        return tensors_from_bytes(content), value
    except (
        SafetensorError,
        ValueError,
        KeyError,
        TypeError,
        OverflowError,
    ):  # sealed by somebody else
        raise damaged(path) from None


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
    if foreign and _TENSOR_MARKER not in text:
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


def _read(path: Path) -> bytes:
    try:
        return regular_file(path).read_bytes()
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing") from None
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}") from None


def damaged(path: Path, remedy: str = OVERWRITE) -> ArtifactError:
    """The error for a file whose bytes are not those that were written."""
    return ArtifactError(f"{path} is damaged", remedy)
