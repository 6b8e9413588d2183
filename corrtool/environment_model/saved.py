"""What a manifest says of an environment model, and the model from its artifact."""

from __future__ import annotations

from typing import Any

import torch

from corrtool.environment_model.network import ScaledModel, build_environment_model
from corrtool.layers import freeze
from corrtool.project.artifacts import Artifact
from corrtool.project.networks import _with_weights
from corrtool.states import StateScaling, StateSpec


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
