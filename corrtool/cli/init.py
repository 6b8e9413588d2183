"""``corrtool init``."""

from __future__ import annotations

import ast
import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from corrtool.cli.options import named_directory, preprocessing_parameters, with_more_parameters
from corrtool.cli.summaries import SUMMARIES
from corrtool.errors import UsageError

_PANEL = "Preprocessing of both tasks (Atari games get the values of the DQN papers)"


def add(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command = with_more_parameters(init, preprocessing_parameters(_PANEL), before="pretrained")
    app.command("init", help=SUMMARIES["init"])(command)


def init(
    directory: Annotated[Path, typer.Argument(help="Directory to make.", metavar="DIR", parser=named_directory)],
    source: Annotated[str, typer.Option(help="Gymnasium id of the source task; 'module:Id' imports the module.")],
    target: Annotated[
        str | None, typer.Option(help="Gymnasium id of the target task.", show_default="the source's")
    ] = None,
    source_view: Annotated[
        list[str] | None,
        typer.Option(help="View of the source task, such as rotate:90; repeat for several."),
    ] = None,
    target_view: Annotated[
        list[str] | None,
        typer.Option(
            help="View of the target task: rotate:DEG, flip:h, flip:v, invert, mosaic-rotate:DEG, permute:1,0,…, scale:-1,…, affine:FILE."
        ),
    ] = None,
    source_kwarg: Annotated[
        list[str] | None,
        typer.Option(
            help="Keyword argument of the source environment, name=value; the value as in JSON or Python, else a text.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    target_kwarg: Annotated[
        list[str] | None,
        typer.Option(help="Keyword argument of the target environment, name=value.", metavar="NAME=VALUE"),
    ] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Copy in the trained weights that come with corrtool for these tasks.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace the corrtool.toml of a project that exists.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")
    ] = False,
    quiet: Annotated[bool, typer.Option(help="No messages.")] = False,
    **preprocessing: Any,
) -> None:
    """Writes ``corrtool.toml`` after playing both tasks and building every network: what a later stage would refuse is refused here."""
    from corrtool.pretrained import adopt, shipped_for
    from corrtool.project.directory import create_project
    from corrtool.runtime.console import Console
    from corrtool.settings.resolve import resolve
    from corrtool.tasks import parse_task
    from corrtool.tasks.trust import trust
    from corrtool.workflows.pair import check_pair, try_task

    tables: dict[str, dict[str, Any]] = {}
    copies: dict[str, Path] = {}
    for role, identifier, views, kwargs in (
        ("source", source, source_view, source_kwarg),
        ("target", target or source, target_view, target_kwarg or (None if target else source_kwarg)),
    ):
        tables[role] = {
            "id": identifier,
            "views": [_local_view(view, copies) for view in views or []],
            "kwargs": dict(_keyword(text) for text in kwargs or []),
            "preprocessing": {name: value for name, value in preprocessing.items() if value is not None},
        }
    seen = {}
    for role, table in tables.items():
        local = {**table, "views": [_original(view, copies) for view in table["views"]]}
        trust(table["id"])  # whoever types the name of a module wants it
        seen[role] = try_task(parse_task(role, local, Path()))
    warnings = check_pair(
        seen["source"],
        seen["target"],
        lambda settings_class, states: resolve(
            settings_class, preset="default", state_kind=states.settings_kind, project_values={}, given={}
        ),
    )
    shipped = shipped_for(seen["source"].task, seen["target"].task) if pretrained else []
    if pretrained and not shipped:
        raise UsageError("no weights come with corrtool for these tasks", "leave --pretrained out")
    project = create_project(directory, tables, copies, overwrite=overwrite)
    adopted = [adopt(project, artifact.kind, artifact.name) for artifact in shipped]
    result = {
        "project": str(project.root),
        "tasks": {
            role: {"task": str(of.task), "states": of.states.to_json(), "actions": of.actions, "notes": of.words}
            for role, of in seen.items()
        },
        "warnings": warnings,
        "pretrained": [artifact.reference() for artifact in adopted],
    }
    lines = [f"project {project.root}"]
    for role, of in seen.items():
        lines.append(f"  {role}: {project.task(role)} ({of.states}; {of.actions} actions)")
        lines += [f"    {word}" for word in of.words]
    lines += [f"  comes with corrtool: {artifact}" for artifact in adopted]
    agents = [f"collect --task source --policy q:{artifact.name}" for artifact in adopted if artifact.kind == "q"]
    lines += [f"next: cd {shlex.quote(str(directory))} && corrtool {(agents or ['train-dqn'])[0]}"]
    console = Console(quiet=quiet, json=json_output)
    console.say_all([f"warning: {warning}" for warning in warnings])
    console.result(result, lines)


def _keyword(text: str) -> tuple[str, Any]:
    """``mode=1`` → ("mode", 1): JSON where it is JSON, then what Python writes otherwise (True, None, tables, lists), else a text."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"{text!r} is no keyword argument", "write name=value")
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        parsed = _python_literal(value)
    if not _fits_toml(parsed):
        raise UsageError(
            f"{text!r} cannot be written into corrtool.toml",
            "give a number, a text, true, false, a list or a table with texts as names; nothing in it may be null or None",
        )
    return name, parsed


def _python_literal(text: str) -> Any:
    """``True``, ``None``, ``{'lanes': 2}`` or ``(1, 2)`` as Python means them; any other text as it is."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text
    if isinstance(value, tuple):
        return list(value)
    return value if value is None or isinstance(value, bool | dict | list) else text


def _fits_toml(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(name, str) and _fits_toml(item) for name, item in value.items())
    if isinstance(value, list):
        return all(map(_fits_toml, value))
    return isinstance(value, str | bool | int | float)


def _local_view(view: str, copies: dict[str, Path]) -> str:
    """``affine:/some/map.json`` → ``affine:map.json``, to be copied into the project."""
    if not view.startswith("affine:"):
        return view
    path = Path(view.removeprefix("affine:"))
    if path.name in copies and copies[path.name] != path:
        raise UsageError(f"two affine views are called {path.name}", "rename one of the files")
    copies[path.name] = path
    return f"affine:{path.name}"


def _original(view: str, copies: dict[str, Path]) -> str:
    return f"affine:{copies[view.removeprefix('affine:')]}" if view.startswith("affine:") else view
