"""State dicts of CleanRL's DQN scripts, ``NAME.cleanrl_model``.

https://github.com/vwxyzjn/cleanrl: ``dqn_atari.py`` saves the layers of [23] as ``network.N``, and
``dqn.py`` those of an MLP with 120 and 84 units. Some scripts save ``model_weights`` with ``args``.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from corrtool.exchange.foreign import (
    ForeignFile,
    FoundQ,
    load_torch,
    named_tensors,
    said_gamma,
)

_NAME = re.compile(r"network\.(0|[1-9]\d{0,2})\.(weight|bias)")
_NATURE = {"0": "convolutions.0", "2": "convolutions.2", "4": "convolutions.4"} | {
    "7": "head.0",
    "9": "head.2",
}


def read_cleanrl(file: ForeignFile) -> FoundQ:
    """The Q-function of a state dict. Raises :class:`ArtifactError`."""
    tensors, said = state_dict(file)
    if "atoms" in tensors:
        raise file.refused(
            "holds a distribution of returns for each action (C51), and no Q-function",
            "take one of dqn.py or dqn_atari.py",
        )
    first = tensors.get("network.0.weight")
    is_convolutional = first is not None and first.ndim == 4
    weights = {}
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name)
        layer = None
        if match is not None:
            layer = _NATURE.get(match[1]) if is_convolutional else f"layers.{match[1]}"
        if match is None or layer is None:
            raise file.refused(
                f"holds {name[:80]!r}, which is no weight of CleanRL's dqn.py or dqn_atari.py"
            )
        weights[f"{layer}.{match[2]}"] = tensor
    return FoundQ(weights, said)


def state_dict(file: ForeignFile) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights by their names, and what the file says besides. Raises :class:`ArtifactError`."""
    value, args = load_torch(file), {}
    if isinstance(value, dict) and set(value) == {"model_weights", "args"}:
        value, args = value["model_weights"], value["args"]
    return named_tensors(file, value), _says(file, args)


def _says(file: ForeignFile, args: Any) -> dict[str, Any]:
    """What the arguments of the script tell, where they were saved."""
    table = args if isinstance(args, dict) else {}
    says: dict[str, Any] = {**said_gamma(file, table)}
    seed, steps = table.get("seed"), table.get("total_timesteps")
    if type(seed) is int and 0 <= seed < 2**63:
        says["seed"] = seed
    if type(steps) is int and 0 <= steps < 2**63:
        says["env_steps"] = steps
    return says
