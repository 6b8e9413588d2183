"""``corrtool status``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

HELP = "List every artifact of the project: kind, name, size, parents, settings, and whether it is whole."


def add(app: typer.Typer) -> None:
    """Adds the subcommand."""
    app.command("status", help=HELP)(status)


def status(
    project: Annotated[
        Path | None,
        typer.Option("--project", "-p", help="Project directory.", envvar="CORRTOOL_PROJECT", show_envvar=False),
    ] = None,
    settings: Annotated[bool, typer.Option("--settings", help="Show the settings of each artifact as well.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing; the exit code still tells.")] = False,
) -> None:
    """Reads every byte of every artifact."""
    from corrtool.project.directory import find_project
    from corrtool.project.overview import describe_artifacts, unfinished_runs
    from corrtool.reporting.console import Console

    opened = find_project(project)
    artifacts, runs = describe_artifacts(opened), unfinished_runs(opened)
    result = {
        "project": str(opened.root),
        "tasks": {role: str(opened.task(role)) for role in ("source", "target")},
        "artifacts": artifacts,
        "unfinished_runs": runs,
    }
    console = Console(quiet=quiet, json=json)
    console.result(result, _table(result, settings))
    if not json and not quiet:
        for run in runs:
            console.say(f"unfinished: {run['stage']} {run['name']}; the same command goes on with it: {run['command']}")


def _table(result: dict[str, Any], with_settings: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(f"{result['project']}\nsource: {result['tasks']['source']}   target: {result['tasks']['target']}"),
        title_justify="left",
    )
    for column in ("kind", "name", "size", "parents", *(["settings"] if with_settings else []), "state"):
        table.add_column(column, overflow="fold")
    for a in result["artifacts"]:
        size = (
            f"{a['records']:,} records"
            if a["records"] is not None
            else f"{a['parameters']:,} parameters"
            if a["parameters"] is not None
            else "?"
        )
        parents = "\n".join(f"{use.replace('_', ' ')} {parent['name']}" for use, parent in a["parents"].items())
        chosen = [" ".join(f"{name}={value}" for name, value in a["settings"].items())] if with_settings else []
        colour = "green" if a["state"] == "whole" else "red"
        table.add_row(
            a["kind"],
            a["name"],
            f"{size}\n{a['bytes'] / 1e6:,.1f} MB",
            parents or "–",
            *chosen,
            f"[{colour}]{a['state']}",
        )
    return table
