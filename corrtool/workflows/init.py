"""Making a project.

Both tasks are played and every network is built, so that what a later stage would refuse is refused
here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from corrtool.errors import UsageError
from corrtool.pretrained import adopt, shipped_for
from corrtool.project.artifacts import Artifact
from corrtool.project.directory import Project, create_project
from corrtool.project.manifests import Reference
from corrtool.settings.base import Settings
from corrtool.settings.resolve import resolve
from corrtool.states import StateSpec
from corrtool.tasks import parse_task
from corrtool.tasks.trust import module_of, trust, untrusted_origin
from corrtool.workflows.pair import TriedTask, check_pair, try_task


@dataclass(frozen=True)
class NamedTask:
    """A task as whoever makes a project names it.

    An environment's id, views as written, keyword arguments.
    """

    id: str
    views: Sequence[str] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


class TaskTried(TypedDict):
    """A task as it was played.

    Attributes:
        states: kind, frame shape and stack.
        actions: how many there are.
        notes: what was found that one should know.
    """

    task: str
    states: dict[str, Any]
    actions: int
    notes: list[str]


class InitResult(TypedDict):
    """What ``init --json`` prints.

    Attributes:
        project: its directory.
        tasks: by role.
        warnings: what will need an option of some stage.
        pretrained: the trained weights that were copied in.
    """

    project: str
    tasks: dict[str, TaskTried]
    warnings: list[str]
    pretrained: list[Reference]


@dataclass(frozen=True)
class NewProject:
    """A project that was made, and what was found on the way.

    Attributes:
        tried: its tasks as they were played, by role.
        warnings: what will need an option of some stage.
        adopted: the trained weights that were copied in.
    """

    project: Project
    tried: dict[str, TriedTask]
    warnings: list[str]
    adopted: list[Artifact]

    def to_json(self) -> InitResult:
        """As ``init --json`` prints it."""
        return {
            "project": str(self.project.root),
            "tasks": {
                role: {
                    "task": str(of.task),
                    "states": of.states.to_json(),
                    "actions": of.actions,
                    "notes": of.notes,
                }
                for role, of in self.tried.items()
            },
            "warnings": self.warnings,
            "pretrained": [artifact.reference() for artifact in self.adopted],
        }


def init(
    directory: Path,
    source: NamedTask,
    target: NamedTask,
    preprocessing: dict[str, Any],
    *,
    pretrained: bool = False,
    overwrite: bool = False,
) -> NewProject:
    """Try both tasks, then write ``corrtool.toml``.

    Args:
        preprocessing: of both tasks; what is None is not given.
        pretrained: copy in the trained weights that come with corrtool for these tasks.
        overwrite: replace the ``corrtool.toml`` of a project that exists.

    Raises:
        UsageError: a task cannot be made, the two do not fit each other, or the directory is a
            project already.
    """
    tables: dict[str, dict[str, Any]] = {}
    copies: dict[str, Path] = {}
    for role, named in (("source", source), ("target", target)):
        tables[role] = {
            "id": named.id,
            "views": [_local_view(view, copies) for view in named.views],
            "kwargs": named.kwargs,
            "preprocessing": {
                name: value for name, value in preprocessing.items() if value is not None
            },
        }
    tried = {}
    for role, table in tables.items():
        local = {**table, "views": [_original_path(view, copies) for view in table["views"]]}
        trust(table["id"])  # whoever says the name of a module wants it
        tried[role] = try_task(parse_task(role, local, Path()))
    warnings = check_pair(tried["source"], tried["target"], _default_settings)
    warnings += _relative_modules({table["id"] for table in tables.values()})
    shipped = shipped_for(tried["source"].task, tried["target"].task) if pretrained else []
    if pretrained and not shipped:
        raise UsageError("no weights come with corrtool for these tasks", "leave --pretrained out")
    project = create_project(directory, tables, copies, overwrite=overwrite)
    adopted = [adopt(project, artifact.kind, artifact.name) for artifact in shipped]
    return NewProject(project, tried, warnings, adopted)


def _relative_modules(identifiers: set[str]) -> list[str]:
    """A warning for each module that is found from this directory only, by a relative path."""
    warnings = []
    for module in sorted({module_of(identifier) or "" for identifier in identifiers} - {""}):
        origin = untrusted_origin(module)
        for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep):
            path = Path(entry)
            if origin is None or not entry or path.is_absolute():
                continue
            if origin.resolve().is_relative_to(path.resolve()):
                warnings.append(
                    f"{module} was found through {entry} of PYTHONPATH, where commands in another "
                    f"directory do not look: write it as {path.resolve()}"
                )
    return warnings


def _default_settings(settings_class: type[Settings], states: StateSpec) -> Settings:
    """A stage's settings where no project says others yet."""
    return resolve(
        settings_class,
        preset="default",
        state_kind=states.settings_kind,
        project_values={},
        given={},
    )


def _local_view(view: str, copies: dict[str, Path]) -> str:
    """``affine:/some/map.json`` → ``affine:map.json``, to be copied into the project."""
    if not view.startswith("affine:"):
        return view
    path = Path(view.removeprefix("affine:"))
    if path.name in copies and copies[path.name] != path:
        raise UsageError(f"two affine views are called {path.name}", "rename one of the files")
    copies[path.name] = path
    return f"affine:{path.name}"


def _original_path(view: str, copies: dict[str, Path]) -> str:
    return f"affine:{copies[view.removeprefix('affine:')]}" if view.startswith("affine:") else view
