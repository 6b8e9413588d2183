"""Every stage on Pong and rotated Pong, in one command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from corrtool.errors import UsageError
from corrtool.project.directory import PROJECT_FILE, Project, create_project
from corrtool.reporting.console import Console
from corrtool.stages.context import StageContext
from corrtool.stages.pipeline import TARGET_PLAY, Pipeline

SOURCE = {"id": "ALE/Pong-v5"}
TARGET = {"id": "ALE/Pong-v5", "views": ["rotate:90"]}


def quickstart(
    directory: Path,
    *,
    console: Console,
    device: torch.device,
    seed: int,
    preset: str,
    from_scratch: bool,
    tell: Callable[[str, dict[str, Any]], None],
) -> dict[str, Any]:
    """Makes the project and runs the stages; what an earlier quickstart finished in the directory is not done again.

    Q_S and F are those that come with corrtool, or are learnt here; the correspondence is learnt here in any case.

    Args:
        from_scratch: learn Q_S and F here.
        tell: is called with the name and the result of each stage that ends.

    Returns:
        ``rows``, one each for ``random``, ``reuse`` and ``transfer``, with returns, mean_return and ci95.

    Raises:
        UsageError: the directory holds a project with other tasks.
    """
    project = _open(directory)
    pipeline = Pipeline(StageContext(project, console, device, seed), preset, tell)
    run, agent = pipeline.run, pipeline.source_agent(from_scratch=from_scratch)
    run("collect", name=TARGET_PLAY)
    learnt = run("learn-corr", **vars(agent), target_memory=TARGET_PLAY)
    results = {
        "random": run("evaluate", {"policy": "random"}),
        "reuse": run("evaluate", q=agent.q, no_corr=True),
        "transfer": run("evaluate", corr=learnt["corr"]),
    }
    finetuned = run("finetune", corr=learnt["corr"])
    rows = [
        {"policy": policy, **{key: result[key] for key in ("returns", "mean_return", "ci95")}}
        for policy, result in results.items()
    ]
    return {
        "project": str(project.root),
        "rows": rows,
        "games": results["random"]["games"],
        "preset": preset,
        "source_agent": agent.q,
        "learn_corr": learnt,
        "finetune": finetuned,
        "notes": [f"Next: cd {directory} && corrtool status", "      corrtool evaluate --video transfer.mp4"],
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
