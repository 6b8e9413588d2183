"""The state of a project for ``status`` and ``verify``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, TypedDict, cast

from corrtool.errors import ArtifactError
from corrtool.project.artifacts import (
    KIND_LABELS,
    KINDS,
    artifact_names,
    artifact_problems,
    is_foreign,
    read_artifact,
    unchecked_artifact_path,
)
from corrtool.project.directory import Project
from corrtool.project.locks import lock_holder
from corrtool.project.manifests import Imported, Manifest, Play, Reference, play_of_memory
from corrtool.project.memory_files import stray_files
from corrtool.runs.checkpoint_files import checkpoint_paths
from corrtool.runs.commands import resume_command
from corrtool.runs.records import finished_run, read_record, run_directories, run_problems
from corrtool.runs.results import EvaluateResult


class ArtifactStatus(TypedDict):
    """An artifact as ``status`` lists it.

    Attributes:
        state: ``"whole"``, ``"damaged"``, or ``"foreign"`` for weights that something else made.
        imported: of weights from elsewhere, the file that they come from.
        play: of a memory, who played it: ``"random"``, ``"agent"``, or None where that is unknown.
        strangers: files in a memory that do not belong to it, which is no damage either.
    """

    kind: str
    name: str
    path: str
    sha256: str | None
    bytes: int
    records: int | None
    play: Play | None
    parameters: int | None
    parents: dict[str, Reference]
    settings: dict[str, Any]
    seed: int | None
    created: str | None
    summary: Any
    imported: Imported | None
    state: str
    problems: list[str]
    strangers: list[str]


class UnfinishedRun(TypedDict):
    """A run that goes on right now, in ``process``, or was interrupted, where that is None.

    Attributes:
        resumable: whether ``command`` goes on with it.
        changed: its inputs that are gone, or were replaced: it cannot go on from others.
    """

    stage: str
    name: str
    command: str
    resumable: bool
    changed: list[str]
    process: str | None


class PlayedGames(EvaluateResult):
    """What a finished evaluation found, and the very artifacts that played."""

    parents: dict[str, Reference]


def describe_artifacts(project: Project) -> list[ArtifactStatus]:
    """Every artifact of a project, checked byte by byte."""
    described: list[ArtifactStatus] = []
    for kind in KINDS:
        for name in artifact_names(project.root, kind):
            path = unchecked_artifact_path(project.root, kind, name)
            foreign = is_foreign(project.root, kind, name)
            problems = [] if foreign else artifact_problems(project.root, kind, name)
            manifest: Manifest = {}
            with contextlib.suppress(ArtifactError):
                manifest = read_artifact(project.root, kind, name).manifest
            described.append(
                {
                    "kind": kind,
                    "name": name,
                    "path": project.relative(path),
                    "sha256": manifest.get("sha256"),
                    "bytes": _bytes(path),
                    "records": manifest.get("records"),
                    "play": play_of_memory(manifest) if kind == "memory" else None,
                    "parameters": manifest.get("parameters"),
                    "parents": manifest.get("parents", {}),
                    "settings": manifest.get("settings", {}),
                    "seed": manifest.get("seed"),
                    "created": manifest.get("created"),
                    "summary": None if problems else manifest.get("summary"),
                    "imported": manifest.get("imported"),
                    "state": "foreign" if foreign else "damaged" if problems else "whole",
                    "problems": [
                        str(problem).replace(f"{project.root}/", "") for problem in problems
                    ],
                    "strangers": [project.relative(stray) for stray in stray_files(path)]
                    if kind == "memory"
                    else [],
                }
            )
    return described


def foreign_file_lines(artifacts: list[ArtifactStatus]) -> list[str]:
    """A line for each artifact that is foreign, or holds files that do not belong to it."""
    lines = [
        f"{a['path']} was not made by corrtool, and is left alone"
        for a in artifacts
        if a["state"] == "foreign"
    ]
    for a in artifacts:
        if a["strangers"]:
            names = ", ".join(name.removeprefix(f"{a['path']}/") for name in a["strangers"])
            lines.append(
                f"{a['path']} holds files that do not belong to it, and do no harm: {names}"
            )
    return lines


def evaluations(project: Project) -> list[PlayedGames]:
    """The results of all finished evaluations, the oldest first.

    Those that cannot be read are left to :func:`damaged_runs`.
    """
    found = []
    for directory in run_directories(project.root, "evaluate"):
        try:
            finished = finished_run(directory)
        except ArtifactError:
            continue
        if finished is not None:
            record, result = finished[1], cast(EvaluateResult, finished[1]["result"])
            named: PlayedGames = {
                **result,
                "name": record["name"],
                "settings": record["settings"],
                "parents": record["parents"],
            }
            found.append((record["created"], named))
    return [result for _, result in sorted(found, key=lambda one: one[0])]


def damaged_runs(project: Project) -> list[str]:
    """Problems of the records, metrics and checkpoints of all runs, a line each.

    Not of those that are running.
    """
    problems = []
    for directory in run_directories(project.root):
        found = run_problems(directory)
        if found and _process(project, directory) is None:  # else its files are being written
            problems += found
    return [str(problem).replace(f"{project.root}/", "") for problem in problems]


def unfinished_runs(project: Project) -> list[UnfinishedRun]:
    """Runs that go on right now or were interrupted."""
    runs: list[UnfinishedRun] = []
    for directory in run_directories(project.root):
        try:
            record = read_record(directory)
        except ArtifactError:
            continue
        if record["state"] == "running":
            changed = [
                f"{KIND_LABELS[parent['kind']]} {parent['name']}"
                for parent in record["parents"].values()
                if not _is_here(project, parent)
            ]
            runs.append(
                {
                    "stage": record["stage"],
                    "name": record["name"],
                    "command": resume_command(project.root, record),
                    "resumable": bool(checkpoint_paths(directory)) and not changed,
                    "changed": changed,
                    "process": _process(project, directory),
                }
            )
    return runs


def _is_here(project: Project, parent: Reference) -> bool:
    """True if an artifact of this name is still the same."""
    with contextlib.suppress(ArtifactError):
        found = read_artifact(project.root, parent["kind"], parent["name"])
        return found.sha256 == parent["sha256"]
    return False


def _process(project: Project, directory: Path) -> str | None:
    """The process that is writing the run in ``directory`` right now, or None."""
    try:
        locks = read_record(directory)["locks"]
    except ArtifactError:
        return None
    return lock_holder(project.root, *locks[0]) if locks else None


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
