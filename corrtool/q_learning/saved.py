"""Q-functions as artifacts: their description in a manifest, and loading one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from corrtool.errors import ArtifactError
from corrtool.layers import freeze
from corrtool.project.artifacts import Artifact
from corrtool.project.networks import load_network
from corrtool.q_learning.network import build_q_function, resolve_architecture
from corrtool.states import StateSpec


@dataclass(frozen=True)
class QDescription:
    """The architecture of a Q-function; the ``network`` table of its manifest.

    It never says 'auto', which may come to mean another architecture. Only an 'mlp' from elsewhere
    has ``widths``, its hidden layers; the others have two of ``width``.
    """

    states: StateSpec
    actions: int
    architecture: str
    width: int = 256
    init: str = "default"
    widths: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.widths is not None:
            object.__setattr__(self, "widths", tuple(self.widths))
        object.__setattr__(
            self, "architecture", resolve_architecture(self.states, self.architecture)
        )

    @property
    def hidden_widths(self) -> tuple[int, ...]:
        """Units of each hidden layer of an 'mlp'; none for other architectures."""
        if self.architecture != "mlp":
            return ()
        return (self.width, self.width) if self.widths is None else self.widths

    def build(self) -> nn.Module:
        """A new Q-function. Raises ValueError when the architecture does not fit the states."""
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
        values = {**self.__dict__, "states": self.states.to_json()}
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
    """The Q-function of an artifact, frozen.

    Raises:
        ArtifactError: it is damaged, or does not fit.
    """
    return freeze(load_network(artifact, QDescription.from_manifest(artifact).build).to(device))
