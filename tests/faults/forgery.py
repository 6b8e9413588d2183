"""Files as an attacker would write them: whatever they say, their seal fits."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corrtool.files import sealed
from corrtool.project.memory_files import MEMORY_MANIFEST

SIZES = [10**9, -1, 0, 2**70, 1.5, "64", None, [1], {"a": 1}, True]


def sealed_anew(content: bytes, marker: bytes) -> bytes:
    """Bytes with the seal that fits them: anybody can make one."""
    at = content.index(marker) + len(marker)
    return sealed.seal(content[:at] + b"0" * 64 + content[at + 64 :], marker)


def with_header(content: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """A sealed safetensors file whose header was changed, sealed again."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    return sealed_anew(
        struct.pack("<Q", len(text)) + text + content[8 + length :], sealed.TENSOR_MARKER
    )


def lie(header: dict[str, Any], **fields: Any) -> None:
    """Change what the header says of its first tensor."""
    next(value for name, value in header.items() if name != "__metadata__").update(fields)


def resealed(path: Path, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The file with its manifest changed and sealed anew.

    It is what somebody would write who wants to be believed.
    """
    content = path.read_bytes()
    if path.name == MEMORY_MANIFEST:
        manifest = json.loads(content)
        change(manifest)
        return sealed_anew(json.dumps({"seal": "0" * 64} | manifest).encode(), sealed._JSON_MARKER)

    def in_header(header: dict[str, Any]) -> None:
        manifest = json.loads(header["__metadata__"][sealed.METADATA_KEY])
        change(manifest)
        header["__metadata__"][sealed.METADATA_KEY] = json.dumps({"seal": "0" * 64} | manifest)

    return with_header(content, in_header)
