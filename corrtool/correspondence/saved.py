"""A correspondence from its artifact."""

from __future__ import annotations

import torch

from corrtool.correspondence.model import Correspondence
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
