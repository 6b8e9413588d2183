"""The paper's experiments, cell by cell; what is finished is not done again, what was interrupted goes on."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

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
from corrtool.project.artifacts import artifact_path
from corrtool.project.directory import PROJECT_FILE, Project, create_project
from corrtool.settings import Settings
from corrtool.stages.collect import collect
from corrtool.stages.context import StageContext
from corrtool.stages.evaluate import evaluate
from corrtool.stages.finetune import finetune
from corrtool.stages.learn_corr import learn_corr
from corrtool.stages.report import report
from corrtool.stages.train_dqn import train_dqn
from corrtool.stages.train_model import train_model
from corrtool.tasks import parse_task

AGENT, RANDOM_PLAY = "source-dqn", "target-random"


def load_experiment(name: str) -> dict[str, Any]:
    """An experiment's tables: ``source``, ``target``, ``correspondence`` (a list of cells) and ``finetune``."""
    return tomllib.loads(resources.files("corrtool.experiments").joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def open_or_create(directory: Path, experiment: dict[str, Any]) -> Project:
    """The project for an experiment, made where there is none. Raises :class:`UsageError` if it has other tasks."""
    tables = {role: experiment[role] for role in ("source", "target")}
    if not (directory / PROJECT_FILE).exists():
        return create_project(directory, tables, {})
    project = Project(directory)
    for role, table in tables.items():
        if project.task(role).sha256 != parse_task(role, table, directory).sha256:
            raise UsageError(f"the {role} task of {directory} is not the experiment's", "give another --project")
    return project


def reproduce(
    context: StageContext,
    experiment: dict[str, Any],
    *,
    preset: str,
    seeds: int,
    tell: Callable[[str, dict[str, Any]], None],
) -> dict[str, Any]:
    """Runs every cell of an experiment with seeds 0 … ``seeds`` - 1, plays 30 fresh games with each, and draws the report.

    What the project holds already under the names ``source-dqn`` (Q_S, M_S and F) and ``target-random`` (M_T) is used.

    Args:
        tell: called with the stage and the result of everything that ends.
    """

    def run(stage: Callable[..., dict[str, Any]], kind: type[Settings], given: dict[str, Any], *,
            name: str | None = None, seed: int = 0, **options: Any) -> dict[str, Any]:  # fmt: skip
        settings = resolve_settings(context.project, kind, preset, given)
        result = stage(replace(context, name=name, seed=seed), settings, **options)
        tell(kind.stage, result)
        return result

    root = context.project.root
    if not artifact_path(root, "q", AGENT).exists():
        run(train_dqn, TrainDqnSettings, {}, name=AGENT)
    run(evaluate, EvaluateSettings, {"task": "source"}, q=AGENT)
    if not artifact_path(root, "model", AGENT).exists():
        run(train_model, TrainModelSettings, {}, name=AGENT, memory_name=AGENT)
    if not artifact_path(root, "memory", RANDOM_PLAY).exists():
        run(collect, CollectSettings, {}, name=RANDOM_PLAY)
    run(evaluate, EvaluateSettings, {"policy": "random"})
    run(evaluate, EvaluateSettings, {}, q=AGENT, no_corr=True)
    inputs = {"q": AGENT, "model": AGENT, "source_memory": AGENT, "target_memory": RANDOM_PLAY}
    for cell in experiment["correspondence"]:
        for seed in range(seeds):
            name = f"{cell['name']}-seed{seed}"
            run(learn_corr, LearnCorrSettings, cell["settings"], name=name, seed=seed, **inputs)
            run(evaluate, EvaluateSettings, {}, seed=seed, corr=name)
            if cell.get("finetune"):
                run(finetune, FinetuneSettings, {}, name=f"finetune-{name}", seed=seed, corr=name)
    for seed in range(seeds):
        if experiment["finetune"]["from_scratch"]:
            run(finetune, FinetuneSettings, {}, name=f"finetune-scratch-seed{seed}", seed=seed, from_scratch=True)
        if experiment["finetune"]["reuse"]:
            run(finetune, FinetuneSettings, {}, name=f"finetune-reuse-seed{seed}", seed=seed, q=AGENT, no_corr=True)
    return report(context.project)
