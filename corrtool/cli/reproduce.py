"""``corrtool reproduce``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from corrtool.cli.options import (
    ANY_TEXT,
    DeviceOption,
    JsonFlag,
    QuietFlag,
    common_option,
    project_option,
)
from corrtool.cli.stage_command import saying_results, suggesting
from corrtool.cli.summaries import SUMMARIES
from corrtool.settings.base import Preset
from corrtool.settings.common import CommonOptions
from corrtool.settings.resolve import load_preset


def add(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command("reproduce", help=SUMMARIES["reproduce"])(reproduce)


def reproduce(
    experiment: Annotated[
        Literal["experiment-1", "experiment-2"],
        typer.Argument(
            help="experiment-1 (source and target are the same) or experiment-2 (Pong rotated by "
            "90°).",
            metavar="EXPERIMENT",
        ),
    ],
    project: Annotated[
        Path | None,
        project_option(
            "Project directory; made if it is not there.",
            show_default="a directory named like the experiment",
            show_envvar=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of each cell.", min=1)] = 1,
    cell: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this cell and what is finetuned from it, or 'scratch' or 'reuse'; may be "
            "repeated.",
            show_default="every cell",
        ),
    ] = None,
    device: DeviceOption = None,
    preset: Annotated[
        str | None,
        common_option("preset", help="Sizes and settings to start from.", **ANY_TEXT),
    ] = None,
    from_scratch: Annotated[
        bool,
        typer.Option(
            "--from-scratch",
            help="Learn Q_S and F here, instead of taking those that come with corrtool.",
        ),
    ] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Run the cells, and draw the report."""
    from corrtool.experiments import load_experiment
    from corrtool.project.defaults import project_device, project_preset
    from corrtool.runtime.console import Console
    from corrtool.runtime.device import resolve_device
    from corrtool.workflows.call import plain_calls
    from corrtool.workflows.pipeline import Pipeline
    from corrtool.workflows.reproduce import only_cells, open_or_create
    from corrtool.workflows.reproduce import reproduce as run_experiment

    console = Console(quiet=quiet, json=json)
    load_preset(
        "default" if preset is None else preset
    )  # before anything is made, as is the device
    if device is not None:
        resolve_device(device)
    table = only_cells(load_experiment(experiment), cell or [])
    opened = open_or_create(project or Path(experiment), table)

    preset = project_preset(opened, preset)
    console.say(f"{experiment} with the preset {preset}, in {opened.root}")
    project_device(opened, device)
    calls = plain_calls(CommonOptions(seed=0, device=device, preset=cast(Preset, preset)))
    pipeline = Pipeline(opened, console, calls, saying_results(console))
    with suggesting("--project"):
        result = run_experiment(
            pipeline, table, preset=preset, from_scratch=from_scratch, seeds=seeds
        )
    console.result(
        result, [*result["figures"], f"open {opened.root / result['report']} in a browser"]
    )
