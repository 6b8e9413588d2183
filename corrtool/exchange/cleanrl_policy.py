"""State dicts of CleanRL's PPO scripts, ``NAME.cleanrl_model``.

https://github.com/vwxyzjn/cleanrl: ``ppo.py`` has ``actor`` and ``critic``, each two hidden layers
with tanh; ``ppo_atari.py`` the layers of [23] as ``network`` and two single layers behind it.
"""

from __future__ import annotations

import re

from corrtool.exchange.cleanrl import state_dict
from corrtool.exchange.foreign import ForeignFile, FoundQ
from corrtool.exchange.policies import LayerList, chain_of, policy_description, required
from corrtool.q_learning.saved import QDescription
from corrtool.states import StateSpec

_WEIGHTS = r"\.(?:weight|bias)"
_OF_NUMBERS = re.compile(rf"(?:actor|critic)\.[024]{_WEIGHTS}")
_OF_PICTURES = re.compile(rf"(?:network\.[0247]|actor|critic){_WEIGHTS}")


def read_cleanrl_policy(
    file: ForeignFile, spec: StateSpec, actions: int
) -> tuple[FoundQ, QDescription]:
    """The policy of a state dict, for states of ``spec``. Raises :class:`ArtifactError`."""
    named, said = state_dict(file)
    is_convolutional = any(name.startswith("network.") for name in named)
    for name in named:
        if not (_OF_PICTURES if is_convolutional else _OF_NUMBERS).fullmatch(name):
            raise file.refused(
                f"holds {name[:80]!r}, which is no weight of CleanRL's ppo.py or ppo_atari.py"
            )
    features, actor, critic = (LayerList(file, name) for name in ("features", "logits", "critic"))

    def linear(part: LayerList, name: str) -> None:
        part.add_linear(*(required(file, named, f"{name}.{n}") for n in ("weight", "bias")))

    if is_convolutional:
        features.add_nature(named, "network")
        linear(features, "network.7")
        features.add_activation("relu")
    for part, name in ((actor, "actor"), (critic, "critic")):
        if is_convolutional:
            linear(part, name)
            continue
        for place in (0, 2, 4):
            linear(part, f"{name}.{place}")
            if place < 4:
                part.add_activation("tanh")
    weights = {name: w for part in (features, actor, critic) for name, w in part.weights.items()}
    chain = chain_of(features, actor, critic)
    return FoundQ(weights, said), policy_description(file, chain, spec, actions)
