"""Step 1 of the experiments: learn Q_S on the source task, and keep the newest records as M_S.

The agent's records show what it does well; random play beside them what happens elsewhere.
"""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from corrtool.errors import UsageError
from corrtool.memory import write_rows
from corrtool.play.lane_pool import LanePool
from corrtool.project.manifests import About, MemoryContents
from corrtool.q_learning.saved import QDescription
from corrtool.q_learning.training import DqnOutcome, learn_by_playing
from corrtool.runs.context import StageContext
from corrtool.runs.loop import StopSignals
from corrtool.runs.records import STAGED_MEMORY
from corrtool.runs.requests import RunRequest
from corrtool.runs.results import RandomMemoryResult, TrainDqnResult
from corrtool.runs.resumable import State
from corrtool.runs.run import Run
from corrtool.settings.stages import TrainDqnSettings
from corrtool.stages.extending import load_starting_point, plan_extension
from corrtool.stages.recording import Kept, Recording, record_play
from corrtool.tasks import Lanes, Task, lanes_in_turns, probe


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

    With ``random_records`` also the memory ``name-random`` of random play.

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
    settings = settings.clipping_unless_said(task.is_atari)  # few others say enough by the sign
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
        produces=[
            ("q", name),
            ("memory", name),
            *([("memory", f"{name}-random")] if settings.random_records else []),
        ],
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
        make_lanes=functools.partial(Lanes, job.task),
        lane_pool=LanePool(functools.partial(lanes_in_turns, job.task.with_full_games())),
        device=context.device,
        seed=context.seed,
        starting_point=load_starting_point(context, job.settings, request.name, request.options)
        if state is None
        else None,
    )
    # First, so that the agent's own is the newest memory of the task.
    played = _play_at_random(job, opened, stop, outcome)
    about: About = {
        "role": job.task.role,
        "task_sha256": job.task.sha256,
        "summary": outcome.summary,
    }
    staged = opened.directory / STAGED_MEMORY
    stored = _write_memory(job, outcome, staged)
    memory = opened.publish_memory(
        request.name,
        staged,
        {"play": "agent", "actions": job.description.actions, **about, **stored},
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
        **played,
    }
    return cast(TrainDqnResult, result)


def _play_at_random(
    job: Job, opened: Run, stop: StopSignals, outcome: DqnOutcome
) -> RandomMemoryResult:
    """Leave the memory of random play, if any, that ``collect`` would; returns what is told of it.

    Checkpoints meanwhile are of the training, which is over.
    """
    settings, name = job.settings, f"{job.request.name}-random"
    if not settings.random_records:
        return {}
    staged = opened.directory / STAGED_MEMORY
    recording = Recording(job.task, settings.random_records, settings.lanes)
    kept = Kept(outcome.parts, outcome.after_checkpoint)
    about = record_play(recording, job.context, opened, stop, staged, kept=kept)
    memory = opened.publish_memory(name, staged, about)
    return {"random_memory": name, "random_memory_sha256": memory.sha256}


def _write_memory(job: Job, outcome: DqnOutcome, staged: Path) -> MemoryContents:
    """Write the newest records to ``staged``; returns what the memory's manifest says of them."""
    shutil.rmtree(staged, ignore_errors=True)
    rows = outcome.memory.newest_records(job.settings.memory_records)
    title = f"train-dqn {job.request.name}: writing the memory"
    with job.context.console.transient_progress(title, len(rows.frames), "rows") as writing:
        return write_rows(staged, rows, writing.advance)
