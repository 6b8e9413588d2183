"""Stable-Baselines3: a zip whose weights its DQN takes with ``set_parameters``.

``DQN.load`` would want spaces and a policy class as cloudpickle, which corrtool neither writes nor
reads. The weights are torch's own format, as the zip has it, and of tensors and numbers only.
"""

from __future__ import annotations

import importlib.util
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from corrtool.errors import UsageError
from corrtool.exchange.played_values import Runner
from corrtool.q_learning.saved import QDescription
from corrtool.runtime.optimizers import Adam
from corrtool.states import IMAGE

SUFFIX = ".zip"
_POLICIES = "stable_baselines3.dqn.policies"
_NATURE = {  # corrtool's names → those of SB3's NatureCNN and of the linear layer behind it
    **{f"convolutions.{n}": f"features_extractor.cnn.{n}" for n in (0, 2, 4)},
    "head.0": "features_extractor.linear.0",
    "head.2": "q_net.0",
}
_VECTORS = ("mlp", "linear")


def check_sb3(description: QDescription) -> None:
    """Raise :class:`UsageError` where Stable-Baselines3 has no such network."""
    if description.is_policy:
        raise UsageError(
            "what is written for Stable-Baselines3 is a DQN, and this is a policy without Q-values",
            "use --to onnx or --to torch, or the file that it came from",
        )
    known = ["nature", *_VECTORS]
    if description.architecture not in known:
        raise UsageError(
            f"Stable-Baselines3 has no Q-function like {description.architecture!r}, only "
            f"{', '.join(known)}",
            "use --to onnx or --to torch",
        )


def to_sb3(
    q_function: nn.Module, description: QDescription, gamma: float, metadata: Mapping[str, str]
) -> bytes:
    """The zip: weights, an optimizer that has done nothing yet, and a description in plain JSON.

    Raises:
        UsageError: Stable-Baselines3 has no such network.
    """
    check_sb3(description)
    weights = _renamed(q_function.state_dict(), description)
    optimizer = Adam([nn.Parameter(w.clone()) for w in weights.values()], lr=1e-4)
    members: dict[str, bytes] = {
        "data": json.dumps(_data(description, gamma, metadata), indent=2).encode(),
        "pytorch_variables.pth": _saved({}),
        "policy.pth": _saved(
            {f"{net}.{name}": w for net in ("q_net", "q_net_target") for name, w in weights.items()}
        ),
        "policy.optimizer.pth": _saved(optimizer.state_dict()),
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def _renamed(weights: dict[str, Tensor], description: QDescription) -> dict[str, Tensor]:
    """The weights under SB3's names; a layer without biases gets those that change nothing."""
    renamed: dict[str, Tensor] = {}
    for ours, theirs in _names(description).items():
        weight = weights[f"{ours}.weight"].contiguous()
        bias = weights.get(f"{ours}.bias")
        renamed[f"{theirs}.weight"] = weight
        renamed[f"{theirs}.bias"] = weight.new_zeros(len(weight)) if bias is None else bias
    return renamed


def _names(description: QDescription) -> dict[str, str]:
    """corrtool's names of layers, and SB3's."""
    if description.architecture == "nature":
        return _NATURE
    if description.architecture == "linear":
        return {"table": "q_net.0"}
    layers = range(0, 2 * len(description.hidden_widths) + 1, 2)
    return {f"layers.{n}": f"q_net.{n}" for n in layers}


def _data(description: QDescription, gamma: float, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The fields that SB3's own ``data`` has in plain JSON beside its pickles, and ``metadata``."""
    is_picture = description.states.kind == IMAGE
    return {
        "policy_class": {
            "__module__": _POLICIES,
            "name": "CnnPolicy" if is_picture else "MlpPolicy",
        },
        "policy_kwargs": _policy_arguments(description),
        "observation_space": {
            "dtype": "uint8" if is_picture else "float32",
            "_shape": list(description.states.state_shape),
        },
        "action_space": {"n": str(description.actions), "start": "0"},
        "gamma": gamma,
        "corrtool": dict(metadata),
    }


def _policy_arguments(description: QDescription) -> dict[str, Any]:
    """``policy_kwargs`` of SB3's DQN, whose network is then the same."""
    if description.architecture == "nature":
        return {}
    return {"net_arch": list(description.hidden_widths)}


def _saved(tensors: dict[str, Any]) -> bytes:
    """As ``torch.save`` writes it, which ``torch.load(..., weights_only=True)`` reads."""
    content = io.BytesIO()
    torch.save(tensors, content)
    return content.getvalue()


def sb3_runner(content: bytes, description: QDescription) -> tuple[str, Runner] | None:
    """Who computes the zip's policy, and how; None without Stable-Baselines3."""
    if importlib.util.find_spec("stable_baselines3") is None:
        return None

    import stable_baselines3
    from stable_baselines3.dqn import policies

    shape, is_picture = description.states.state_shape, description.states.kind == IMAGE
    space = (
        gymnasium.spaces.Box(0, 255, shape, np.uint8)
        if is_picture
        else gymnasium.spaces.Box(-np.inf, np.inf, shape, np.float32)
    )
    make = policies.CnnPolicy if is_picture else policies.MlpPolicy
    policy = make(
        space,
        gymnasium.spaces.Discrete(description.actions),
        lambda progress: 0.0,
        **_policy_arguments(description),
    )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        weights = torch.load(io.BytesIO(archive.read("policy.pth")), weights_only=True)
    policy.load_state_dict(weights)
    policy.set_training_mode(False)
    return f"stable-baselines3 {stable_baselines3.__version__}", policy.q_net
