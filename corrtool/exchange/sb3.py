"""DQN zips of Stable-Baselines3: https://stable-baselines3.readthedocs.io/en/master/guide/save_format.html.

``data`` is JSON. What JSON cannot say stands in it twice: pickled, under ``:serialized:``, which is
never touched, and as plain texts, which are read. ``policy.pth`` has the weights.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from corrtool.exchange.foreign import (
    MAX_FILE_BYTES,
    ForeignFile,
    FoundQ,
    load_torch,
    members_of,
    named_tensors,
)
from corrtool.states import IMAGE, StateSpec

_MEMBERS = {  # the most bytes of each
    "data": 1 << 24,
    "policy.pth": MAX_FILE_BYTES,
    "policy.optimizer.pth": MAX_FILE_BYTES,
    "pytorch_variables.pth": MAX_FILE_BYTES,
    "_stable_baselines3_version": 1 << 10,
    "system_info.txt": 1 << 16,
}
_POLICIES = "stable_baselines3.dqn.policies"
_LAYERS = "<class 'stable_baselines3.common.torch_layers."
# Arguments of the policy, by the plain values that make the network what corrtool's is. None: they
# say nothing about it, or what its weights show as well.
_POLICY_KWARGS: dict[str, tuple[Any, ...] | None] = {
    "activation_fn": ("<class 'torch.nn.modules.activation.ReLU'>",),
    "features_extractor_class": (f"{_LAYERS}NatureCNN'>", f"{_LAYERS}FlattenExtractor'>"),
    "normalize_images": (True,),
    "net_arch": None,
    "optimizer_class": None,
    "optimizer_kwargs": None,
}
_FEATURES_KWARGS = {"features_dim"}
_CONVOLUTION = re.compile(r"features_extractor\.cnn\.(\d{1,2})\.(weight|bias)")
_FEATURES = re.compile(r"features_extractor\.linear\.0\.(weight|bias)")
_LAST = re.compile(r"q_net\.(\d{1,3})\.(weight|bias)")


def read_sb3(file: ForeignFile) -> FoundQ:
    """The Q-function of a DQN zip. Raises :class:`ArtifactError`."""
    members = members_of(file, _MEMBERS, {"data", "policy.pth"})
    data = _plain_data(file, members["data"])
    _check_policy(file, data)
    policy = ForeignFile(f"policy.pth of {file.path}", members["policy.pth"])
    tensors = named_tensors(policy, load_torch(policy))
    is_convolutional = any(_CONVOLUTION.fullmatch(name[6:]) for name in tensors)
    weights = {}
    for name, tensor in tensors.items():
        network, _, place = name.partition(".")
        if network == "q_net_target":
            continue  # the slowly updated copy
        ours = _corrtool_name(place, is_convolutional) if network == "q_net" else None
        if ours is None:
            raise policy.refused(f"holds {name[:80]!r}, which is no weight of a DQN")
        weights[ours] = tensor
    return FoundQ(weights, _says(data))


def _corrtool_name(place: str, is_convolutional: bool) -> str | None:
    """``features_extractor.cnn.0.weight`` → ``convolutions.0.weight``; None for what is unknown."""
    if match := _CONVOLUTION.fullmatch(place):
        return f"convolutions.{match[1]}.{match[2]}"
    if match := _FEATURES.fullmatch(place):
        return f"head.0.{match[1]}"
    if match := _LAST.fullmatch(place):
        layer = f"head.{int(match[1]) + 2}" if is_convolutional else f"layers.{match[1]}"
        return f"{layer}.{match[2]}"
    return None


def _plain_data(file: ForeignFile, content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        raise file.refused("is damaged: its data are no JSON") from None
    if not isinstance(data, dict):
        raise file.refused("is damaged: its data are no table")
    return data


def _check_policy(file: ForeignFile, data: dict[str, Any]) -> None:
    """Refuse a policy that is no Q-function, or one that computes otherwise than corrtool's.

    Raises :class:`ArtifactError`.
    """
    policy = _table(data, "policy_class").get("__module__")
    if policy != _POLICIES:
        raise file.refused(
            f"holds a policy of {str(policy)[:80]}, not of {_POLICIES}",
            "only a DQN of Stable-Baselines3 is such a Q-function",
        )
    kwargs = data.get("policy_kwargs", {})
    if not isinstance(kwargs, dict):
        raise file.refused("is damaged: its policy_kwargs are no table")
    for name, value in kwargs.items():
        if name in (":type:", ":serialized:"):
            continue
        known = _POLICY_KWARGS.get(name)
        if name == "features_extractor_kwargs":
            fits = isinstance(value, dict) and set(value) <= _FEATURES_KWARGS
        else:
            fits = name in _POLICY_KWARGS and (known is None or value in known)
        if not fits:
            raise file.refused(
                f"has policy_kwargs that change its network: {name[:40]} is {str(value)[:80]}",
                "corrtool reads those with ReLU and the feature extractors NatureCNN and Flatten",
            )


def _says(data: dict[str, Any]) -> dict[str, Any]:
    """What the plain fields tell, in corrtool's words; a field of another type is not read."""
    space = _table(data, "observation_space")
    shape, is_box = space.get("_shape"), str(space.get(":type:")).endswith(".Box'>")
    said = dict[str, Any]()
    gamma = data.get("gamma")
    if isinstance(gamma, int | float) and type(gamma) is not bool and 0 <= gamma <= 1:
        said["gamma"] = gamma
    for ours, theirs in (("seed", "seed"), ("env_steps", "num_timesteps"), ("n_step", "n_steps")):
        value = data.get(theirs)
        if type(value) is int and 0 <= value < 2**63:
            said[ours] = value
    if is_box and isinstance(shape, list) and all(type(n) is int for n in shape[:4]):
        said["observation_shape"] = shape[:4]
        said["observation_dtype"] = str(space.get("dtype"))[:20]
    return said


def _table(data: dict[str, Any], name: str) -> dict[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def check_observations(file: ForeignFile, says: dict[str, Any], spec: StateSpec) -> None:
    """Refuse an agent whose observations, as its file says, are not the states of the task.

    Raises :class:`ArtifactError`.
    """
    shape = tuple(says.get("observation_shape", ()))
    if not shape:
        return
    dtype, states = says["observation_dtype"], spec.state_shape
    if spec.kind == IMAGE:
        fits = shape == states
    else:  # Stable-Baselines3 flattens a table of numbers, but divides bytes of three axes by 255
        fits = math.prod(shape) == math.prod(states) and (len(shape), dtype) != (3, "uint8")
    if not fits:
        raise file.refused(
            f"was trained on observations of the shape {shape}, {dtype}; the states of the task "
            f"have the shape {states} ({spec})",
            "give the task the preprocessing of the agent by 'corrtool init'",
        )
