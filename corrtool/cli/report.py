"""``corrtool report``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from corrtool.cli.options import JsonFlag, ProjectOption
from corrtool.cli.summaries import SUMMARIES
from corrtool.errors import UsageError


def add(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command("report", help=SUMMARIES["report"])(report)


def report(
    project: ProjectOption = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown",
            help="File for the tables as Markdown; replaced if it is there.",
            metavar="FILE",
        ),
    ] = None,
    append: Annotated[
        bool,
        typer.Option("--append", help="Keep what the Markdown file holds, and write after it."),
    ] = False,
    threshold: Annotated[
        list[float] | None,
        typer.Option(
            help="A mean return whose reaching the tables tell; may be repeated.",
            show_default="0, 10, 18 for Pong; else 25, 50, 90 % of the way from random play to the "
            "source agent, once both are evaluated",
        ),
    ] = None,
    json: JsonFlag = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing.")] = False,
) -> None:
    """Read the records and metrics of all finished runs."""
    from corrtool.project.directory import find_project
    from corrtool.runtime.console import Console
    from corrtool.workflows.report import report as write_report

    if append and markdown is None:
        raise UsageError("--append is for --markdown", "name the file with --markdown FILE")
    if not all(map(math.isfinite, threshold or [])):
        raise UsageError("--threshold is not a finite number", "give it a return, such as 18")
    opened = find_project(project)
    console = Console(quiet=quiet, json=json)
    result = write_report(
        opened,
        markdown,
        append=append,
        thresholds=tuple(sorted(set(threshold or []))),
        console=console,
    )
    lines = [*result["figures"], f"open {opened.root / result['report']} in a browser"]
    for damaged in result["left_out"]:
        console.say(f"left out: {damaged}")
    console.result(result, lines)
