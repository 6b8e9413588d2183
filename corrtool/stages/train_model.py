"""Learn the environment model F of the source task from its memory M_S (appendix 6.1 and 6.2)."""

from __future__ import annotations

from typing import Any

import torch

from corrtool.environment_model.objective import _objective
from corrtool.environment_model.pictures import write_prediction_pictures
from corrtool.environment_model.saved import build_model, describe_model
from corrtool.environment_model.validation import _most_changing, _split, prediction_errors
from corrtool.errors import UsageError
from corrtool.layers import copy_of_weights, load_optimizer_state
from corrtool.memory import ShuffledRows
from corrtool.runs.context import StageContext
from corrtool.runs.loop import Loop, StopSignals
from corrtool.runs.requests import RunRequest
from corrtool.runs.run import Run
from corrtool.runtime.precision import begin_step
from corrtool.runtime.seeds import numpy_generator
from corrtool.settings.stages import TrainModelSettings
from corrtool.stages.inputs import load_memory
from corrtool.states import IMAGE, StateScaling

LOG_EVERY_GRADIENT_STEPS = 50
EXAMPLE_PREDICTIONS = 8


def train_model(
    context: StageContext, settings: TrainModelSettings, *, memory_name: str | None = None
) -> dict[str, Any]:
    """Trains F on the memory ``memory_name``, by default the newest of the source task; writes the model ``name``.

    Raises:
        ArtifactError: there is no such memory, it is damaged, or it holds too few records.
        UsageError: the architecture does not fit the states.
    """
    task = context.project.task("source")
    source_memory = context.artifact_of_task("memory", memory_name, task)
    spec = source_memory.states
    description = describe_model(
        spec,
        int(source_memory.manifest["actions"]),
        architecture=settings.architecture,
        filters=settings.filters,
        blocks=settings.blocks,
        action_block=settings.action_block,
        norm=settings.norm,
        prediction=settings.prediction,
        skips=settings.skips,
    )
    try:
        with torch.device("meta"):  # takes no memory
            build_model(description, StateScaling(spec))
    except ValueError as error:
        raise UsageError(str(error)) from None
    context.ranks.check_batch(settings.batch_size)
    if settings.norm == "batch" and spec.kind == IMAGE and context.ranks.count > 1:
        raise UsageError(
            "--norm batch looks at a whole mini-batch, which several processes split", "use --norm instance"
        )
    name = context.name_of(settings, {"source_memory": source_memory}, source_memory.name)
    request = RunRequest(
        settings,
        name,
        context.seed,
        tasks={"source": task.to_json()},
        inputs={"source_memory": source_memory},
        produces=[("model", name)],
        state_kind=spec.settings_kind,
    )

    def work(run: Run, stop: StopSignals, state: dict[str, Any] | None) -> dict[str, Any]:
        memory = load_memory(context, source_memory)
        training, validation = _split(memory, settings, context.seed)
        model = build_model(description, memory.scaling(training)).to(context.device)
        objective = _objective(model, settings, context)
        optimizer = torch.optim.Adam(model.network.parameters(), lr=settings.learning_rate, fused=True)
        batches = ShuffledRows(training, settings.batch_size, numpy_generator(context.seed, "train-model"))
        steps_per_epoch = max(1, len(training) // settings.batch_size)
        total = settings.gradient_steps or settings.epochs * steps_per_epoch
        done = 0
        if state is not None:
            with run.going_on():
                model.load_state_dict(state["model"])
                load_optimizer_state(optimizer, state["optimizer"])
                batches.load_state(state["batches"])
                done = int(state["done"])

        def checkpoint() -> dict[str, Any]:
            return {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "batches": batches.state(),
                "done": loop.done,
            }

        model.train()
        with Loop(run, context.console, stop, total=total, unit="gradient steps", start=done, state=checkpoint) as loop:
            while loop.done < total:
                rows = context.ranks.share(batches.next())
                begin_step(settings.compile, context.device)
                loss = objective(memory.states(rows), memory.actions(rows), memory.states(memory.next_rows(rows)))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                numbers = None
                if (loop.done + 1) % LOG_EVERY_GRADIENT_STEPS == 0 or loop.done + 1 == total:
                    epoch = round((loop.done + 1) / steps_per_epoch, 2)
                    loss = context.ranks.mean(loss.detach())
                    numbers = loop.checked({"loss": float(loss.item()), "epoch": epoch})
                    run.metrics.write(loop.done + 1, {"event": "progress", "gradient_steps": loop.done + 1, **numbers})
                loop.advance(1, numbers)
        if not context.ranks.first:
            return {}
        title = f"train-model {name}: validation"
        with context.console.passing_progress(title, len(validation), "records") as progress:
            errors = prediction_errors(model, memory, validation, description["actions"], progress.advance)
        run.metrics.write(total, {"event": "validation", **errors})
        _warn(context, errors)
        if spec.kind == IMAGE:
            shown = _most_changing(memory, validation, EXAMPLE_PREDICTIONS)
            write_prediction_pictures(
                run.directory / "pictures" / "predictions.png",
                model,
                memory.states(shown),
                memory.actions(shown),
                memory.states(memory.next_rows(shown)),
            )
        artifact = run.publish_weights(
            "model",
            name,
            copy_of_weights(model),
            network=description,
            role="source",
            task_sha256=task.sha256,
            summary=errors,
        )
        return {"model": name, "gradient_steps": total, "validation": errors, "sha256": artifact.sha256}

    return context.carry_out(request, work)


def _warn(context: StageContext, errors: dict[str, Any]) -> None:
    """Says so where F predicts worse than that nothing moves."""
    error, persistence = errors["l1_newest"], errors["l1_newest_persistence"]
    if error >= persistence:
        context.console.say(
            f"train-model: of what changes, F predicts no more than if nothing moved (error {error:.5f}, persistence "
            f"{persistence:.5f}); a model loss by it would mislead: use more --gradient-steps, or a --memory with more records or of "
            "better play"
        )
