"""Memories from their artifacts, and what two tasks must share."""

from __future__ import annotations

from corrtool.errors import ArtifactError
from corrtool.memory import ReplayMemory, read_rows
from corrtool.project.artifacts import Artifact
from corrtool.project.memory_files import check_memory
from corrtool.runs.context import StageContext


def load_memory(context: StageContext, artifact: Artifact) -> ReplayMemory:
    """The replay memory of an artifact, on the device, after checking every byte.

    Raises :class:`ArtifactError`.
    """
    manifest = check_memory(artifact.path)
    rows = manifest.get("rows")  # not checked yet
    with context.console.transient_progress(
        f"reading {artifact}", rows if type(rows) is int else 0, "rows"
    ) as reading:
        return ReplayMemory.from_rows(
            read_rows(artifact.path, manifest, reading.advance), context.device
        )


def require_same_actions(source_actions: int, target_actions: int) -> None:
    """Raise :class:`ArtifactError` where eq. (13) cannot map actions by the identity."""
    if source_actions != target_actions:
        raise ArtifactError(
            f"the source has {source_actions} actions and the target {target_actions}",
            "the method maps actions by the identity, so give both tasks the same actions",
        )
