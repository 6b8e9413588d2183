"""Learn the environment model F of the source task from its memory M_S (appendix 6.1 and 6.2)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import cast

import torch

from corrtool.environment_model.network import ScaledModel
from corrtool.environment_model.pictures import write_prediction_pictures
from corrtool.environment_model.saved import ModelDescription
from corrtool.environment_model.training import ModelTraining
from corrtool.environment_model.validation import hold_out, most_changed_rows, prediction_errors
from corrtool.errors import UsageError
from corrtool.layers import copy_of_weights
from corrtool.memory import ReplayMemory
from corrtool.memory.rows import Rows
from corrtool.project.artifacts import Artifact
from corrtool.runs.context import StageContext
from corrtool.runs.loop import StopSignals
from corrtool.runs.requests import RunRequest
from corrtool.runs.results import Cut, NewestFrameErrors, PredictionErrors, TrainModelResult
from corrtool.runs.resumable import State
from corrtool.runs.run import Run
from corrtool.runtime.seeds import numpy_generator
from corrtool.settings.stages import TrainModelSettings
from corrtool.stages.inputs import load_memory
from corrtool.states import IMAGE
from corrtool.tasks import Task

EXAMPLE_PREDICTIONS = 8


@dataclass(frozen=True)
class Job:
    """Architecture and training data of F, decided before anything is loaded."""

    context: StageContext
    settings: TrainModelSettings
    task: Task
    source_memory: Artifact
    description: ModelDescription
    request: RunRequest


def train_model(
    context: StageContext, settings: TrainModelSettings, *, memory: str | None = None
) -> TrainModelResult:
    """Train F on the memory ``memory``, by default the newest of the source task.

    Writes the model ``name``.

    Raises:
        ArtifactError: there is no such memory, it is damaged, or it holds too few records.
        UsageError: the architecture does not fit the states.
    """
    job = plan(context, settings, memory=memory)
    return context.execute(job.request, functools.partial(run, job))


def plan(context: StageContext, settings: TrainModelSettings, *, memory: str | None) -> Job:
    """The memory, whether F fits it, and what is asked for. Raises as :func:`train_model`."""
    task = context.project.task("source")
    source_memory = context.artifact_of_task("memory", memory, task)
    spec = source_memory.states
    description = ModelDescription.of(settings, spec, int(source_memory.manifest["actions"]))
    try:
        with torch.device("meta"):  # takes no memory
            description.build()
    except ValueError as error:
        raise UsageError(str(error)) from None
    context.ranks.check_batch(settings.batch_size)
    if settings.norm == "batch" and spec.kind == IMAGE and context.ranks.count > 1:
        raise UsageError(
            "--norm batch looks at a whole mini-batch, which several processes split",
            "use --norm instance",
        )
    inputs = {"source_memory": source_memory}
    name = context.run_name(settings, inputs, source_memory.name)
    request = RunRequest(
        settings,
        name,
        context.seed,
        tasks={"source": task.to_json()},
        inputs=inputs,
        produces=[("model", name)],
        state_kind=spec.settings_kind,
    )
    return Job(context, settings, task, source_memory, description, request)


def run(job: Job, opened: Run, stop: StopSignals, state: State | None) -> TrainModelResult:
    """Train F, validate it and publish it; the first rank returns the run's result."""
    context, settings = job.context, job.settings
    memory = load_memory(context, job.source_memory)
    training_rows, validation_rows = hold_out(memory, settings.validation_share, context.seed)
    model = job.description.build(memory.scaling(training_rows)).to(context.device)
    random = numpy_generator(context.seed, "train-model")
    training = ModelTraining(model, memory, training_rows, settings, random, context.ranks)
    if state is not None:
        opened.restore(training, state)
    training.learn(opened, context.console, stop)
    if not context.ranks.first:
        return cast(TrainModelResult, {})
    errors = _validate(job, opened, model, memory, validation_rows)
    opened.metrics.write(training.total, {"event": "validation", **errors})
    _warn(context, errors)
    cut: Cut = {"cut": True} if training.cut else {}
    artifact = opened.publish_weights(
        "model",
        job.request.name,
        copy_of_weights(model),
        {
            "network": job.description.to_json(),
            "role": "source",
            "task_sha256": job.task.sha256,
            "summary": {**errors, **cut},
        },
    )
    result = {
        "model": job.request.name,
        "gradient_steps": training.total,
        "validation": errors,
        "sha256": artifact.sha256,
        **cut,
    }
    return cast(TrainModelResult, result)


def _validate(
    job: Job, opened: Run, model: ScaledModel, memory: ReplayMemory, rows: Rows
) -> PredictionErrors:
    """The error of F on the held-out ``rows``; draws some predictions if states are pictures."""
    title = f"train-model {job.request.name}: validation"
    with job.context.console.transient_progress(title, len(rows), "records") as progress:
        errors = cast(
            PredictionErrors,
            prediction_errors(model, memory, rows, job.description.actions, progress.advance),
        )
    if memory.spec.kind == IMAGE:
        shown = most_changed_rows(memory, rows, EXAMPLE_PREDICTIONS)
        write_prediction_pictures(
            opened.directory / "pictures" / "predictions.png",
            model,
            memory.states(shown),
            memory.actions(shown),
            memory.states(memory.next_rows(shown)),
        )
    return errors


def _warn(context: StageContext, errors: NewestFrameErrors) -> None:
    """Say so where F predicts worse than that nothing moves."""
    error, persistence = errors["l1_newest"], errors["l1_newest_persistence"]
    if error >= persistence:
        context.console.say(
            "train-model: of what changes, F predicts no more than if nothing moved (error "
            f"{error:.5f}, persistence {persistence:.5f}); a model loss by it would mislead: use "
            "more --gradient-steps, or a --memory with more records or of better play"
        )
