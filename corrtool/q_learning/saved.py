"""Q-functions, and policies in their place, as artifacts: their manifests, and loading one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from corrtool.errors import ArtifactError
from corrtool.layers import freeze
from corrtool.project.artifacts import Artifact
from corrtool.project.networks import load_network
from corrtool.q_learning.chain import Chain
from corrtool.q_learning.network import build_q_function, resolve_architecture
from corrtool.q_learning.policy import PolicyNetwork
from corrtool.states import StateSpec

CHAIN = "chain"  # the architecture of policies from elsewhere


@dataclass(frozen=True)
class QDescription:
    """The architecture of a Q-function; the ``network`` table of its manifest.

    It never says 'auto', which may come to mean another architecture. Only an 'mlp' from elsewhere
    has ``widths``, its hidden layers; the others have two of ``width``. A 'chain' is a policy: its
    ``values`` are logits, and ``chain`` has its layers.
    """

    states: StateSpec
    actions: int
    architecture: str
    width: int = 256
    init: str = "default"
    widths: tuple[int, ...] | None = None
    values: Literal["q", "logits"] = "q"
    chain: Chain | None = None

    def __post_init__(self) -> None:
        is_chain = self.architecture == CHAIN
        if is_chain != (self.chain is not None) or self.values != ("logits" if is_chain else "q"):
            raise ValueError("only a chain of layers has logits")
        if self.widths is not None:
            object.__setattr__(self, "widths", tuple(self.widths))
        object.__setattr__(
            self, "architecture", resolve_architecture(self.states, self.architecture)
        )

    @property
    def is_policy(self) -> bool:
        """True if its action scores are logits, not values."""
        return self.values == "logits"

    @property
    def has_critic(self) -> bool:
        """True of a policy that came with V(s)."""
        return self.chain is not None and self.chain.critic is not None

    @property
    def hidden_widths(self) -> tuple[int, ...]:
        """Units of each hidden layer of an 'mlp'; none for other architectures."""
        if self.architecture != "mlp":
            return ()
        return (self.width, self.width) if self.widths is None else self.widths

    def build(self) -> nn.Module:
        """A new network. Raises ValueError when the architecture does not fit the states."""
        if self.chain is not None:
            self.chain.check(self.states.state_shape, self.actions)
            return PolicyNetwork(self.chain, self.actions)
        return build_q_function(
            self.states,
            self.actions,
            self.architecture,
            self.width,
            self.init,  # type: ignore[arg-type]
            self.widths,
        )

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it."""
        if self.chain is not None:
            return {
                "states": self.states.to_json(),
                "actions": self.actions,
                "architecture": CHAIN,
                "values": self.values,
                "chain": self.chain.to_json(),
            }
        values = {**self.__dict__, "states": self.states.to_json()}
        del values["values"], values["chain"]
        widths = values.pop("widths")
        if widths is None:  # as older versions wrote it, which identifies a finetune from scratch
            return values
        del values["width"]
        return {**values, "widths": list(widths)}

    @classmethod
    def from_manifest(cls, artifact: Artifact) -> QDescription:
        """The description in a Q-function's manifest. Raises :class:`ArtifactError`."""
        try:
            network = dict(artifact.manifest["network"])
            if "chain" in network:
                network["chain"] = Chain.from_json(network["chain"])
            return cls(states=StateSpec.from_json(network.pop("states")), **network)
        except (KeyError, TypeError, ValueError):
            raise ArtifactError(
                f"the manifest of {artifact.path} does not describe a Q-function"
            ) from None


@dataclass(frozen=True)
class RewardsLearnt:
    """How a Q-function was taught to see rewards.

    Attributes:
        gamma: the discount factor.
        clip_rewards: whether it learnt from the sign of each.
    """

    gamma: float = 0.99
    clip_rewards: bool = False

    @classmethod
    def from_manifest(cls, artifact: Artifact) -> RewardsLearnt:
        """What the settings in a Q-function's manifest tell, and the defaults where they do not."""
        settings = artifact.manifest.get("settings") or {}
        gamma, clip = settings.get("gamma"), settings.get("clip_rewards")
        if not isinstance(gamma, int | float) or not 0 <= gamma <= 1:
            gamma = cls.gamma
        return cls(float(gamma), clip is True)


def load_q_function(artifact: Artifact, device: torch.device) -> nn.Module:
    """The Q-function of an artifact, or its policy, frozen: states → action scores.

    Raises:
        ArtifactError: it is damaged, or does not fit.
    """
    return freeze(load_network(artifact, QDescription.from_manifest(artifact).build).to(device))
