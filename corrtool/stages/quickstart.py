"""Every stage on Pong and rotated Pong, in one command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from corrtool.cli.stage_command import resolve_settings
from corrtool.config import (
    CollectSettings,
    EvaluateSettings,
    FinetuneSettings,
    LearnCorrSettings,
    TrainDqnSettings,
    TrainModelSettings,
)
from corrtool.errors import UsageError
from corrtool.project.directory import PROJECT_FILE, Project, create_project
from corrtool.reporting.console import Console
from corrtool.settings import Settings
from corrtool.stages.collect import collect
from corrtool.stages.context import StageContext
from corrtool.stages.evaluate import evaluate
from corrtool.stages.finetune import finetune
from corrtool.stages.learn_corr import learn_corr
from corrtool.stages.train_dqn import train_dqn
from corrtool.stages.train_model import train_model

SOURCE = {"id": "ALE/Pong-v5"}
TARGET = {"id": "ALE/Pong-v5", "views": ["rotate:90"]}


def quickstart(
    directory: Path,
    *,
    console: Console,
    device: torch.device,
    seed: int,
    preset: str,
    tell: Callable[[str, dict[str, Any]], None],
) -> dict[str, Any]:
    """Makes the project and runs all stages; what an earlier quickstart finished in the directory is not done again.

    Args:
        tell: is called with the name and the result of each stage that ends.

    Returns:
        ``rows``, one each for ``random``, ``reuse`` and ``transfer``, with returns, mean_return and ci95.

    Raises:
        UsageError: the directory holds a project with other tasks.
    """
    project = _open(directory)
    context = StageContext(project, console, device, seed)

    def run(stage: Callable[..., dict[str, Any]], kind: type[Settings], **options: Any) -> dict[str, Any]:
        given = {name: options.pop(name) for name in list(options) if name == "policy"}
        result = stage(context, resolve_settings(project, kind, preset, given), **options)
        tell(kind.stage, result)
        return result

    trained = run(train_dqn, TrainDqnSettings)
    run(collect, CollectSettings)
    run(train_model, TrainModelSettings)
    learnt = run(learn_corr, LearnCorrSettings)
    results = {
        "random": run(evaluate, EvaluateSettings, policy="random"),
        "reuse": run(evaluate, EvaluateSettings, no_corr=True),
        "transfer": run(evaluate, EvaluateSettings),
    }
    finetuned = run(finetune, FinetuneSettings)
    rows = [
        {"policy": policy, **{key: result[key] for key in ("returns", "mean_return", "ci95")}}
        for policy, result in results.items()
    ]
    return {
        "project": str(project.root),
        "rows": rows,
        "games": results["random"]["games"],
        "preset": preset,
        "train_dqn": trained,
        "learn_corr": learnt,
        "finetune": finetuned,
        "notes": [
            f"The source agent learnt for only {trained['env_steps']:,} environment steps, from nothing: too few to play Pong,",
            "so these scores show that every stage works, not what the method can do.",
            f"Next: cd {directory} && corrtool status",
            "      corrtool train-dqn --name solved   (the default preset; learns to play, in about an hour on two cores)",
        ],
    }


def _open(directory: Path) -> Project:
    if not (directory / PROJECT_FILE).exists():
        return create_project(directory, {"source": SOURCE, "target": TARGET}, {})
    project = Project(directory)
    if [(t.id, t.view_texts) for t in (project.task("source"), project.task("target"))] != [
        ("ALE/Pong-v5", ()),
        ("ALE/Pong-v5", ("rotate:90",)),
    ]:
        raise UsageError(f"{directory} is a project with other tasks", "give another directory")
    return project
