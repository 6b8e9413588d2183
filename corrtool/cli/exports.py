"""``corrtool export``: a group, with one subcommand for each thing that other programs take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from corrtool.cli.options import JsonFlag, ProjectOption, QuietFlag, check_variables
from corrtool.cli.summaries import SUMMARIES

if TYPE_CHECKING:
    from corrtool.project.directory import Project
    from corrtool.runtime.console import Console


def add(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(no_args_is_help=True)
    group.command("q", help="Write a Q-function: raw states of its task in, Q-values out.")(q)
    group.command(
        "policy",
        help="Write an agent with a correspondence, Q_S ∘ G_T and the map of the actions: raw "
        "states of the target in, values of its actions out.",
    )(policy)
    group.command("memory")(memory)
    app.add_typer(group, name="export", help=SUMMARIES["export"])


OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        help="File to write.",
        metavar="FILE",
        show_default="a file in the project's exports/",
    ),
]
OverwriteFlag = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")]
DryRunFlag = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")
]


def q(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Q-function to write.",
            metavar="[NAME]",
            show_default="the newest of the source task",
        ),
    ] = None,
    to: Annotated[
        Literal["onnx", "sb3", "torch"],
        typer.Option("--to", help="onnx, sb3 (a zip of weights) or torch (a .pt2 program)."),
    ] = "onnx",
    output: OutputOption = None,
    overwrite: OverwriteFlag = False,
    dry_run: DryRunFlag = False,
    project: ProjectOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Write a Q-function."""
    console, opened = _begin(project, json, quiet)

    from corrtool.exchange.export_result import export_lines
    from corrtool.workflows.export import export_q

    how: Any = {"to": to, "output": output, "overwrite": overwrite, "dry_run": dry_run}
    result = export_q(opened, console, name, **how)
    console.result(result, export_lines(result))


def policy(
    corr: Annotated[
        str | None,
        typer.Argument(
            help="Correspondence to write.", metavar="[CORR]", show_default="the newest"
        ),
    ] = None,
    from_q: Annotated[
        str | None,
        typer.Option(
            "--q",
            help="Q-function behind it.",
            show_default="the one that it was learnt with",
        ),
    ] = None,
    to: Annotated[
        Literal["onnx", "torch"],
        typer.Option("--to", help="onnx or torch (a .pt2 program)."),
    ] = "onnx",
    output: OutputOption = None,
    overwrite: OverwriteFlag = False,
    dry_run: DryRunFlag = False,
    project: ProjectOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Write an agent with a correspondence."""
    console, opened = _begin(project, json, quiet)

    from corrtool.exchange.export_result import export_lines
    from corrtool.workflows.export import export_policy

    how: Any = {"to": to, "output": output, "overwrite": overwrite, "dry_run": dry_run}
    result = export_policy(opened, console, corr, q=from_q, **how)
    console.result(result, export_lines(result))


def _begin(project: Path | None, json: bool, quiet: bool) -> tuple[Console, Project]:
    """The console and the project, and a word before torch is loaded."""
    from corrtool.project.directory import find_project
    from corrtool.runtime.console import Console

    check_variables()
    console, opened = Console(quiet=quiet, json=json), find_project(project)
    console.say("export: loading PyTorch and the networks")
    return console, opened


def memory(
    name: Annotated[str, typer.Argument(help="Memory to export.", metavar="NAME")],
    to: Annotated[
        Literal["minari", "npz"],
        typer.Option("--to", help="minari, a dataset (extra 'minari'), or npz, one file."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="The file; of minari the directory of all datasets.",
            metavar="PATH",
            show_default="NAME.npz; $MINARI_DATASETS_PATH or ~/.minari/datasets",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    dry_run: DryRunFlag = False,
    project: ProjectOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Write a replay memory as episodes of single frames, for other libraries."""
    check_variables()

    from corrtool.exchange.memory_export import export_memory
    from corrtool.project.directory import find_project
    from corrtool.runtime.console import Console

    console = Console(quiet=quiet, json=json)
    result = export_memory(
        find_project(project),
        console,
        name,
        to=to,
        output=output,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    lines = [
        f"memory {name}, {result['state']}: {result['path']}",
        f"{result['episodes']:,} episodes, {result['steps']:,} steps, of which "
        f"{result['records']:,} are records",
    ]
    if result["dataset"] is not None:
        lines.append(f"from Python: minari.load_dataset({result['dataset']!r})")
    console.result(result, lines)
