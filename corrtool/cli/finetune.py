"""``corrtool finetune``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from corrtool.cli.evaluate import player_options
from corrtool.cli.options import extra
from corrtool.cli.stage_command import add_stage
from corrtool.cli.train_dqn import learning_line
from corrtool.settings.stages import FinetuneSettings

if TYPE_CHECKING:
    from corrtool.runs.context import StageContext


def add(app: typer.Typer) -> None:
    """Adds the subcommand."""
    scratch = extra("from_scratch", bool, False, "Start from new weights, without a correspondence.")
    add_stage(app, FinetuneSettings, _work, lines, [*player_options(FinetuneSettings.stage), scratch])


def _work(context: StageContext, settings: FinetuneSettings, chosen: dict[str, Any]) -> dict[str, Any]:
    from corrtool.stages.finetune import finetune

    return finetune(context, settings, **chosen)


def lines(result: dict[str, Any]) -> list[str]:
    """The result for people."""
    return [learning_line(result), f"'corrtool evaluate --q {result['q']}' plays fresh games with it"]
