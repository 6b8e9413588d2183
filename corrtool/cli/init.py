"""``corrtool init``."""

from __future__ import annotations

import ast
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corrtool.cli.options import named_directory, preprocessing_parameters, with_more_parameters
from corrtool.cli.summaries import SUMMARIES
from corrtool.errors import UsageError

if TYPE_CHECKING:
    from corrtool.workflows.init import NewProject

_PANEL = "Preprocessing of both tasks (Atari games get the values of the DQN papers)"


def add(app: typer.Typer) -> None:
    """Add the subcommand."""
    command = with_more_parameters(init, preprocessing_parameters(_PANEL), before="pretrained")
    app.command("init", help=SUMMARIES["init"])(command)


def init(
    directory: Annotated[
        Path, typer.Argument(help="Directory to make.", metavar="DIR", parser=named_directory)
    ],
    source: Annotated[
        str, typer.Option(help="Gymnasium id of the source task; 'module:Id' imports the module.")
    ],
    target: Annotated[
        str | None,
        typer.Option(help="Gymnasium id of the target task.", show_default="the source's"),
    ] = None,
    source_view: Annotated[
        list[str] | None,
        typer.Option(help="View of the source task, such as rotate:90; repeat for several."),
    ] = None,
    target_view: Annotated[
        list[str] | None,
        typer.Option(
            help="View of the target task. Of pictures: rotate:DEG, flip:h, flip:v, invert, "
            "mosaic-rotate:DEG, shift:DX,DY, zoom:FACTOR, channels:1,0,…, camera:SEED, "
            "background:SEED, noise:SIGMA. Of signals: gain:FACTOR,…, pitch:FACTOR, delay:N, "
            "channels:1,0,…, noise:SIGMA. Of vectors: permute:1,0,…, scale:-1,…, orthogonal:SEED, "
            "pad:N, affine:FILE, noise:SIGMA. Of actions: actions:1,0,…. Repeat for several."
        ),
    ] = None,
    source_kwarg: Annotated[
        list[str] | None,
        typer.Option(
            help="Keyword argument of the source environment, name=value; the value as in JSON or "
            "Python, else a text.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    target_kwarg: Annotated[
        list[str] | None,
        typer.Option(
            help="Keyword argument of the target environment, name=value.", metavar="NAME=VALUE"
        ),
    ] = None,
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained",
            help="Copy in the trained weights that come with corrtool for these tasks.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option(help="Replace the corrtool.toml of a project that exists.")
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")
    ] = False,
    quiet: Annotated[bool, typer.Option(help="No messages.")] = False,
    **preprocessing: Any,
) -> None:
    """Name both tasks, and tell what came of trying them."""
    from corrtool.runtime.console import Console
    from corrtool.workflows.init import NamedTask
    from corrtool.workflows.init import init as init_project

    kwargs_of_target = target_kwarg or (None if target else source_kwarg)
    made = init_project(
        directory,
        NamedTask(source, source_view or [], dict(_keyword(text) for text in source_kwarg or [])),
        NamedTask(
            target or source,
            target_view or [],
            dict(_keyword(text) for text in kwargs_of_target or []),
        ),
        preprocessing,
        pretrained=pretrained,
        overwrite=overwrite,
    )
    console = Console(quiet=quiet, json=json_output)
    console.say_all([f"warning: {warning}" for warning in made.warnings])
    console.result(made.to_json(), _lines(made, directory))


def _lines(made: NewProject, directory: Path) -> list[str]:
    """The lines about the new project, and the next command."""
    lines = [f"project {made.project.root}"]
    for role, of in made.tried.items():
        lines.append(f"  {role}: {made.project.task(role)} ({of.states}; {of.actions} actions)")
        lines += [f"    {note}" for note in of.notes]
    lines += [f"  comes with corrtool: {artifact}" for artifact in made.adopted]
    return [*lines, f"next: cd {shlex.quote(str(directory))} && corrtool transfer"]


def _keyword(text: str) -> tuple[str, Any]:
    """``mode=1`` → ("mode", 1).

    The value is JSON, or as Python writes it (True, None, tables, lists), else a text.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"{text!r} is not a keyword argument", "write name=value")
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        parsed = _python_literal(value)
    if not _fits_toml(parsed):
        raise UsageError(
            f"{text!r} cannot be written into corrtool.toml",
            "give a number, a text, true, false, a list or a table with texts as names; nothing "
            "in it may be null or None",
        )
    return name, parsed


def _python_literal(text: str) -> Any:
    """``True``, ``None``, ``{'lanes': 2}`` or ``(1, 2)`` as Python means them; else the text."""
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
