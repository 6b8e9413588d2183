"""PPO and A2C zips of Stable-Baselines3: an actor, whose outputs are logits, and a critic.

``ActorCriticPolicy`` of ``stable_baselines3/common/policies.py``: features, of pictures those of
NatureCNN; ``mlp_extractor.policy_net`` and ``action_net``; ``mlp_extractor.value_net`` and
``value_net``. The features are the same for both, or (``share_features_extractor=False``) two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from corrtool.exchange.foreign import (
    ForeignFile,
    FoundQ,
    checked_weights,
    load_torch,
    members_of,
    named_tensors,
)
from corrtool.exchange.policies import LayerList, chain_of, policy_description, required
from corrtool.exchange.sb3 import (
    ACTOR_CRITIC,
    DQN_POLICIES,
    LAYERS,
    MEMBERS,
    check_kwargs,
    check_observations,
    plain_data,
    says,
    table_of,
)
from corrtool.q_learning.chain import Layer
from corrtool.q_learning.saved import QDescription
from corrtool.states import IMAGE, StateSpec

_ACTIVATION = "<class 'torch.nn.modules.activation."
_ACTIVATIONS = {
    f"{_ACTIVATION}{name}'>": kind
    for name, kind in {
        "Tanh": "tanh",
        "ReLU": "relu",
        "Sigmoid": "sigmoid",
        "ELU": "elu",
        "LeakyReLU": "leaky_relu",
    }.items()
}
_DEFAULT = f"{_ACTIVATION}Tanh'>"
# Arguments of the policy by their plain values, as in sb3.py; None: its weights show it as well.
_POLICY_KWARGS: dict[str, tuple[Any, ...] | None] = {
    "activation_fn": tuple(_ACTIVATIONS),
    "features_extractor_class": (f"{LAYERS}NatureCNN'>", f"{LAYERS}FlattenExtractor'>"),
    "normalize_images": (True,),
    "net_arch": None,
    "ortho_init": None,
    "share_features_extractor": None,
    "log_std_init": None,
    "optimizer_class": None,
    "optimizer_kwargs": None,
}
_NAME = re.compile(
    r"(?:(?:(?:pi_|vf_)?features_extractor\.(?:cnn\.[024]|linear\.0))"
    r"|mlp_extractor\.(?:policy|value)_net\.(?:0|[1-9]\d{0,2})|action_net|value_net)\.(?:weight|bias)"
)


def read_sb3_policy(
    file: ForeignFile, spec: StateSpec, actions: int
) -> tuple[FoundQ, QDescription]:
    """The policy of a PPO or A2C zip, for states of ``spec``. Raises :class:`ArtifactError`."""
    members = members_of(file, MEMBERS, {"data", "policy.pth"})
    data = plain_data(file, members["data"])
    activation = _check_policy(file, data)
    said = says(file, data)
    said.pop("n_step", None)  # how long a rollout is, not a return
    check_observations(file, said, spec)
    policy = ForeignFile(f"policy.pth of {file.path}", members["policy.pth"])
    named = named_tensors(policy, load_torch(policy))
    for name in named:
        if _NAME.fullmatch(name) is None:
            raise policy.refused(f"holds {name[:80]!r}, which is no weight of a PPO or A2C")
    parts = _parts(policy, named, activation, spec)
    _check_pictures(file, said, spec, is_convolutional=_has_pictures(named))
    weights = {name: w for part in parts for name, w in part.weights.items()}
    chain = chain_of(*parts)
    return FoundQ(weights, said), policy_description(file, chain, spec, actions)


def _check_policy(file: ForeignFile, data: dict[str, Any]) -> str:
    """The activation of its hidden layers; refuses what is no such policy."""
    module = table_of(data, "policy_class").get("__module__")
    if module != ACTOR_CRITIC:
        raise file.refused(
            f"holds a policy of {str(module)[:80]}, not of {ACTOR_CRITIC}",
            "a DQN is for 'corrtool import q'"
            if module == DQN_POLICIES
            else "corrtool reads PPO and A2C of Stable-Baselines3",
        )
    space = table_of(data, "action_space")
    if not str(space.get(":type:")).endswith(".spaces.discrete.Discrete'>"):
        raise file.refused(
            f"has actions of the space {_class_name(space.get(':type:'))}",
            "corrtool knows discrete actions",
        )
    known = ", ".join(map(_class_name, _ACTIVATIONS))
    kwargs = check_kwargs(file, data, _POLICY_KWARGS, known)
    return _ACTIVATIONS[kwargs.get("activation_fn", _DEFAULT)]


def _has_pictures(named: Mapping[str, Tensor]) -> bool:
    return any("features_extractor.cnn." in name for name in named)


def _check_pictures(
    file: ForeignFile, said: dict[str, Any], spec: StateSpec, *, is_convolutional: bool
) -> None:
    """Refuse pictures that are not divided by 255: only bytes of three axes are."""
    is_bytes = said.get("observation_dtype") == "uint8"
    if spec.kind == IMAGE and not is_convolutional and not is_bytes:
        raise file.refused("sees pictures, but not as bytes, so corrtool does not know their range")


def _parts(
    file: ForeignFile, named: Mapping[str, Tensor], activation: str, spec: StateSpec
) -> tuple[LayerList, LayerList, LayerList]:
    """What both heads look at, the actor and the critic."""
    own = {  # checked first, since they are compared
        head: checked_weights(
            file,
            {
                name.partition("features_extractor.")[2]: tensor
                for name, tensor in named.items()
                if name.startswith(f"{prefix}features_extractor.")
            },
        )
        for head, prefix in (("actor", "pi_"), ("critic", "vf_"), ("both", ""))
    }
    if own["actor"] and own["both"] and not _equal(own["actor"], own["both"]):
        raise file.refused("holds features_extractor with other weights than pi_features_extractor")
    of_actor, of_critic = own["actor"] or own["both"], own["critic"] or own["both"]
    shared = _equal(of_actor, of_critic)
    features, actor, critic = (LayerList(file, name) for name in ("features", "logits", "critic"))
    if shared:
        _add_features(features, of_actor, spec)
    else:
        _add_features(actor, of_actor, spec)
        _add_features(critic, of_critic, spec)
    for part, hidden, last in (
        (actor, "mlp_extractor.policy_net", "action_net"),
        (critic, "mlp_extractor.value_net", "value_net"),
    ):
        _add_head(part, named, hidden, activation)
        part.add_linear(*(required(file, named, f"{last}.{n}") for n in ("weight", "bias")))
    return features, actor, critic


def _equal(some: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    return some.keys() == others.keys() and all(
        tensor.shape == others[name].shape and bool((tensor == others[name]).all())
        for name, tensor in some.items()
    )


def _add_features(part: LayerList, tensors: Mapping[str, Tensor], spec: StateSpec) -> None:
    """NatureCNN, or where there are no weights nothing but a flat state."""
    if not tensors:
        if len(spec.state_shape) > 1:
            part.add(Layer.of("flatten"))
        return
    part.add_nature(tensors, "cnn")
    part.add_linear(*(required(part.file, tensors, f"linear.0.{n}") for n in ("weight", "bias")))
    part.add_activation("relu")


def _add_head(part: LayerList, named: Mapping[str, Tensor], prefix: str, activation: str) -> None:
    """The hidden layers ``prefix.{0,2,…}``, each with the activation.

    Raises :class:`ArtifactError` where there are weights of others.
    """
    own = {name for name in named if name.startswith(f"{prefix}.")}
    for place in range(0, len(own), 2):
        names = [f"{prefix}.{place}.{n}" for n in ("weight", "bias")]
        if not own & {*names}:
            break
        part.add_linear(*(required(part.file, named, name) for name in names))
        part.add_activation(activation)
        own -= {*names}
    if own:
        raise part.file.refused(f"holds {min(own)!r}, which is of none of its layers")


def _class_name(text: object) -> str:
    """``<class 'package.module.Name'>`` → ``Name``."""
    return str(text)[:200].rpartition(".")[2].removesuffix("'>")
