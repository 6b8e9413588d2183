"""``corrtool train-model``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from corrtool.cli.options import input_option
from corrtool.cli.stage_command import add_stage
from corrtool.settings.stages import TrainModelSettings

if TYPE_CHECKING:
    from corrtool.runs.context import StageContext


def add(app: typer.Typer) -> None:
    """Adds the subcommand."""
    extras = [input_option("train-model", "memory", "Memory of the source task to learn from; otherwise the newest.")]
    add_stage(app, TrainModelSettings, _work, lines, extras)


def _work(context: StageContext, settings: TrainModelSettings, chosen: dict[str, Any]) -> dict[str, Any]:
    from corrtool.stages.train_model import train_model

    return train_model(context, settings, memory_name=chosen["memory"])


def lines(result: dict[str, Any]) -> list[str]:
    """The result for people."""
    errors = result["validation"]
    told = [
        f"environment model {result['model']}: {result['gradient_steps']:,} gradient steps; "
        f"mean absolute error on {errors['records']:,} held-out records:",
        f"  over everything       {errors['l1']:.5f}   persistence {errors['l1_persistence']:.5f}",
        f"  over what changes     {errors['l1_changing']:.5f}   persistence {errors['l1_changing_persistence']:.5f}"
        f"   ({errors['changing_share']:.2%} of the state)",
    ]
    if errors["l1_newest"] != errors["l1_changing"]:  # states of several frames, of which only the newest is news
        told.append(
            f"  what changes, newest  {errors['l1_newest']:.5f}   persistence {errors['l1_newest_persistence']:.5f}"
        )
    return told
