"""``corrtool quickstart``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from corrtool.cli.options import (
    ANY_TEXT,
    DeviceOption,
    JsonFlag,
    QuietFlag,
    common_option,
    named_directory,
)
from corrtool.cli.stage_command import saying_results, suggesting
from corrtool.cli.summaries import SUMMARIES
from corrtool.settings.base import Preset
from corrtool.settings.common import CommonOptions
from corrtool.settings.resolve import load_preset

if TYPE_CHECKING:
    from rich.table import Table

    from corrtool.workflows.quickstart import QuickstartResult


def add(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command("quickstart", help=SUMMARIES["quickstart"])(quickstart)


def quickstart(
    directory: Annotated[
        Path,
        typer.Argument(
            help="Directory to make, or one that an interrupted quickstart made.",
            metavar="DIR",
            parser=named_directory,
        ),
    ],
    seed: Annotated[int | None, common_option("seed", show_envvar=False)] = None,
    device: DeviceOption = None,
    preset: Annotated[
        str | None,
        common_option(
            "preset", help="Preset of the stages.", show_default="quickstart", **ANY_TEXT
        ),
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
    """Run the stages, and compare random play, direct reuse and transfer."""
    from corrtool.project.defaults import project_device, project_preset, project_seed
    from corrtool.runtime.console import Console
    from corrtool.runtime.device import resolve_device
    from corrtool.workflows.call import plain_calls
    from corrtool.workflows.pipeline import Pipeline
    from corrtool.workflows.quickstart import open_or_create
    from corrtool.workflows.quickstart import quickstart as run_quickstart

    console = Console(quiet=quiet, json=json)
    load_preset(
        "quickstart" if preset is None else preset
    )  # before anything is made, as is the device
    if device is not None:
        resolve_device(device)
    opened = open_or_create(directory)

    preset = project_preset(opened, preset, fallback="quickstart")
    project_device(opened, device)
    project_seed(opened, seed)
    calls = plain_calls(CommonOptions(seed=seed, device=device, preset=cast(Preset, preset)))
    pipeline = Pipeline(opened, console, calls, saying_results(console))
    console.say(f"From Pong to Pong rotated by 90°, with the preset {preset}, in {directory}.")
    with suggesting("DIR", pipeline):
        result = run_quickstart(pipeline, preset=preset, from_scratch=from_scratch)
    console.result(result, _table(result))
    if not json:
        for line in result["notes"]:
            console.say(line)


def _table(result: QuickstartResult) -> Table:
    from corrtool.cli.players_table import players_table
    from corrtool.reporting.evaluations import STICKY

    return players_table(
        f"Pong rotated by 90°, {result['games']} fresh games each, returns from −21 to 21",
        ("who plays", "mean return", f"with sticky actions {STICKY:g}"),
        [(_PLAYERS[row["policy"]], row, row["sticky"]) for row in result["rows"]],
    )


_PLAYERS = {
    "random": "random play",
    "reuse": "Q of upright Pong, without correspondence",
    "transfer": "Q of upright Pong, with correspondence",
}
