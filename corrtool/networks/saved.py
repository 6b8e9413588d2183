"""Networks as artifacts: a manifest's ``network`` table says how to build what its weights belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from corrtool.correspondence import Correspondence, ScaledModel, freeze
from corrtool.errors import ArtifactError
from corrtool.networks.environment_model import build_environment_model
from corrtool.networks.q_function import build_q_function, resolve_architecture
from corrtool.project.artifacts import Artifact, load_weights
from corrtool.states import StateScaling, StateSpec

MOST_BLOCKS = 256


@dataclass(frozen=True)
class QDescription:
    """How a Q-function is built; the ``network`` table of its manifest. It never says 'auto', which may come to mean another."""

    states: StateSpec
    actions: int
    architecture: str
    width: int = 256
    init: str = "default"

    def __post_init__(self) -> None:
        object.__setattr__(self, "architecture", resolve_architecture(self.states, self.architecture))

    def build(self) -> nn.Module:
        """A new Q-function. Raises ValueError when the architecture does not fit the states."""
        return build_q_function(self.states, self.actions, self.architecture, self.width, self.init)  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it."""
        return {**self.__dict__, "states": self.states.to_json()}

    @classmethod
    def from_manifest(cls, artifact: Artifact) -> QDescription:
        """The description in a Q-function's manifest. Raises :class:`ArtifactError`."""
        try:
            network = dict(artifact.manifest["network"])
            return cls(states=StateSpec.from_json(network.pop("states")), **network)
        except (KeyError, TypeError, ValueError):
            raise ArtifactError(f"the manifest of {artifact.path} does not describe a Q-function") from None


def load_q_function(artifact: Artifact, device: torch.device) -> nn.Module:
    """The Q-function of an artifact, frozen. Raises :class:`ArtifactError` when it is damaged or does not fit."""
    return freeze(_with_weights(artifact, QDescription.from_manifest(artifact).build).to(device))


def describe_model(spec: StateSpec, actions: int, **sizes: Any) -> dict[str, Any]:
    """The ``network`` table of an environment model's manifest."""
    return {"states": spec.to_json(), "actions": actions, **sizes}


def build_model(description: dict[str, Any], scaling: StateScaling) -> ScaledModel:
    """A new environment model from :func:`describe_model`. Raises ValueError when the sizes make no sense."""
    sizes = {key: value for key, value in description.items() if key not in ("states", "actions")}
    return ScaledModel(build_environment_model(scaling.spec, description["actions"], **sizes), scaling)


def load_model(artifact: Artifact, device: torch.device) -> ScaledModel:
    """The environment model of an artifact, frozen. Raises :class:`ArtifactError`."""

    def build() -> ScaledModel:
        description = artifact.manifest["network"]
        return build_model(description, StateScaling(StateSpec.from_json(description["states"])))

    model = _with_weights(artifact, build)
    freeze(model.to(device))
    return model


def load_correspondence(artifact: Artifact, device: torch.device) -> Correspondence:
    """The correspondence of an artifact, frozen. Raises :class:`ArtifactError`."""
    correspondence = _with_weights(artifact, lambda: Correspondence.from_description(artifact.manifest["network"]))
    freeze(correspondence.to(device))
    return correspondence


N = TypeVar("N", bound=nn.Module)


def _with_weights(artifact: Artifact, build: Callable[[], N]) -> N:
    """The network that the manifest describes, with the weights of the file.

    It is built without memory of its own, so that a manifest that lies about sizes costs nothing.
    """
    weights = load_weights(artifact)
    _check_depth(artifact)
    try:
        with torch.device("meta"):
            network = build()
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ArtifactError(f"{artifact.path} cannot be built: {' '.join(str(error).split())}") from None
    expected = {name: (tensor.shape, tensor.dtype) for name, tensor in network.state_dict().items()}
    if expected != {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}:
        raise ArtifactError(f"{artifact.path} does not hold the weights that its manifest describes")
    network.load_state_dict(weights, assign=True)
    return network


def _check_depth(artifact: Artifact) -> None:
    """A hostile manifest may ask for more blocks than there is time to build."""

    def numbers(table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, value in table.items():
            yield from numbers(value) if isinstance(value, dict) else [(name, value)]

    for name, value in numbers(artifact.manifest.get("network", {})):
        if name == "blocks" and not (type(value) is int and 0 <= value <= MOST_BLOCKS):
            raise ArtifactError(f"{artifact.path} cannot be built: {name} is {value!r}")
