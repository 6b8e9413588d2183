"""Environment models as artifacts: their description in a manifest, and loading one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from corrtool.environment_model.network import (
    Prediction,
    ScaledModel,
    build_environment_model,
    resolve_architecture,
)
from corrtool.layers import Norm, freeze
from corrtool.project.artifacts import Artifact
from corrtool.project.networks import load_network
from corrtool.settings.stages import TrainModelSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec


@dataclass(frozen=True)
class ModelDescription:
    """The architecture of an environment model; the ``network`` table of its manifest.

    The fields are those of :func:`build_environment_model`.
    """

    states: StateSpec
    actions: int
    architecture: str = "auto"
    filters: int = 64
    blocks: int = 9
    action_block: int = 0
    norm: Norm = "batch"
    prediction: Prediction = "state"
    skips: bool = False

    @classmethod
    def of(cls, settings: TrainModelSettings, states: StateSpec, actions: int) -> ModelDescription:
        """The description that the settings give for a task with such states.

        An 'auto' in a manifest is of older versions, whose F of small pictures kept every pixel.
        """
        return cls(
            states,
            actions,
            resolve_architecture(states, settings.architecture),
            settings.filters,
            settings.blocks,
            settings.action_block,
            settings.norm,
            settings.prediction,
            settings.skips,
        )

    def build(self, scaling: StateScaling | None = None) -> ScaledModel:
        """A new environment model; without ``scaling``, that is to be loaded.

        Raises:
            ValueError: the sizes make no sense.
        """
        network = build_environment_model(
            self.states,
            self.actions,
            self.architecture,
            filters=self.filters,
            blocks=self.blocks,
            action_block=self.action_block,
            norm=self.norm,
            prediction=self.prediction,
            skips=self.skips,
        )
        return ScaledModel(network, StateScaling(self.states) if scaling is None else scaling)

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it."""
        return {**self.__dict__, "states": self.states.to_json()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ModelDescription:
        """The inverse of :meth:`to_json`.

        Raises:
            KeyError, TypeError, ValueError: the table has other fields.
        """
        return cls(**{**value, "states": StateSpec.from_json(value["states"])})


def load_model(artifact: Artifact, device: torch.device) -> ScaledModel:
    """The environment model of an artifact, frozen. Raises :class:`ArtifactError`."""
    model = load_network(
        artifact, lambda: ModelDescription.from_json(artifact.manifest["network"]).build()
    )
    freeze(model.to(device))
    return model


def held_out_loss(model: Artifact, memory: Artifact) -> float | None:
    """The relative model loss of F on what ``train-model`` held out of a memory.

    None where it did not learn from that one, or where nothing changes in what was held out, and
    for older models, which lack it.
    """
    parents = model.manifest.get("parents", {})
    summary: dict[str, Any] = model.manifest.get("summary", {})
    uses = [use for use, parent in parents.items() if parent["sha256"] == memory.sha256]
    if not uses:
        return None
    apart = {uses[0]: summary} if len(parents) == 1 else summary.get("validation_by_memory", {})
    errors = apart.get(uses[0], {})
    persistence = errors.get("l1_moving_persistence")
    return errors["l1_moving"] / persistence if persistence else None
