"""What ``status`` and ``verify`` say of a project."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from corrtool.errors import ArtifactError
from corrtool.project.artifacts import (
    KINDS,
    artifact_names,
    artifact_place,
    artifact_problems,
    read_artifact,
)
from corrtool.project.checkpoints import checkpoint_paths
from corrtool.project.directory import Project
from corrtool.project.locks import living_holder
from corrtool.project.records import read_record, run_directories, run_problems
from corrtool.settings import flag_name


def describe_artifacts(project: Project) -> list[dict[str, Any]]:
    """Every artifact with kind, name, path, size, parents, settings and state, after checking every byte of it."""
    described = []
    for kind in KINDS:
        for name in artifact_names(project.root, kind):
            path = artifact_place(project.root, kind, name)
            problems = artifact_problems(project.root, kind, name)
            try:
                manifest = read_artifact(project.root, kind, name).manifest
            except ArtifactError:
                manifest = {}
            described.append(
                {
                    "kind": kind,
                    "name": name,
                    "path": project.relative(path),
                    "sha256": manifest.get("sha256"),
                    "bytes": _bytes(path),
                    "records": manifest.get("records"),
                    "parameters": manifest.get("parameters"),
                    "parents": manifest.get("parents", {}),
                    "settings": manifest.get("settings", {}),
                    "seed": manifest.get("seed"),
                    "created": manifest.get("created"),
                    "summary": None if problems else manifest.get("summary"),
                    "state": "damaged" if problems else "whole",
                    "problems": [str(problem).replace(f"{project.root}/", "") for problem in problems],
                }
            )
    return described


def evaluations(project: Project) -> list[dict[str, Any]]:
    """The results of all finished evaluations, the oldest first; those that cannot be read are left to :func:`damaged_runs`."""
    found = []
    for directory in run_directories(project.root, "evaluate"):
        try:
            record = read_record(directory)
        except ArtifactError:
            continue
        if record["state"] == "finished":
            found.append((record["created"], record["result"] | {"name": record["name"]}))
    return [result for _, result in sorted(found, key=lambda one: one[0])]


def damaged_runs(project: Project) -> list[str]:
    """What is wrong with the records, metrics and checkpoints of the project's runs, but for those that go on, a line each."""
    going_on = {(run["stage"], run["name"]) for run in unfinished_runs(project) if run["process"]}
    still = [path for path in run_directories(project.root) if (path.parent.name, path.name) not in going_on]
    problems = [problem for directory in still for problem in run_problems(directory)]
    return [str(problem).replace(f"{project.root}/", "") for problem in problems]


def unfinished_runs(project: Project) -> list[dict[str, Any]]:
    """Runs that go on right now, in ``process``, or were interrupted, where ``process`` is None."""
    runs = []
    for directory in run_directories(project.root):
        try:
            record = read_record(directory)
        except ArtifactError:
            continue
        if record.get("state") == "running":
            runs.append(
                {
                    "stage": record["stage"],
                    "name": record["name"],
                    "command": _resume_command(record),
                    "resumable": bool(checkpoint_paths(directory)),
                    "process": living_holder(project.root, *record["locks"][0]) if record.get("locks") else None,
                }
            )
    return runs


def _resume_command(record: dict[str, Any]) -> str:
    """The command that goes on with a run, with its name and inputs spelt out: newer ones may have been made since."""
    try:
        words = shlex.split(record["command"])
    except ValueError:  # sealed by somebody else
        return str(record["command"])
    if record["stage"] not in words[1:2]:
        return str(record["command"])  # `reproduce` and `quickstart` name everything themselves
    flags = {"--name": record["name"]}
    if record["stage"] != "collect":  # its Q-function is named by --policy
        flags |= {_flag_of_input(record["stage"], use): parent["name"] for use, parent in record["parents"].items()}
    for flag, name in flags.items():
        if flag not in words and not any(word.startswith(f"{flag}=") for word in words):
            words += [flag, name]
    return shlex.join(words)


def _flag_of_input(stage: str, use: str) -> str:
    """``learn-corr``, ``source_memory`` → ``--source-memory``. ``train-model`` reads only one memory."""
    return "--memory" if stage == "train-model" else flag_name(use)


def _bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
