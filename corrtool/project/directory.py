"""The project directory: ``corrtool.toml``, memories, weights and runs."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

from corrtool.errors import ArtifactError, UsageError, check_encoding
from corrtool.files.atomic import regular_file, write_atomic
from corrtool.runtime.remembering import remembered
from corrtool.settings.stages import STAGE_INPUTS, STAGE_SETTINGS, TASK_ROLES
from corrtool.tasks import Task, parse_task

PROJECT_FILE = "corrtool.toml"
OWN_DIRECTORIES = ("memories", "weights", "runs", "report", "sweeps", "pulled")
ENVIRONMENT_VARIABLE = "CORRTOOL_PROJECT"
_COMMON_DEFAULTS = ("seed", "device", "preset")


class Project:
    """An opened project directory.

    Raises:
        ArtifactError: the directory is not a project.
        UsageError: ``corrtool.toml`` cannot be understood.
    """

    def __init__(self, root: Path) -> None:
        try:
            self.root = root.resolve()
        except (OSError, RuntimeError):
            raise ArtifactError(f"{root}: its links lead nowhere", "remove them") from None
        check_encoding(str(self.root))
        path = self.root / PROJECT_FILE
        try:
            self._table = tomllib.loads(
                regular_file(path).read_text(encoding="utf-8-sig")
            )  # some editors begin with a mark
        except FileNotFoundError:
            raise ArtifactError(
                f"{self.root} is not a corrtool project", "make one with 'corrtool init DIR …'"
            ) from None
        except OSError as error:
            raise ArtifactError(f"cannot read {path}: {error.strerror}") from None
        except (
            ValueError,
            RecursionError,
        ) as error:  # a TOMLDecodeError, wrong bytes, a number of thousands of digits, …
            raise UsageError(f"{path} is not valid TOML: {error}") from None
        known = {*TASK_ROLES, "defaults", *STAGE_SETTINGS}
        for name, value in self._table.items():
            if name not in known:
                raise UsageError(
                    f"{path} has no section {name!r}", f"it knows {', '.join(sorted(known))}"
                )
            if not isinstance(value, dict):
                raise UsageError(
                    f"{path}: {name} is not a section", f"write [{name}] above its settings"
                )
        for name in self.defaults:
            if name not in _COMMON_DEFAULTS:
                raise UsageError(
                    f"[defaults] has no setting {name!r}", f"it knows {', '.join(_COMMON_DEFAULTS)}"
                )

    @property
    def defaults(self) -> dict[str, Any]:
        """The ``[defaults]`` of ``corrtool.toml``: seed, device, preset."""
        return self._table.get("defaults", {})  # type: ignore[no-any-return]

    def stage_values(self, stage: str) -> dict[str, Any]:
        """The settings in the stage's own section of ``corrtool.toml``."""
        return {
            key: value
            for key, value in self._table.get(stage, {}).items()
            if not _names_input(stage, key)
        }

    def stage_inputs(self, stage: str) -> dict[str, str]:
        """The artifacts that the stage's own section of ``corrtool.toml`` names, by use.

        Raises :class:`UsageError`.
        """
        named: dict[str, str] = {}
        for key, value in self._table.get(stage, {}).items():
            if not _names_input(stage, key):
                continue
            use, where = key.replace("-", "_"), f"[{stage}] {key} in {PROJECT_FILE}"
            if use in named:
                raise UsageError(f"{where} is given twice", "keep one of them")
            if not isinstance(value, str):
                raise UsageError(
                    f"{where} is {value!r}", "give it the name of an artifact, in quotes"
                )
            named[use] = value
        return named

    def task(self, role: str) -> Task:
        """The ``source`` or the ``target`` task."""
        if role not in self._table:
            raise UsageError(f"{self.root / PROJECT_FILE} has no section [{role}]")
        table = self._table[role]
        return remembered(("task", self.root, role), lambda: parse_task(role, table, self.root))

    def task_tables(self) -> dict[str, dict[str, Any]]:
        """The tables of the tasks in ``corrtool.toml``, by role, as they are written there."""
        return {role: self._table[role] for role in TASK_ROLES if role in self._table}

    def relative(self, path: Path) -> str:
        """A path of the project as it is shown and recorded."""
        return path.relative_to(self.root).as_posix()


def _names_input(stage: str, key: str) -> bool:
    return key.replace("-", "_") in STAGE_INPUTS.get(stage, ())


