"""``corrtool train-dqn``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from corrtool.cli.options import extra
from corrtool.cli.stage_command import add_stage
from corrtool.settings.stages import TrainDqnSettings

if TYPE_CHECKING:
    from corrtool.runs.context import StageContext


def add(app: typer.Typer) -> None:
    """Adds the subcommand."""
    extend = extra(
        "extend",
        bool,
        False,
        "Go on from the finished run of this name to a larger --env-steps; nothing else may differ.",
    )
    add_stage(app, TrainDqnSettings, _work, lines, [extend])


def _work(context: StageContext, settings: TrainDqnSettings, chosen: dict[str, Any]) -> dict[str, Any]:
    from corrtool.stages.train_dqn import train_dqn

    return train_dqn(context, settings, **chosen)


def lines(result: dict[str, Any]) -> list[str]:
    """The result for people."""
    return [learning_line(result), f"memory {result['memory']}: {result['records']:,} records"]


def learning_line(result: dict[str, Any]) -> str:
    """One line on how a DQN ended."""
    mean = result["mean_return_20"]
    line = f"Q-function {result['q']}: {result['env_steps']:,} env steps, {result['games']:,} games"
    line += "" if mean is None else f", mean return {mean:.2f} over the last {min(20, result['games'])}"
    best = result["best_mean_return"]
    return line + ("" if best is None else f"; the best of its play tests, {best:.2f}, is kept")
