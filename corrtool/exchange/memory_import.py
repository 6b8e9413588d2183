"""A memory of a project from a file of another tool: ``import memory``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, cast

import torch

from corrtool.errors import ArtifactError, UsageError
from corrtool.exchange.episodes import to_rows
from corrtool.exchange.minari import open_minari
from corrtool.exchange.npz import open_npz
from corrtool.exchange.sources import ForeignMemory, MemoryFormat, check_format
from corrtool.files.atomic import (
    inside,
    publish_directory,
    recover_directory,
    remove_partial,
)
from corrtool.files.staging import staged_beside
from corrtool.memory import MemoryWriter
from corrtool.project.artifacts import Artifact, artifact_path, check_name, is_name, read_artifact
from corrtool.project.directory import Project
from corrtool.project.locks import check_unlocked, lock_artifacts
from corrtool.project.manifests import Imported, Manifest, MemoryContents, Play, Reference
from corrtool.project.memory_files import memory_problems, seal_memory
from corrtool.runs.commands import this_command
from corrtool.runtime.console import Console
from corrtool.runtime.machine import describe_machine
from corrtool.states import StateSpec
from corrtool.tasks import Task, probe

_OPENERS = {"minari": open_minari, "npz": open_npz}


class ImportedMemory(TypedDict):
    """What ``import memory --json`` prints; ``state`` as ``export memory`` has it."""

    stage: str
    name: str
    task: str
    play: str
    format: str
    source: str
    source_sha256: str
    records: int
    episodes: int
    state: str
    artifacts: list[Reference]


@dataclass(frozen=True)
class _Import:
    """What is imported as what: all that was decided before anything is written."""

    project: Project
    console: Console
    foreign: ForeignMemory
    format: MemoryFormat
    task: Task
    spec: StateSpec
    actions: int
    name: str
    play: Play


def import_memory(
    project: Project,
    console: Console,
    source: Path,
    *,
    format: MemoryFormat,
    task: str,
    name: str | None = None,
    play: Play | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> ImportedMemory:
    """Make a memory of the project from a file of another tool.

    Args:
        source: the file; of Minari the directory of a dataset, or its id.
        name: of the memory; by default the one in the file, or the file's own.
        play: who played; by default what the file says.

    Raises:
        ArtifactError: the file is missing or damaged, or does not fit the task.
        UsageError: it is not known who played, or another memory has the name.
    """
    check_format(format)
    of_task = project.task(task)
    spec, actions = probe(of_task)
    with _OPENERS[format](source, spec, actions) as foreign:
        _check_task(foreign, of_task)
        if not foreign.steps:
            raise ArtifactError(f"{foreign.path} holds no transition", "give another one")
        name = check_name(name or _name_of(foreign, source))
        who = _who_played(foreign, play)
        job = _Import(project, console, foreign, format, of_task, spec, actions, name, who)
        if dry_run:
            check_unlocked(project.root, [("memory", name)])
            return _result(job, _records(job), "planned", [])
        return _write(job, overwrite=overwrite)


def _name_of(foreign: ForeignMemory, source: Path) -> str:
    described = foreign.description.get("name")
    if isinstance(described, str) and is_name(described):
        return described
    name = re.sub(r"[^A-Za-z0-9._-]", "_", source.stem if source.suffix == ".npz" else source.name)
    return name.lstrip("._-") or "imported"


def _who_played(foreign: ForeignMemory, given: Play | None) -> Play:
    said: Any = foreign.description.get("play")
    known: Play | None = said if said in ("random", "agent") else None
    if given is None and known is None:
        raise UsageError(
            f"{foreign.path} does not say who played", "give --play random or --play agent"
        )
    if given is not None and known is not None and given != known:
        raise UsageError(
            f"{foreign.path} says that it is of {known} play", f"leave out --play {given}"
        )
    play = given or known
    assert play is not None
    return play


def _check_task(foreign: ForeignMemory, task: Task) -> None:
    """Raise :class:`ArtifactError` where the file says that it is of another task."""
    said = foreign.description
    if "task_sha256" not in said or task.is_compatible_with(said["task_sha256"], said.get("task")):
        return
    other = said.get("task")
    named = other.get("id") if isinstance(other, dict) else "another task"
    views = other.get("views") if isinstance(other, dict) else None
    shown = " ".join(map(str, [named, *(views if isinstance(views, list) else [])]))
    raise ArtifactError(
        f"{foreign.path} was played on {shown} with other preprocessing or views than the "
        f"{task.role} task, which is {task}",
        "give the other --task, or a project with the same task",
    )


def _records(job: _Import) -> int:
    """The number of its transitions, after reading and checking all of them."""
    return sum(len(episode.actions) - episode.context for episode in job.foreign.episodes)


def _write(job: _Import, *, overwrite: bool) -> ImportedMemory:
    """Write the memory beside its place, and move it there."""
    root = job.project.root
    with lock_artifacts(root, [("memory", job.name)]):
        final = artifact_path(root, "memory", job.name)
        remove_partial(final.parent, f"{final.name}.")
        recover_directory(final)
        with staged_beside(inside(root, final), directory=True) as staged:
            contents = _write_rows(job, staged)
            manifest = seal_memory(staged, _manifest(job, contents))
            made = Artifact("memory", job.name, final, manifest)
            if final.exists() and not overwrite:
                _check_equal(made)
                state = "there already"
            else:
                publish_directory(staged, final)
                state = "written"
    return _result(job, contents["records"], state, [made.reference()])


def _write_rows(job: _Import, staged: Path) -> MemoryContents:
    writer = MemoryWriter(staged, job.spec, 1)
    title = f"import {job.name}: writing the memory"
    with job.console.transient_progress(title, job.foreign.steps, "steps") as writing:
        for episode in job.foreign.episodes:
            writer.add_rows(to_rows(episode, job.spec))
            writing.advance(len(episode.actions))
    return writer.finish()


def _check_equal(made: Artifact) -> None:
    """Check that the memory in the place of ``made`` is the same.

    Raises :class:`UsageError` where it is another, or is damaged.
    """
    root = made.path.parents[1]
    try:
        there = read_artifact(root, "memory", made.name)
        same = all(there.manifest.get(k) == made.manifest.get(k) for k in _IDENTITY)
        same = same and not memory_problems(there.path, there.manifest)
    except ArtifactError:
        same = False
    if not same:
        raise UsageError(
            f"{made} exists and holds something else",
            "choose another --name, or --overwrite it",
        )


_IDENTITY = ("sha256", "task_sha256", "play", "actions", "states", "records")


def _manifest(job: _Import, contents: MemoryContents) -> Manifest:
    foreign = job.foreign
    imported: Imported = {
        "format": job.format,
        "file": foreign.path.name,
        "sha256": foreign.sha256,
        "episodes": foreign.count,
    }
    for key in ("name", "sha256"):
        if isinstance(said := foreign.description.get(key), str):
            imported[f"memory_{key}"] = said  # type: ignore[literal-required]
    described = {
        "name": job.name,
        "created": datetime.now(UTC).isoformat(),
        "stage": "import",
        "settings": {},
        "options": {},
        "tasks": {job.task.role: job.task.to_json()},
        "parents": {},
        "machine": describe_machine(torch.device("cpu")),
        "command": this_command("import"),
        "role": job.task.role,
        "task_sha256": job.task.sha256,
        "play": job.play,
        "actions": job.actions,
        "imported": imported,
        **contents,
    }
    if type(seed := foreign.description.get("seed")) is int:
        described["seed"] = seed
    return cast(Manifest, described)


def _result(job: _Import, records: int, state: str, artifacts: list[Reference]) -> ImportedMemory:
    return {
        "stage": "import",
        "name": job.name,
        "task": job.task.role,
        "play": job.play,
        "format": job.format,
        "source": str(job.foreign.path),
        "source_sha256": job.foreign.sha256,
        "records": records,
        "episodes": job.foreign.count,
        "state": state,
        "artifacts": artifacts,
    }
