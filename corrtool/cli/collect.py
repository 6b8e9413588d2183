"""``corrtool collect``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from corrtool.cli.stage_command import add_stage
from corrtool.settings.stages import CollectSettings

if TYPE_CHECKING:
    from corrtool.runs.context import StageContext


def add(app: typer.Typer) -> None:
    """Adds the subcommand."""
    add_stage(app, CollectSettings, _work, lines, [])


def _work(context: StageContext, settings: CollectSettings, chosen: dict[str, Any]) -> dict[str, Any]:
    from corrtool.stages.collect import collect

    return collect(context, settings)


def lines(result: dict[str, Any]) -> list[str]:
    """The result for people."""
    per_record = result["bytes"] / result["records"]
    return [f"memory {result['memory']}: {result['records']:,} records, {per_record:.0f} bytes each on disk"]
