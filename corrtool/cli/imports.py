"""``corrtool import``: what comes from elsewhere, a subcommand for each kind of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corrtool.cli.options import (
    JsonFlag,
    ProjectOption,
    QuietFlag,
    check_variables,
    common_option,
    field_option,
)
from corrtool.cli.summaries import SUMMARIES
from corrtool.settings.common import CommonOptions
from corrtool.settings.exchange import ImportQSettings, QFormat, TaskRole

Q_SUMMARY = (
    "Import a Q-function that another library trained: Stable-Baselines3, CleanRL, or any file of "
    "weights with a mapping. Nothing in the file is executed."
)


def add(app: typer.Typer) -> None:
    """Add the subcommands."""
    group = typer.Typer(help=SUMMARIES["import"], no_args_is_help=True)
    group.command("q", help=Q_SUMMARY)(import_q)
    app.add_typer(group, name="import")


def import_q(
    file: Annotated[Path, typer.Argument(help="File to read.", metavar="FILE")],
    format: Annotated[QFormat, field_option(ImportQSettings, "format", "from", show_default=False)],
    mapping: Annotated[
        Path | None,
        typer.Option(
            help="JSON or TOML file for --from torch: corrtool's name of each weight, and its name "
            "in the file.",
            metavar="FILE",
        ),
    ] = None,
    task: Annotated[TaskRole, field_option(ImportQSettings, "task")] = "source",
    preprocessing: Annotated[str | None, field_option(ImportQSettings, "preprocessing")] = None,
    gamma: Annotated[float | None, field_option(ImportQSettings, "gamma")] = None,
    clip_rewards: Annotated[bool | None, field_option(ImportQSettings, "clip_rewards")] = None,
    project: ProjectOption = None,
    seed: Annotated[
        int | None,
        common_option(
            "seed",
            help="Seed that the agent was trained with; recorded.",
            show_default="as in the file, else 0",
            show_envvar=False,
        ),
    ] = None,
    name: Annotated[str | None, common_option("name", show_default="that of the file")] = None,
    overwrite: Annotated[bool, common_option("overwrite")] = False,
    dry_run: Annotated[
        bool,
        common_option(
            "dry_run", help="Read and check the file, show what would be recorded, and do nothing."
        ),
    ] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Import a Q-function, and tell what it is."""
    check_variables()

    from corrtool.exchange.q_import import import_q as import_into
    from corrtool.exchange.q_result import import_q_lines
    from corrtool.project.directory import find_project
    from corrtool.runtime.console import Console

    result = import_into(
        find_project(project),
        file,
        ImportQSettings(format, task, preprocessing, gamma, clip_rewards),
        CommonOptions(seed=seed, name=name, overwrite=overwrite, dry_run=dry_run),
        mapping,
    )
    Console(quiet=quiet, json=json).result(result, import_q_lines(result))
