"""A correspondence from its artifact, whole or its action map alone."""

from __future__ import annotations

import torch

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.model import Correspondence, described_action_map
from corrtool.errors import ArtifactError
from corrtool.layers import freeze
from corrtool.project.artifacts import Artifact
from corrtool.project.networks import load_network


def load_correspondence(artifact: Artifact, device: torch.device) -> Correspondence:
    """The correspondence of an artifact, frozen. Raises :class:`ArtifactError`."""
    correspondence = load_network(
        artifact, lambda: Correspondence.from_description(artifact.manifest["network"])
    )
    freeze(correspondence.to(device))
    return correspondence


def read_action_map(artifact: Artifact) -> ActionMap | None:
    """The action map in a correspondence's manifest; None of those older than action maps.

    Raises :class:`ArtifactError`.
    """
    try:
        return described_action_map(artifact.manifest["network"])
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ArtifactError(
            f"the manifest of {artifact.path} does not describe a correspondence"
        ) from None
