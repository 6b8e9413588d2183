"""``corrtool pull``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corrtool.cli.options import JsonFlag, QuietFlag, project_option
from corrtool.cli.summaries import SUMMARIES


def add(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command("pull", help=SUMMARIES["pull"])(pull)


def pull(
    repository: Annotated[
        str,
        typer.Argument(
            help="Repository of the Hub, OWNER/REPO or OWNER/REPO@REVISION: a branch, a tag or a "
            "commit.",
            metavar="REPO",
        ),
    ],
    project: Annotated[
        Path | None,
        project_option(
            "Project directory; one that is no project yet becomes one.", show_envvar=False
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace artifacts of the same names with other content."),
    ] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Download artifacts from the Hub."""
    from corrtool.exchange.hub import Repository
    from corrtool.exchange.hub_pull import pull as pull_artifacts
    from corrtool.project.directory import find_project
    from corrtool.runtime.console import Console

    wanted, console = Repository.parse(repository), Console(quiet=quiet, json=json)
    root = find_project(None).root if project is None else project
    result = pull_artifacts(root, wanted, console, overwrite=overwrite)
    new = {(reference["kind"], reference["name"]) for reference in result["new"]}
    lines = [
        f"{reference['kind']} {reference['name']}"
        + ("" if (reference["kind"], reference["name"]) in new else " was here already")
        for reference in result["artifacts"]
    ]
    made = "made the project" if result["made_project"] else "in"
    lines.append(f"{made} {result['project']}, from commit {result['commit']}")
    console.result(result, lines)