def check_output(path: Path, flag: str, project: Project) -> None:
    """Check that an output file of a command can be written, before anything else is done.

    A regular file that is there will be replaced.

    Raises:
        UsageError: the path cannot be a file, cannot be written, or belongs to the project's own
            files.
    """
    parent = path.parent
    if not path.name or path.is_dir():
        raise UsageError(f"{flag} {str(path)!r} names no file", "give it the name of a file")
    if not parent.is_dir():
        raise UsageError(f"{flag}: there is no directory {parent}", "make it first")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError(f"{flag} {path} is a link or a device", "give it the name of a file")
    if not os.access(parent, os.W_OK):
        raise UsageError(f"{flag}: cannot write into {parent}", "give it another place")
    inside = parent.resolve() / path.name
    if inside.is_relative_to(project.root) and (
        inside.name == PROJECT_FILE or inside.relative_to(project.root).parts[0] in OWN_DIRECTORIES
    ):
        raise UsageError(
            f"{flag} {path} is one of the project's own files", "give it another place"
        )


def find_project(given: Path | None) -> Project:
    """The project of ``--project``, ``$CORRTOOL_PROJECT``, or the nearest parent that is one.

    Raises:
        ArtifactError: there is none.
    """
    if given is None and os.environ.get(ENVIRONMENT_VARIABLE):
        given = Path(os.environ[ENVIRONMENT_VARIABLE])
    if given is not None:
        return Project(given)
    here = Path.cwd()
    for directory in (here, *here.parents):
        if (directory / PROJECT_FILE).is_file():
            return Project(directory)
    raise ArtifactError(
        "no corrtool project here",
        "run inside one, give --project DIR, or make one with 'corrtool init DIR …'",
    )


def create_project(
    root: Path,
    tables: dict[str, dict[str, Any]],
    copies: dict[str, Path],
    *,
    overwrite: bool = False,
) -> Project:
    """Write a new project.

    Args:
        tables: the ``source`` and ``target`` tables of ``corrtool.toml``.
        copies: files that the views read, copied into the project under their names.
        overwrite: replace the ``corrtool.toml`` of a project that exists; artifacts stay.

    Raises:
        UsageError: the directory is a project already, or a task cannot be understood.
    """
    for place in (root, *root.parents):
        if place.exists() and not place.is_dir():
            raise UsageError(f"{place} is a file", "give another directory")
    if (root / PROJECT_FILE).exists() and not overwrite:
        raise UsageError(
            f"{root} is a project already",
            "give another directory, or --overwrite to replace its corrtool.toml",
        )
    for name, path in copies.items():
        root.mkdir(parents=True, exist_ok=True)
        copy, content = root / name, path.read_bytes()
        if (
            copy.exists()
            and not copy.samefile(path)
            and not overwrite
            and copy.read_bytes() != content
        ):
            raise UsageError(
                f"{copy} is there already", "rename the view's file, or --overwrite it"
            )
        if not copy.exists() or not copy.samefile(path):
            write_atomic(copy, content)
    for role, table in tables.items():
        parse_task(role, table, root)
    text = project_text(tables)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"a keyword argument cannot be written into {PROJECT_FILE}: {error}"
        ) from None
    write_atomic(root / PROJECT_FILE, text.encode())
    return Project(root)


def project_text(tables: dict[str, dict[str, Any]]) -> str:
    """A ``corrtool.toml`` with these tables of tasks, by role."""
    text = (
        "# Tasks of this project; edit freely. Defaults for a stage go into a section of its name, "
        "such as [learn-corr].\n"
    )
    for role, table in tables.items():
        text += f"\n[{role}]\n"
        nested = {}
        for key, value in table.items():
            if isinstance(value, dict):
                nested[key] = value
            else:
                text += f"{_key(key)} = {_toml(value)}\n"
        for key, values in nested.items():
            if values:
                text += f"\n[{role}.{key}]\n" + "".join(
                    f"{_key(name)} = {_toml(value)}\n" for name, value in values.items()
                )
    return text


def _toml(value: Any) -> str:
    """A TOML value; strings, booleans and numbers are written as in JSON, tables inline."""
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{_key(name)} = {_toml(item)}" for name, item in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    """A name as TOML takes it.

    In quotes, unless it is made of nothing but ASCII letters, digits, '_' and '-'.
    """
    return (
        name
        if name.isascii() and name.replace("-", "_").isidentifier()
        else json.dumps(name, ensure_ascii=False)
    )
