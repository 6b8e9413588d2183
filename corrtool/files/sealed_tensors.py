"""Tensors in sealed safetensors files, which plain safetensors can read too."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from corrtool.files.sealed import (
    METADATA_KEY,
    TENSOR_MARKER,
    damaged,
    read_sealed_content,
    seal,
    sealable,
)


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
    content: bytes = tensors_to_bytes(ready, metadata={METADATA_KEY: sealable(value)})
    return seal(content, TENSOR_MARKER)


def content_sha256(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values: what was learnt, whatever the manifest says."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu").contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensors_to_bytes({"": tensor}))
    return digest.hexdigest()


def read_sealed_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A sealed safetensors file: tensors on the CPU, and its JSON.

    Raises:
        ForeignFileError: something else made it.
        ArtifactError: the file is missing, damaged or from a newer version; the message names it.
    """
    content, value = read_sealed_content(path)
    return tensors_of(content, path), value


def tensors_of(content: bytes, path: Path) -> dict[str, Tensor]:
    """The tensors in the bytes of a safetensors file, on the CPU.

    Raises:
        ArtifactError: the file is damaged.
    """
    try:
        return tensors_from_bytes(content)
    except (
        SafetensorError,
        ValueError,
        KeyError,
        TypeError,
        OverflowError,
    ):  # sealed by somebody else
        raise damaged(path) from None
