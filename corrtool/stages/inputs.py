"""Memories from their artifacts, and which actions of two tasks are the same."""

from __future__ import annotations

from corrtool.correspondence.actions import IDENTITY, ActionMap
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
    """Raise :class:`ArtifactError` where actions cannot pass unchanged, as in the printed (13)."""
    if source_actions != target_actions:
        raise ArtifactError(
            f"the source has {source_actions} actions and the target {target_actions}",
            "say which source action each target action is, by learn-corr --action-map FILE",
        )


def action_map_of(setting: str, source_actions: int, target_actions: int) -> ActionMap:
    """The map m of eq. (13) that ``--action-map`` says, for tasks with so many actions.

    Raises:
        ArtifactError: it is the identity, and the numbers differ.
        UsageError: it is a file that cannot be read, or does not fit them.
    """
    if setting == IDENTITY:
        require_same_actions(source_actions, target_actions)
        return ActionMap.identity(source_actions)
    return ActionMap.parse(setting, source_actions, target_actions)
