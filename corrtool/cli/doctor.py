"""``corrtool doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corrtool.cli.options import JsonFlag, project_option
from corrtool.cli.summaries import SUMMARIES


def add(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command("doctor", help=SUMMARIES["doctor"])(doctor)


def doctor(
    project: Annotated[
        Path | None,
        project_option(
            "Directory whose disk and file system are tried, and whose tasks, if it is a project.",
            show_default="the current directory",
            show_envvar=False,
        ),
    ] = None,
    json: JsonFlag = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print nothing; the exit code still tells.")
    ] = False,
) -> None:
    """Try each thing, and report the outcome."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from corrtool.runtime.console import Console

    console = Console(quiet=quiet, json=json)
    console.say("doctor: loading PyTorch, then trying each thing")

    from corrtool import __version__
    from corrtool.errors import UsageError, check_encoding
    from corrtool.project.directory import PROJECT_FILE, Project
    from corrtool.workflows.doctor import DoctorResult, check_machine, check_tasks

    try:
        directory = (project or Path()).resolve()
    except (OSError, RuntimeError):
        raise UsageError(
            f"there is no directory {project or Path()}", "name one with --project"
        ) from None
    check_encoding(str(directory))
    if not directory.is_dir():
        raise UsageError(f"there is no directory {directory}", "name one with --project")
    checks = list(check_machine(directory))
    if (directory / PROJECT_FILE).exists():
        checks += check_tasks(Project(directory))
    works = all(check.works for check in checks)
    table = Table(
        title=f"corrtool {__version__}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in ("what", "works", "found"):
        table.add_column(column, overflow="fold")
    for check in checks:
        works_or_not = Text("yes", "green") if check.works else Text("no", "red")
        table.add_row(check.subject, works_or_not, Text(check.says))
    result: DoctorResult = {
        "corrtool": __version__,
        "works": works,
        "checks": [
            {"subject": check.subject, "works": check.works, "says": check.says} for check in checks
        ],
    }
    console.result(result, table)
    if not works:
        raise typer.Exit(1)
