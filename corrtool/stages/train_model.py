"""Learn the environment model F of the source task from its memory M_S (appendix 6.1 and 6.2).

A good agent's memory shows few of the states that G_T makes of the target's random play, and F
knows nothing of the others: so it can learn from a memory of random play as well.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from corrtool.environment_model.network import ScaledModel
from corrtool.environment_model.pictures import write_prediction_pictures
from corrtool.environment_model.saved import ModelDescription
from corrtool.environment_model.training import ModelTraining
from corrtool.environment_model.validation import hold_out, most_changed_rows, prediction_errors
from corrtool.errors import UsageError
from corrtool.layers import copy_of_weights
from corrtool.memory import JoinedMemory, Transitions
from corrtool.memory.rows import Rows
from corrtool.project.manifests import play_of_memory
from corrtool.reporting.doubts import is_useless
from corrtool.runs.context import StageContext
from corrtool.runs.loop import StopSignals
from corrtool.runs.requests import RunRequest
from corrtool.runs.results import (
    Cut,
    ErrorsByMemory,
    NewestFrameErrors,
    PredictionErrors,
    TrainModelResult,
)
from corrtool.runs.resumable import State
from corrtool.runs.run import Run
from corrtool.runtime.seeds import numpy_generator
from corrtool.settings.stages import TrainModelSettings
from corrtool.stages.inputs import choose_random_memory, load_memory
from corrtool.states import VECTOR
from corrtool.tasks import Task

EXAMPLE_PREDICTIONS = 8


@dataclass(frozen=True)
class Job:
    """Architecture and training data of F, decided before anything is loaded.

    Attributes:
        lacks_random_play: whether there is nothing to mix with an agent's memory.
    """

    context: StageContext
    settings: TrainModelSettings
    task: Task
    description: ModelDescription
    request: RunRequest
    lacks_random_play: bool


def train_model(
    context: StageContext,
    settings: TrainModelSettings,
    *,
    memory: str | None = None,
    random_memory: str | None = None,
) -> TrainModelResult:
    """Train F on the memory ``memory``, by default the newest of the source task.

    With ``mixed_memories`` on ``random_memory`` as well, by default the newest of random play.
    Writes the model ``name``.

    Raises:
        ArtifactError: there is no such memory, it is damaged, or it holds too few records.
        UsageError: the architecture does not fit the states, or the inputs not the settings.
    """
    job = plan(context, settings, memory=memory, random_memory=random_memory)
    return context.execute(job.request, functools.partial(run, job))


def plan(
    context: StageContext,
    settings: TrainModelSettings,
    *,
    memory: str | None,
    random_memory: str | None,
) -> Job:
    """The memories, whether F fits them, and what is asked for. Raises as :func:`train_model`."""
    task, mixed = context.project.task("source"), settings.mixed_memories
    source_memory = context.artifact_of_task("memory", memory, task)
    random = choose_random_memory(context, random_memory, source_memory, mixed=mixed)
    spec = source_memory.states
    description = ModelDescription.of(settings, spec, int(source_memory.manifest["actions"]))
    try:
        with torch.device("meta"):  # takes no memory
            network = description.build()
    except ValueError as error:
        raise UsageError(str(error)) from None
    context.ranks.check_batch(settings.batch_size)
    if context.ranks.count > 1 and any(isinstance(m, nn.BatchNorm2d) for m in network.modules()):
        raise UsageError(
            "--norm batch looks at a whole mini-batch, which several processes split",
            "use --norm instance or --architecture folded",
        )
    inputs = {"source_memory": source_memory}
    if random is not None:
        inputs["random_memory"] = random
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
    lacks = mixed and random is None and play_of_memory(source_memory.manifest) == "agent"
    return Job(context, settings, task, description, request, lacks)


def run(job: Job, opened: Run, stop: StopSignals, state: State | None) -> TrainModelResult:
    """Train F, validate it and publish it; the first rank returns the run's result."""
    context, settings = job.context, job.settings
    memory = _load_memories(job)
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
    apart = _validate_apart(job, model, memory, validation_rows)
    opened.metrics.write(training.total, {"event": "validation", **errors})
    _warn(context, errors, apart)
    cut: Cut = {"cut": True} if training.cut else {}
    learnt = {"gradient_steps": training.total} if training.cut else {}
    artifact = opened.publish_weights(
        "model",
        job.request.name,
        copy_of_weights(model),
        {
            "network": job.description.to_json(),
            "role": "source",
            "task_sha256": job.task.sha256,
            "summary": {**errors, **apart, **cut, **learnt},
        },
    )
    result = {
        "model": job.request.name,
        "gradient_steps": training.total,
        "validation": errors,
        **apart,
        "sha256": artifact.sha256,
        **cut,
    }
    return cast(TrainModelResult, result)


def _load_memories(job: Job) -> JoinedMemory:
    """What F learns from, on the device. Raises :class:`ArtifactError`."""
    inputs = job.request.inputs
    if job.lacks_random_play:
        job.context.console.say(
            f"train-model: there is no memory of random play beside {inputs['source_memory']}, so "
            "F learns from that alone: 'corrtool collect --task source' makes one"
        )
    return JoinedMemory([load_memory(job.context, memory) for memory in inputs.values()])


def _validate(
    job: Job, opened: Run, model: ScaledModel, memory: Transitions, rows: Rows
) -> PredictionErrors:
    """The error of F on the held-out ``rows``; draws some predictions, but of vectors."""
    errors = _errors(job, model, memory, rows)
    if memory.spec.kind != VECTOR:
        shown = most_changed_rows(memory, rows, EXAMPLE_PREDICTIONS)
        write_prediction_pictures(
            opened.directory / "pictures" / "predictions.png",
            model,
            memory.states(shown),
            memory.actions(shown),
            memory.states(memory.next_rows(shown)),
        )
    return errors


def _validate_apart(
    job: Job, model: ScaledModel, memory: JoinedMemory, rows: Rows
) -> ErrorsByMemory:
    """The errors on the held-out ``rows`` of each memory, by its use, where there are several.

    One over all of them would hide what F does not know: most of an agent's records are alike.
    """
    uses, parts = list(job.request.inputs), memory.split(rows)
    if len(parts) == 1:
        return {}
    apart = {
        use: _errors(job, model, memory, part)
        for use, part in zip(uses, parts, strict=True)
        if len(part)
    }
    return {"validation_by_memory": apart}


def _errors(job: Job, model: ScaledModel, memory: Transitions, rows: Rows) -> PredictionErrors:
    title = f"train-model {job.request.name}: validation"
    with job.context.console.transient_progress(title, len(rows), "records") as progress:
        return cast(
            PredictionErrors,
            prediction_errors(model, memory, rows, job.description.actions, progress.advance),
        )


def _warn(context: StageContext, errors: NewestFrameErrors, apart: ErrorsByMemory) -> None:
    """Say so where F predicts worse than that nothing moves: over all, else in which memory."""
    overall = {"": errors}
    by_memory = {
        f" in the {use.replace('_', ' ')}": found
        for use, found in apart.get("validation_by_memory", {}).items()
    }
    for where, found in (overall if is_useless(errors) else by_memory).items():
        if is_useless(found):
            context.console.say(
                f"train-model: of what changes{where}, F predicts no more than if nothing moved "
                f"(error {found['l1_newest']:.5f}, persistence "
                f"{found['l1_newest_persistence']:.5f}); a model loss by it would mislead: use "
                "more --gradient-steps, or a --memory with more records or of better play"
            )
