"""``corrtool learn-corr``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from corrtool.cli.options import input_option
from corrtool.cli.stage_command import add_stage
from corrtool.settings.stages import LearnCorrSettings

if TYPE_CHECKING:
    from corrtool.runs.context import StageContext


def add(app: typer.Typer) -> None:
    """Adds the subcommand."""
    extras = [
        input_option("learn-corr", "q", "Q-function of the source task; otherwise the newest."),
        input_option("learn-corr", "model", "Environment model of the source task; otherwise the newest."),
        input_option("learn-corr", "source_memory", "Memory of the source task; otherwise the newest."),
        input_option("learn-corr", "target_memory", "Memory of the target task; otherwise the newest."),
    ]
    add_stage(app, LearnCorrSettings, _work, lines, extras)


def _work(context: StageContext, settings: LearnCorrSettings, chosen: dict[str, Any]) -> dict[str, Any]:
    from corrtool.stages.learn_corr import learn_corr

    return learn_corr(context, settings, **chosen)


def lines(result: dict[str, Any]) -> list[str]:
    """The result for people."""
    line = f"correspondence {result['corr']}: {result['gradient_steps']:,} gradient steps"
    best, reuse = result["best_mean_return"], result.get("reuse_mean_return")
    if best is not None:
        line += f"; the best play test, {best:.2f}, came after {result['best_gradient_steps']:,}"
    if result["angle_degrees"] is not None:
        line += f"; its angle ended at {result['angle_degrees']:.2f}°"
    if best is None:
        return [line, "no games chose it; 'corrtool evaluate' plays some"]
    if reuse is not None and best <= reuse:
        return [
            line,
            f"no better than reuse (mean {reuse:.2f}), which is the source's Q-function without a correspondence: try more "
            "--gradient-steps, another --generator, a better environment model, or another --seed",
        ]
    if reuse is not None:
        line += f"; reuse, without a correspondence, has {reuse:.2f}"
    return [line, "the games of play tests chose it, so judge it by 'corrtool evaluate', which plays fresh ones"]
