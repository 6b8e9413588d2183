"""Trained weights that come with corrtool, laid out as in a project.

``weights/KIND/NAME.safetensors``.

Each file's manifest says which command made it, with which settings and seed; ``corrtool status``
shows it once it is in a project.
"""

from __future__ import annotations

from pathlib import Path

from corrtool.errors import UsageError
from corrtool.files.atomic import write_atomic
from corrtool.project.artifacts import (
    KINDS,
    Artifact,
    artifact_names,
    artifact_path,
    read_artifact,
    read_weights,
)
from corrtool.project.directory import Project
from corrtool.tasks import Task

PRETRAINED = Path(__file__).parent
# Q-function and environment model of ALE/Pong-v5, and its correspondence with Pong rotated by 90°.
PONG = "pong"


def adopt(project: Project, kind: str, name: str) -> Artifact:
    """Copy the weights ``name`` that come with corrtool into a project, unless it has them.

    Raises:
        UsageError: the project has other weights of that name.
        ArtifactError: the weights, here or there, are damaged.
    """
    shipped = read_artifact(PRETRAINED, kind, name)
    read_weights(shipped)  # checks every byte
    path = artifact_path(project.root, kind, name)
    if not path.exists():
        write_atomic(path, shipped.path.read_bytes())
    own = read_artifact(project.root, kind, name)
    if own.sha256 != shipped.sha256:
        raise UsageError(
            f"{project.root} has another {own} than the one that comes with corrtool",
            "give another directory",
        )
    return own


def shipped_for(source: Task, target: Task) -> list[Artifact]:
    """The artifacts that come with corrtool for a pair of tasks, with sticky actions or without."""
    found = []
    for kind in KINDS:
        for name in artifact_names(PRETRAINED, kind):
            artifact = read_artifact(PRETRAINED, kind, name)
            manifest, described = artifact.manifest, artifact.manifest.get("tasks", {})
            if kind == "corr":
                made_on = [
                    (task, f"{role}_task_sha256", role)
                    for task, role in ((source, "source"), (target, "target"))
                ]
            else:
                made_on = [(source, "task_sha256", "source")]
            if all(
                task.is_compatible_with(manifest.get(key), described.get(role))
                for task, key, role in made_on
            ):
                found.append(artifact)
    return found
