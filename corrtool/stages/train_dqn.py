"""Step 1 of the experiments: learn Q_S on the source task, and keep the newest records as M_S."""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from corrtool.errors import UsageError
from corrtool.memory import write_rows
from corrtool.project.manifests import About, MemoryContents
from corrtool.q_learning.saved import QDescription
from corrtool.q_learning.training import DqnOutcome, learn_by_playing
from corrtool.runs.context import StageContext
from corrtool.runs.loop import StopSignals
from corrtool.runs.requests import RunRequest
from corrtool.runs.results import TrainDqnResult
from corrtool.runs.resumable import State
from corrtool.runs.run import Run
from corrtool.settings.stages import TrainDqnSettings
from corrtool.stages.extending import load_starting_point, plan_extension
from corrtool.tasks import Lanes, Task, probe


@dataclass(frozen=True)
class Job:
    """Task and architecture, decided before anything is opened."""

    context: StageContext
    settings: TrainDqnSettings
    task: Task
    description: QDescription
    request: RunRequest


def train_dqn(
    context: StageContext, settings: TrainDqnSettings, *, extend: bool = False
) -> TrainDqnResult:
    """Algorithm 2 on a task: writes the Q-function ``name`` and the memory ``name``.

    Args:
        extend: go on from the finished run of this name, which took fewer environment steps.

    Raises:
        UsageError: the architecture does not fit the task's states, or there is nothing to extend.
    """
    job = plan(context, settings, extend=extend)
    return job.context.execute(job.request, functools.partial(run, job))


def plan(context: StageContext, settings: TrainDqnSettings, *, extend: bool) -> Job:
    """Check that the Q-function fits the task, and make the request.

    Raises :class:`UsageError`.
    """
    task = context.project.task(settings.task)
    spec, actions = probe(task)
    description = QDescription(spec, actions, settings.architecture, settings.width, settings.init)
    try:
        with torch.device("meta"):  # takes no memory
            description.build()
    except ValueError as error:
        raise UsageError(str(error)) from None
    name = context.run_name(settings, {}, f"{settings.task}-dqn")
    tasks = {task.role: task.to_json()}
    options: dict[str, Any] = {}
    if extend:
        context, options = plan_extension(context, settings, name, tasks)
    request = RunRequest(
        settings,
        name,
        context.seed,
        tasks=tasks,
        inputs={},
        produces=[("q", name), ("memory", name)],
        state_kind=spec.settings_kind,
        options=options,
    )
    return Job(context, settings, task, description, request)


def run(job: Job, opened: Run, stop: StopSignals, state: State | None) -> TrainDqnResult:
    """Learn, and publish what was learnt; returns the run's result."""
    context, request = job.context, job.request
    outcome = learn_by_playing(
        opened,
        context.console,
        stop,
        state,
        settings=job.settings,
        q_function=job.description.build(),
        task=job.task,
        make_lanes=Lanes,
        device=context.device,
        seed=context.seed,
        starting_point=load_starting_point(context, job.settings, request.name, request.options)
        if state is None
        else None,
    )
    about: About = {
        "role": job.task.role,
        "task_sha256": job.task.sha256,
        "summary": outcome.summary,
    }
    staged = opened.directory / "staged.zarr"
    stored = _write_memory(job, outcome, staged)
    memory = opened.publish_memory(
        request.name, staged, {"actions": job.description.actions, **about, **stored}
    )
    q = opened.publish_weights(
        "q", request.name, outcome.weights, {"network": job.description.to_json(), **about}
    )
    result = {
        "q": request.name,
        "memory": request.name,
        **outcome.summary,
        "records": stored["records"],
        "sha256": q.sha256,
        "memory_sha256": memory.sha256,
    }
    return cast(TrainDqnResult, result)


def _write_memory(job: Job, outcome: DqnOutcome, staged: Path) -> MemoryContents:
    """Write the newest records to ``staged``; returns what the memory's manifest says of them."""
    shutil.rmtree(staged, ignore_errors=True)
    rows = outcome.memory.newest_records(job.settings.memory_records)
    title = f"train-dqn {job.request.name}: writing the memory"
    with job.context.console.transient_progress(title, len(rows.frames), "rows") as writing:
        return write_rows(staged, rows, writing.advance)
