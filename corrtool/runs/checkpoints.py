"""Checkpoints: states of networks, optimizers, random generators and counters in one sealed file.

Nothing is pickled: tensors go into safetensors, everything else into its JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corrtool.errors import TrainingDivergedError
from corrtool.files.atomic import write_atomic
from corrtool.files.sealed import damaged
from corrtool.files.sealed_tensors import read_sealed_tensors, seal_tensors
from corrtool.runs.checkpoint_files import make_room
from corrtool.runs.resumable import State

_TENSOR = "$tensor"
_ARRAY = "$array"
_INTEGER_KEYS = "$integer_keys"


def save_checkpoint(path: Path, state: Mapping[str, object], keep: int = 1) -> None:
    """Write ``state``, any nesting of dicts, lists, tensors, arrays and JSON values, to ``path``.

    Args:
        keep: how many checkpoints there are to be at most, this one among them; the others step
            back to ``checkpoint-1``, ``checkpoint-2``, …

    Raises:
        TrainingDivergedError: a tensor holds NaN or infinity; the file that was there stays.
    """
    tensors: dict[str, Tensor] = {}
    structure = _pack(state, "", tensors)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TrainingDivergedError(
                f"{name} became NaN or infinite; the last good state is kept in {path}",
                "use a smaller --learning-rate under another --name",
            )
    content = seal_tensors(tensors, {"state": structure})
    make_room(path, keep)
    write_atomic(path, content)


def load_checkpoint(path: Path) -> State:
    """The state that :func:`save_checkpoint` wrote.

    Raises :class:`ArtifactError` when the file is damaged.
    """
    tensors, value = read_sealed_tensors(path)
    try:
        state = _unpack(value["state"], tensors)
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
    ):  # sealed by somebody else
        raise damaged(path) from None
    if not isinstance(state, dict):
        raise damaged(path)
    return state


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = f"{len(tensors)}:{name}"  # the number tells apart {"a/b": …} and {"a": {"b": …}}
        tensors[name] = value
        return {_TENSOR: name}
    if isinstance(value, np.ndarray):
        name = f"{len(tensors)}:{name}"
        tensors[name] = torch.from_numpy(np.ascontiguousarray(value))
        return {_ARRAY: name}
    if isinstance(value, dict):
        packed = {
            str(key): _pack(item, f"{name}/{key}" if name else str(key), tensors)
            for key, item in value.items()
        }
        if value and all(type(key) is int for key in value):
            return {_INTEGER_KEYS: packed}
        return packed
    if isinstance(value, list | tuple):
        return [_pack(item, f"{name}/{index}", tensors) for index, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        if _ARRAY in value:
            return tensors[value[_ARRAY]].numpy()
        if _INTEGER_KEYS in value:
            return {int(key): _unpack(item, tensors) for key, item in value[_INTEGER_KEYS].items()}
        return {key: _unpack(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    return value
