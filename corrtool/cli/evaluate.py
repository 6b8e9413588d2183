"""``corrtool evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from corrtool.cli.options import extra, input_option
from corrtool.cli.stage_command import add_stage
from corrtool.settings.stages import EvaluateSettings

if TYPE_CHECKING:
    from corrtool.runs.context import StageContext


def add(app: typer.Typer) -> None:
    """Adds the subcommand."""
    video = extra(
        "video",
        Path | None,
        None,
        "File for a video of one more game, .mp4 or .gif; replaced if it is there. Vectors are shown as numbers, beside the "
        "environment's own picture.",
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
    from corrtool.reporting.evaluations import bounds_shown, counts_shown, interval_of
    from corrtool.statistics import LEAST_DISTINCT_GAMES

    interval, sticky = interval_of(result), result["repeat_action_probability"]
    who = "random play" if result["policy"] == "random" else result["q"]
    who += "" if result["corr"] is None else f" through {result['corr']}"
    where = result["environment"] + (f" with sticky actions {sticky:g}" if sticky else "")
    ends = {"idle_games": "ended idle, with no reward for too long", "cut_games": "cut off, after too many steps"}
    return [
        f"{who} on {where}: mean return {result['mean_return']:.2f}, "
        f"95% interval {bounds_shown(interval, 2)} over {counts_shown(interval)}"
        + ("" if interval.bounds else f" (too few for an interval: it takes {LEAST_DISTINCT_GAMES} distinct ones)"),
        *(f"{result[key]} of them {how}" for key, how in ends.items() if result[key]),
        "returns: " + " ".join(f"{value:g}" for value in result["returns"]),
        *([f"video of a game that ended {result['video_return']:g}: {result['video']}"] if "video" in result else []),
    ]
