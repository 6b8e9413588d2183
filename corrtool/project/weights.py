"""Weights as artifacts: how they are written and read."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from corrtool.errors import TrainingDivergedError
from corrtool.files.atomic import write_atomic
from corrtool.files.sealed_tensors import content_sha256, seal_tensors, tensors_of
from corrtool.project.artifacts import KIND_LABELS, Artifact, artifact_path, read_weights
from corrtool.project.manifests import Manifest


def save_weights(
    root: Path, kind: str, name: str, tensors: dict[str, Tensor], manifest: Manifest
) -> Artifact:
    """Write weights with their manifest as one sealed safetensors file.

    Raises:
        TrainingDivergedError: a weight is NaN or infinite; what was there stays.
    """
    for tensor_name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TrainingDivergedError(
                f"{tensor_name} of {KIND_LABELS[kind]} {name} became NaN or infinite, so it was "
                "not written",
                "use a smaller --learning-rate",
            )
    full: Manifest = {
        "kind": kind,
        "name": name,
        "sha256": content_sha256(tensors),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        **manifest,
    }
    path = artifact_path(root, kind, name)
    write_atomic(path, seal_tensors(tensors, full))
    return Artifact(kind, name, path, full)


def load_weights(artifact: Artifact) -> dict[str, Tensor]:
    """The tensors of a weights file, on the CPU, after checking every byte.

    Raises:
        ArtifactError: the file is damaged, or a weight is NaN or infinite: corrtool never writes
            such a file.
    """
    return tensors_of(read_weights(artifact), artifact.path)
