"""The paper's experiments, cell by cell.

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
from corrtool.workflows.pipeline import TARGET_PLAY, Pipeline
from corrtool.workflows.report import ReportResult, report


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


def reproduce(
    pipeline: Pipeline, experiment: Experiment, *, preset: str, seeds: int, from_scratch: bool
) -> ReportResult:
    """Run every cell of an experiment with seeds 0 … ``seeds`` - 1, and draw the report.

    Each is evaluated. The fresh games are played twice, without sticky actions and with them.

    Args:
        preset: what the calls of the pipeline have.
        from_scratch: learn Q_S and F here, instead of taking those that come with corrtool.
    """
    run, agent = pipeline.run, pipeline.source_agent(from_scratch=from_scratch)
    evaluate = pipeline.evaluate
    evaluate({"task": "source"}, q=agent.q)
    if not artifact_path(pipeline.project.root, "memory", TARGET_PLAY).exists():
        run("collect", name=TARGET_PLAY)
    evaluate({"policy": "random"})
    evaluate(q=agent.q, no_corr=True)
    for cell in experiment.correspondence:
        for seed in range(seeds):
            name = f"{cell.name}-seed{seed}"
            run(
                "learn-corr",
                cell.settings_at(preset),
                name=name,
                seed=seed,
                **vars(agent),
                target_memory=TARGET_PLAY,
            )
            evaluate(seed=seed, q=agent.q, corr=name)
    for finetuning in experiment.finetune:
        for seed in range(seeds):
            start = finetuning.start
            through: dict[str, Any] = {"corr": f"{start}-seed{seed}"}
            if start in ("scratch", "reuse"):
                through = {"no_corr": True}
            begin = {"from_scratch": True} if start == "scratch" else {"q": agent.q, **through}
            name = f"finetune-{start}-seed{seed}"
            run("finetune", finetuning.settings_at(preset), name=name, seed=seed, **begin)
            evaluate(seed=seed, q=name, **through)
    return report(pipeline.project, console=pipeline.console)
