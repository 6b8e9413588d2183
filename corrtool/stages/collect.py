"""Step 2 of the experiments: play a task, by default the target at random, and keep the records."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from corrtool.memory import MemoryWriter, StateStacker
from corrtool.play.games import QValues, choose_actions
from corrtool.project.artifacts import Artifact
from corrtool.project.manifests import About
from corrtool.runs.context import StageContext
from corrtool.runs.loop import Loop, StopSignals
from corrtool.runs.records import STAGED_MEMORY
from corrtool.runs.requests import RunRequest
from corrtool.runs.results import CollectResult
from corrtool.runs.resumable import State
from corrtool.runs.run import Run
from corrtool.runtime.seeds import derive_seeds, numpy_generator
from corrtool.runtime.signals import default_signal_handling
from corrtool.settings.stages import CollectSettings
from corrtool.stages.players import Player, check_player, choose_player
from corrtool.states import StateSpec
from corrtool.tasks import Lanes, Task, probe


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
    context, settings, task = job.context, job.settings, job.task
    q_values = job.player.q_values(job.spec, context.device)
    context.console.say(f"collect: opening {settings.lanes} environments of {task}")
    with default_signal_handling():  # making many takes seconds outside of Python
        made = Lanes(task, settings.lanes)
    with made as lanes, torch.inference_mode():
        staged = opened.directory / STAGED_MEMORY
        with opened.restoring():
            writer = MemoryWriter(staged, lanes.spec, lanes.count, state)
        _play(job, opened, stop, lanes, q_values, writer)
        about: About = {
            "role": task.role,
            "task_sha256": task.sha256,
            "actions": lanes.actions,
        }
        artifact = opened.publish_memory(job.request.name, staged, {**about, **writer.finish()})
    return {
        "memory": job.request.name,
        "records": writer.records,
        "bytes": _size(artifact),
        "sha256": artifact.sha256,
    }


def _play(
    job: Job,
    opened: Run,
    stop: StopSignals,
    lanes: Lanes,
    q_values: QValues | None,
    writer: MemoryWriter,
) -> None:
    """Play in all lanes until ``writer`` has the records; after a resumption new games begin."""
    context, settings = job.context, job.settings
    random = numpy_generator(context.seed, "collect", opened.resumptions)
    stacker = StateStacker(lanes.spec, lanes.count, context.device)
    frames = lanes.reset(derive_seeds(context.seed, "collect", lanes.count, opened.resumptions))
    writer.open_slot(frames)
    states = stacker.push(frames)
    with Loop(
        opened,
        context.console,
        stop,
        total=settings.records,
        unit="records",
        start=writer.records,
        resumable=writer,
    ) as loop:
        while writer.records < settings.records:
            values = None if q_values is None else q_values(states)
            actions = choose_actions(values, lanes.count, lanes.actions, settings.epsilon, random)
            lanes.send(actions)
            writer.write_chunks()  # while the emulators step
            step = lanes.receive()
            writer.record(actions, step, limit=settings.records)
            if q_values is not None:
                states = stacker.push(step.frames, step.episode_steps)
            loop.advance(writer.records - loop.done)


def _size(artifact: Artifact) -> int:
    return sum(path.stat().st_size for path in artifact.path.rglob("*") if path.is_file())
