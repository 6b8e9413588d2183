"""Step 2 of the experiments: play a task, by default the target at random, and keep the records."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from corrtool.project.artifacts import Artifact
from corrtool.runs.context import StageContext
from corrtool.runs.loop import StopSignals
from corrtool.runs.records import STAGED_MEMORY
from corrtool.runs.requests import RunRequest
from corrtool.runs.results import CollectResult
from corrtool.runs.resumable import State
from corrtool.runs.run import Run
from corrtool.settings.stages import CollectSettings
from corrtool.stages.players import Player, check_player, choose_player
from corrtool.stages.recording import Recording, record_play
from corrtool.states import StateSpec
from corrtool.tasks import Task, probe


@dataclass(frozen=True)
class Job:
    """Player and task, decided before anything is opened."""

    context: StageContext
    settings: CollectSettings
    task: Task
    spec: StateSpec
    player: Player
    request: RunRequest


def collect(context: StageContext, settings: CollectSettings) -> CollectResult:
    """Write exactly ``settings.records`` valid transitions of a task to the replay memory ``name``.

    Raises:
        ArtifactError: the Q-function that should play is missing, damaged or does not fit, or needs
            a correspondence that is.
    """
    job = plan(context, settings)
    return context.execute(job.request, functools.partial(run, job))


def plan(context: StageContext, settings: CollectSettings) -> Job:
    """Choose the player, check that it fits the task, and make the request.

    Raises :class:`ArtifactError`.
    """
    task = context.project.task(settings.task)
    player, (spec, actions) = Player(), probe(task)
    if settings.policy != "random":
        player = choose_player(
            context, task, q=settings.policy.removeprefix("q:"), corr=None, no_corr=False
        )
        check_player(player, spec, actions)
    name = context.run_name(
        settings, player.inputs(), f"{settings.task}-{settings.policy.removeprefix('q:')}"
    )
    request = RunRequest(
        settings,
        name,
        context.seed,
        tasks={task.role: task.to_json()},
        inputs=player.inputs(),
        produces=[("memory", name)],
        state_kind=spec.settings_kind,
    )
    return Job(context, settings, task, spec, player, request)


def run(job: Job, opened: Run, stop: StopSignals, state: State | None) -> CollectResult:
    """Play, and publish the records; returns the run's result."""
    context, settings = job.context, job.settings
    recording = Recording(
        job.task,
        settings.records,
        settings.lanes,
        job.player.q_values(job.spec, context.device),
        settings.epsilon,
    )
    staged = opened.directory / STAGED_MEMORY
    about = record_play(recording, context, opened, stop, staged, state=state)
    artifact = opened.publish_memory(job.request.name, staged, about)
    return {
        "memory": job.request.name,
        "records": about["records"],
        "bytes": _size(artifact),
        "sha256": artifact.sha256,
    }


def _size(artifact: Artifact) -> int:
    return sum(path.stat().st_size for path in artifact.path.rglob("*") if path.is_file())
