"""The paper's experiments: a sweep whose cells a table names.

What is finished is not done again, what was interrupted goes on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from corrtool.errors import UsageError
from corrtool.experiments import Experiment, different_task
from corrtool.project.artifacts import artifact_path
from corrtool.project.directory import PROJECT_FILE, Project, create_project
from corrtool.settings.grid import grid_of, points_of
from corrtool.settings.stages import LearnCorrSettings
from corrtool.workflows.pipeline import (
    LEARNT_AGENT,
    PRETRAINED_AGENT,
    PROTOCOLS,
    TARGET_PLAY,
    Pipeline,
    SourceAgent,
)
from corrtool.workflows.sweeps.cells import Cell, Then
from corrtool.workflows.sweeps.sweep import Sweep, make_sweep

SWEPT = "learn-corr"  # the stage of an experiment's sweep; finetuning cells come after it


def open_or_create(directory: Path, experiment: Experiment) -> Project:
    """The project for an experiment, made where there is none.

    Raises :class:`UsageError` if it has other tasks.
    """
    if not (directory / PROJECT_FILE).exists():
        return create_project(directory, experiment.tasks, {})
    project = Project(directory)
    role = different_task(project, experiment)
    if role is not None:
        raise UsageError(
            f"the {role} task of {directory} is not the experiment's", "give another --project"
        )
    return project


def only_cells(experiment: Experiment, names: list[str]) -> Experiment:
    """An experiment with nothing but the cells ``names`` and what is finetuned from them.

    All of it if there are no names.

    Raises:
        UsageError: it has no such cell.
    """
    known = [cell.name for cell in experiment.correspondence]
    starts = [cell.start for cell in experiment.finetune if cell.start not in known]
    for name in names:
        if name not in known + starts:
            raise UsageError(
                f"there is no cell {name!r}", f"choose from {', '.join(known + starts)}"
            )
    if not names:
        return experiment
    return replace(
        experiment,
        correspondence=tuple(cell for cell in experiment.correspondence if cell.name in names),
        finetune=tuple(cell for cell in experiment.finetune if cell.start in names),
    )


def check_grid(experiment: Experiment) -> None:
    """Raise :class:`UsageError` for an experiment without a grid."""
    if not experiment.grid:
        raise UsageError(f"there is no grid of {experiment.title!r}", "experiment-1 has one")


def cells_of(
    pipeline: Pipeline, experiment: Experiment, agent: SourceAgent, *, preset: str, seeds: int
) -> list[Cell]:
    """Every cell of an experiment with seeds 0 … ``seeds`` - 1, each with its evaluations.

    Args:
        preset: what the calls of the pipeline have.
    """
    evaluations = tuple(Then("evaluate", protocol) for protocol in PROTOCOLS)
    cells = []
    for cell in experiment.correspondence:
        for seed in range(seeds):
            call = pipeline.call(
                "learn-corr",
                cell.settings_at(preset),
                name=f"{cell.name}-seed{seed}",
                seed=seed,
                **vars(agent),
                target_memory=TARGET_PLAY,
            )
            cells.append(Cell({}, call, evaluations))
    for finetuning in experiment.finetune:
        for seed in range(seeds):
            start, needs = finetuning.start, None
            begin: dict[str, Any] = {"q": agent.q, "no_corr": True}
            if start == "scratch":
                begin = {"from_scratch": True}
            elif start != "reuse":
                needs = f"{start}-seed{seed}"
                begin = {"q": agent.q, "corr": needs}
            call = pipeline.call(
                "finetune",
                finetuning.settings_at(preset),
                name=f"finetune-{start}-seed{seed}",
                seed=seed,
                **begin,
            )
            cells.append(Cell({}, call, evaluations, after=needs))
    return cells


def cells_of_grid(
    pipeline: Pipeline, experiment: Experiment, agent: SourceAgent, *, seeds: int
) -> list[Cell]:
    """Every combination of an experiment's grid with seeds 0 … ``seeds`` - 1, evaluated.

    Without sticky actions only: a map has one number a cell, and playing takes as long as learning.
    """
    evaluations = (Then("evaluate", PROTOCOLS[0]),)
    points = points_of([grid_of(LearnCorrSettings, table) for table in experiment.grid])
    return [
        Cell(
            point,
            pipeline.call(SWEPT, point, seed=seed, **vars(agent), target_memory=TARGET_PLAY),
            evaluations,
        )
        for point in points
        for seed in range(seeds)
    ]


def prepare(pipeline: Pipeline, *, from_scratch: bool) -> None:
    """Make what every cell needs, and play what is played before there is any correspondence."""
    agent = pipeline.source_agent(from_scratch=from_scratch)
    pipeline.evaluate({"task": "source"}, q=agent.q)
    if not artifact_path(pipeline.project.root, "memory", TARGET_PLAY).exists():
        pipeline.run("collect", name=TARGET_PLAY)
    pipeline.evaluate({"policy": "random"})
    pipeline.evaluate(q=agent.q, no_corr=True)


def plan(
    pipeline: Pipeline,
    experiment: Experiment,
    *,
    name: str,
    command: str,
    preset: str,
    seeds: int,
    from_scratch: bool,
    grid: bool = False,
    complete: bool = True,
) -> Sweep:
    """The sweep of an experiment's cells, or of its grid.

    Args:
        name: of the sweep.
        command: for people.
        preset: what the calls of the pipeline have.
        from_scratch: use the Q_S and F that are learnt here, not those that come with corrtool.
        complete: whether :func:`prepare` has made all that they read.
    """
    agent = LEARNT_AGENT if from_scratch else PRETRAINED_AGENT
    cells = (
        cells_of_grid(pipeline, experiment, agent, seeds=seeds)
        if grid
        else cells_of(pipeline, experiment, agent, preset=preset, seeds=seeds)
    )
    calls, project = pipeline.calls, pipeline.project
    return make_sweep(project, name, SWEPT, command, calls, cells, complete=complete)
