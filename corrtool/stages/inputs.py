"""Memories: which are chosen where none is named, how they are read; which actions are the same."""

from __future__ import annotations

import contextlib

from corrtool.correspondence.actions import AUTO, IDENTITY, LEARNED, ActionMap
from corrtool.errors import ArtifactError, MissingInputError, UsageError
from corrtool.memory import ReplayMemory, check_episodes, read_rows
from corrtool.project.artifacts import Artifact, find_artifacts
from corrtool.project.manifests import PLAY_WORDS, play_of_memory
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


def load_transitions(
    context: StageContext, artifact: Artifact, *, chosen: bool = False
) -> ReplayMemory:
    """The same of a memory with transitions that follow the dynamics.

    Args:
        chosen: whether it was taken among the memories of its task. The others are checked as
            well then: the damaged one may be the one that was meant.

    Raises :class:`ArtifactError` also where there is none.
    """
    if chosen:
        for other in find_artifacts(context.project.root, "memory"):
            if other.manifest.get("task_sha256") == artifact.manifest.get("task_sha256"):
                check_memory(other.path)
    memory = load_memory(context, artifact)
    check_episodes(memory, str(artifact))
    if not len(memory.dynamics_rows()):
        raise ArtifactError(f"{artifact} holds no usable record", "collect more of them")
    return memory


def choose_source_memory(
    context: StageContext, name: str | None, target_name: str | None, *, match_play: bool
) -> Artifact:
    """M_S: the named memory, or the newest; with ``match_play`` of M_T's kind of play if there is.

    The generators must not have to turn one kind of play into the other: eq. (8) compares which
    states M_S and M_T hold, and a random player is hardly ever where a good one is.

    Raises:
        ArtifactError: there is none, or it is of another task.
    """
    source, target = context.project.task("source"), context.project.task("target")
    if name is not None or not match_play:
        return context.artifact_of_task("memory", name, source)
    try:
        play = play_of_memory(context.artifact_of_task("memory", target_name, target).manifest)
    except ArtifactError:
        play = "random"  # as `collect` will play it; that it is not there yet is told of M_T
    try:
        return context.artifact_of_task("memory", None, source, play)
    except MissingInputError:
        with contextlib.suppress(MissingInputError):
            return context.artifact_of_task("memory", None, source)
        raise  # the hint is how to make one of M_T's kind


def choose_random_memory(
    context: StageContext, name: str | None, memory: Artifact, *, mixed: bool
) -> Artifact | None:
    """The memory of random play that F learns from beside ``memory``, or None.

    Without a ``name`` it is the newest of the source that has the states and actions of
    ``memory``, if that is an agent's.

    Raises:
        ArtifactError: the named one is missing, or is of another task or another kind of play.
        UsageError: one is named, but F is to learn from one memory.
    """
    if name is not None and not mixed:
        raise UsageError(
            "--random-memory is for --mixed-memories", "give both, or leave --random-memory out"
        )
    if name is None and (not mixed or play_of_memory(memory.manifest) != "agent"):
        return None
    task = context.project.task("source")
    try:
        random = context.artifact_of_task("memory", name, task, "random")
    except MissingInputError:
        if name is not None:
            raise
        return None
    if random.sha256 == memory.sha256:
        return None
    if any(random.manifest[part] != memory.manifest[part] for part in ("states", "actions")):
        if name is None:
            return None
        raise ArtifactError(
            f"{random} and {memory} have different states or actions", "name fitting ones"
        )
    return random


def different_play(
    source_memory: Artifact, target_memory: Artifact, agent: str | None
) -> str | None:
    """A line that says how M_S and M_T differ in who played them; None where they do not.

    Args:
        agent: the name of Q_S, if it is known, which is to play.
    """
    source, target = (play_of_memory(m.manifest) for m in (source_memory, target_memory))
    if source is None or target is None or source == target:
        return None
    policy = "" if target == "random" else f" --policy q:{agent or 'NAME'}"
    return (
        f"{source_memory} is of {PLAY_WORDS[source]}, {target_memory} of {PLAY_WORDS[target]}, and "
        f"the losses compare the two: make one of the same kind with 'corrtool collect --task "
        f"source{policy}'"
    )


def require_same_actions(source_actions: int, target_actions: int) -> None:
    """Raise :class:`ArtifactError` where actions cannot pass unchanged, as in the printed (13)."""
    if source_actions != target_actions:
        raise ArtifactError(
            f"the source has {source_actions} actions and the target {target_actions}",
            "say which source action each target action is, by learn-corr --action-map FILE, or "
            "have it found, by --action-map learned",
        )


def action_map_of(setting: str, source_actions: int, target_actions: int) -> ActionMap:
    """The map m of eq. (13) that ``--action-map`` says, for tasks with so many actions.

    One that is to be learnt is as yet any.

    Raises:
        ArtifactError: it is the identity, and the numbers differ.
        UsageError: it is a file that cannot be read, or does not fit them.
    """
    if setting == IDENTITY:
        require_same_actions(source_actions, target_actions)
        return ActionMap.identity(source_actions)
    if setting in (LEARNED, AUTO):
        return ActionMap.unknown(source_actions, target_actions)
    return ActionMap.parse(setting, source_actions, target_actions)
