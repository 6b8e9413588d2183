"""``corrtool evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from corrtool.cli.options import extra, input_option
from corrtool.cli.stage_command import add_stage
from corrtool.config import EvaluateSettings

if TYPE_CHECKING:
    from corrtool.stages.context import StageContext


def add(app: typer.Typer) -> None:
    """Adds the subcommand."""
    video = extra(
        "video", Path | None, None, "File for a video of one more game, .mp4 or .gif; replaced if it is there."
    )
    add_stage(app, EvaluateSettings, _work, lines, [*player_options(EvaluateSettings.stage), video])


def player_options(stage: str) -> list[Any]:
    """Who plays: shared with ``finetune``."""
    return [
        input_option(
            stage,
            "q",
            "Q-function that plays; otherwise the one the correspondence was learnt with, or the newest.",
        ),
        input_option(stage, "corr", "Correspondence to play through; otherwise the newest."),
        extra("no_corr", bool, False, "Reuse the Q-function directly, without a correspondence."),
    ]


def _work(context: StageContext, settings: EvaluateSettings, chosen: dict[str, Any]) -> dict[str, Any]:
    from corrtool.stages.evaluate import evaluate

    return evaluate(context, settings, **chosen)


def lines(result: dict[str, Any]) -> list[str]:
    """The result for people."""
    low, high = result["ci95"]
    who = "random play" if result["policy"] == "random" else result["q"]
    who += "" if result["corr"] is None else f" through {result['corr']}"
    return [
        f"{who} on {result['environment']}: mean return {result['mean_return']:.2f}, "
        f"95% interval [{low:.2f}, {high:.2f}] over {result['games']} games",
        "returns: " + " ".join(f"{value:g}" for value in result["returns"]),
        *([f"video of a game that ended {result['video_return']:g}: {result['video']}"] if "video" in result else []),
    ]
