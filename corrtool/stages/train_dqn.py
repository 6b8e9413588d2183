"""Step 1 of the experiments: learn Q_S on the source task, and keep the newest records as M_S."""

from __future__ import annotations

import shutil
from typing import Any

import torch

from corrtool.errors import UsageError
from corrtool.memory import write_rows
from corrtool.q_learning.saved import QDescription
from corrtool.q_learning.training import learn_by_playing
from corrtool.runs.context import StageContext
from corrtool.runs.loop import StopSignals
from corrtool.runs.requests import RunRequest
from corrtool.runs.run import Run
from corrtool.settings.stages import TrainDqnSettings
from corrtool.stages.extending import beginning, extending
from corrtool.tasks import Lanes, probe


def train_dqn(context: StageContext, settings: TrainDqnSettings, *, extend: bool = False) -> dict[str, Any]:
    """Algorithm 2 on a task: writes the Q-function ``name`` and the memory ``name``.

    Args:
        extend: go on from the finished run of this name, which took fewer environment steps.

    Raises:
        UsageError: the architecture does not fit the task's states, or there is nothing to extend.
    """
    task = context.project.task(settings.task)
    spec, actions = probe(task)
    description = QDescription(spec, actions, settings.architecture, settings.width, settings.init)
    try:
        with torch.device("meta"):  # takes no memory
            description.build()
    except ValueError as error:
        raise UsageError(str(error)) from None
    name = context.name_of(settings, {}, f"{settings.task}-dqn")
    tasks = {task.role: task.to_json()}
    options: dict[str, Any] = {}
    if extend:
        context, options = extending(context, settings, name, tasks)
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

    def work(run: Run, stop: StopSignals, state: dict[str, Any] | None) -> dict[str, Any]:
        outcome = learn_by_playing(
            run,
            context.console,
            stop,
            state,
            settings=settings,
            q_function=description.build(),
            task=task,
            make_lanes=Lanes,
            device=context.device,
            seed=context.seed,
            beginning=beginning(context, settings, name, options) if state is None else None,
        )
        about = {"role": task.role, "task_sha256": task.sha256, "summary": outcome.summary}
        staged = run.directory / "staged.zarr"
        shutil.rmtree(staged, ignore_errors=True)
        rows = outcome.memory.newest_records(settings.memory_records)
        with context.console.passing_progress(
            f"train-dqn {name}: writing the memory", len(rows.frames), "rows"
        ) as writing:
            stored = write_rows(staged, rows, writing.advance)
        memory = run.publish_memory(name, staged, actions=actions, **about, **stored)
        q = run.publish_weights("q", name, outcome.weights, network=description.to_json(), **about)
        return {
            "q": name,
            "memory": name,
            **outcome.summary,
            "records": stored["records"],
            "sha256": q.sha256,
            "memory_sha256": memory.sha256,
        }

    return context.carry_out(request, work)
