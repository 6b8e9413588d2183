"""Any other file of weights, with a mapping: corrtool's name of each → its name in the file."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from corrtool.errors import UsageError
from corrtool.exchange.foreign import (
    ForeignFile,
    FoundQ,
    load_safetensors,
    load_torch,
    named_tensors,
)
from corrtool.files.atomic import regular_file
from corrtool.states import IMAGE, SIGNAL, VECTOR, StateSpec

_MAX_MAPPING_BYTES = 1 << 20
_ZIP = b"PK"
_ASSUMED = (
    "weights do not say what is computed between them: ReLU is assumed, as in the networks of "
    "corrtool; of others use 'corrtool import policy --from onnx'"
)
_OUR_NAMES = {
    IMAGE: "convolutions.0, convolutions.2, …, head.0, head.2",
    SIGNAL: "convolutions.0, convolutions.2, …, head.0, head.2",
    VECTOR: "layers.0, layers.2, …",
}


def read_mapping(path: Path) -> dict[str, str]:
    """The mapping of a JSON or TOML file; ``convolutions.0.weight`` may be written as tables.

    Raises:
        UsageError: it cannot be read, or is no table of texts.
    """
    try:
        with regular_file(path).open("rb") as file:
            content = file.read(_MAX_MAPPING_BYTES + 1)
        if len(content) > _MAX_MAPPING_BYTES:
            raise UsageError(f"--mapping {path} is larger than a megabyte")
        text = content.decode("utf-8-sig")
        table = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
        mapping = dict(_flat(table))
    except OSError as error:
        raise UsageError(f"--mapping: cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"--mapping {path} cannot be understood: {' '.join(str(error).split())[:200]}",
            'write {"head.0.weight": "name in the file", …}, or the same in TOML',
        ) from None
    return mapping


def _flat(table: Any, prefix: str = "") -> list[tuple[str, str]]:
    if not isinstance(table, dict):
        raise ValueError("it is no table of names")
    found: list[tuple[str, str]] = []
    for name, value in table.items():
        if isinstance(value, str):
            found.append((f"{prefix}{name}", value))
        else:
            found += _flat(value, f"{prefix}{name}.")
    return found


def read_mapped(file: ForeignFile, mapping: dict[str, str] | None, spec: StateSpec) -> FoundQ:
    """The Q-function of a safetensors file or of one that torch has saved.

    Raises:
        ArtifactError: it is damaged, hostile, or lacks what the mapping names.
        UsageError: there is no mapping.
    """
    is_torch = file.content.startswith(_ZIP)
    tensors = named_tensors(file, load_torch(file) if is_torch else load_safetensors(file))
    has = ", ".join(name[:60] for name in list(tensors)[:20]) or "no weights"
    if mapping is None:
        raise UsageError(
            "--from torch needs to know which weight is which",
            f"give --mapping FILE with corrtool's name of each ({_OUR_NAMES[spec.kind]}, each with "
            f"a weight and a bias: docs/exchange.md) and its name in the file, which has {has}",
        )
    for ours, theirs in mapping.items():
        if theirs not in tensors:
            raise file.refused(
                f"has no {theirs[:80]!r}, which the mapping names for {ours[:80]}",
                f"it has {has}",
            )
    used = set(mapping.values())
    unused = tuple(name[:80] for name in tensors if name not in used)
    weights = {ours: tensors[theirs] for ours, theirs in mapping.items()}
    return FoundQ(weights, {}, unused, (_ASSUMED,))
