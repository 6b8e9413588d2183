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
    said_gamma,
)
from corrtool.states import IMAGE, StateSpec

MEMBERS = {  # the most bytes of each
    "data": 1 << 24,
    "policy.pth": MAX_FILE_BYTES,
    "policy.optimizer.pth": MAX_FILE_BYTES,
    "pytorch_variables.pth": MAX_FILE_BYTES,
    "_stable_baselines3_version": 1 << 10,
    "system_info.txt": 1 << 16,
}
DQN_POLICIES = "stable_baselines3.dqn.policies"
ACTOR_CRITIC = "stable_baselines3.common.policies"  # of PPO and A2C
LAYERS = "<class 'stable_baselines3.common.torch_layers."
# Arguments of the policy, by the plain values that make the network what corrtool's is. None: they
# say nothing about it, or what its weights show as well.
_POLICY_KWARGS: dict[str, tuple[Any, ...] | None] = {
    "activation_fn": ("<class 'torch.nn.modules.activation.ReLU'>",),
    "features_extractor_class": (f"{LAYERS}NatureCNN'>", f"{LAYERS}FlattenExtractor'>"),
    "normalize_images": (True,),
    "net_arch": None,
    "optimizer_class": None,
    "optimizer_kwargs": None,
}
_FEATURES_KWARGS = {"features_dim"}
_CONVOLUTION = re.compile(r"features_extractor\.cnn\.([024])\.(weight|bias)")
_FEATURES = re.compile(r"features_extractor\.linear\.0\.(weight|bias)")
_LAST = re.compile(r"q_net\.(0|[1-9]\d{0,2})\.(weight|bias)")


def read_sb3(file: ForeignFile) -> FoundQ:
    """The Q-function of a DQN zip. Raises :class:`ArtifactError`."""
    members = members_of(file, MEMBERS, {"data", "policy.pth"})
    data = plain_data(file, members["data"])
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
    return FoundQ(weights, says(file, data))


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


def plain_data(file: ForeignFile, content: bytes) -> dict[str, Any]:
    """The table ``data`` of a zip. Raises :class:`ArtifactError`."""
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
    policy = table_of(data, "policy_class").get("__module__")
    if policy != DQN_POLICIES:
        raise file.refused(
            f"holds a policy of {str(policy)[:80]}, not of {DQN_POLICIES}",
            "PPO and A2C are for 'corrtool import policy'"
            if policy == ACTOR_CRITIC
            else "only a DQN of Stable-Baselines3 is such a Q-function",
        )
    check_kwargs(file, data, _POLICY_KWARGS, "ReLU")


def check_kwargs(
    file: ForeignFile,
    data: dict[str, Any],
    known: dict[str, tuple[Any, ...] | None],
    activations: str,
) -> dict[str, Any]:
    """The arguments of the policy, of which each must be known.

    Args:
        known: the plain values that each may have; None for any.
        activations: those that corrtool reads, for the error.

    Raises:
        ArtifactError: there is another, or one that JSON does not say plainly.
    """
    kwargs = data.get("policy_kwargs", {})
    if not isinstance(kwargs, dict):
        raise file.refused("is damaged: its policy_kwargs are no table")
    for name, value in kwargs.items():
        if name in (":type:", ":serialized:"):
            continue
        values = known.get(name)
        if name == "features_extractor_kwargs":
            fits = isinstance(value, dict) and set(value) <= _FEATURES_KWARGS
        else:
            fits = name in known and (values is None or value in values)
        if not fits:
            raise file.refused(
                f"has policy_kwargs that change its network: {name[:40]} is {str(value)[:80]}",
                f"corrtool reads those with {activations} and the feature extractors NatureCNN and "
                "Flatten",
            )
    return kwargs


def says(file: ForeignFile, data: dict[str, Any]) -> dict[str, Any]:
    """What the plain fields tell, in corrtool's words; a field of another type is not read.

    Raises :class:`ArtifactError` where gamma is out of range.
    """
    space = table_of(data, "observation_space")
    shape, is_box = space.get("_shape"), str(space.get(":type:")).endswith(".Box'>")
    said: dict[str, Any] = {**said_gamma(file, data)}
    for ours, theirs in (("seed", "seed"), ("env_steps", "num_timesteps"), ("n_step", "n_steps")):
        value = data.get(theirs)
        if type(value) is int and 0 <= value < 2**63:
            said[ours] = value
    if is_box and isinstance(shape, list) and all(type(n) is int for n in shape[:4]):
        said["observation_shape"] = shape[:4]
        said["observation_dtype"] = str(space.get("dtype"))[:20]
    return said


def table_of(data: dict[str, Any], name: str) -> dict[str, Any]:
    """The table of this name in ``data``, empty where there is none."""
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
