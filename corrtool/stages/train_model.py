"""Learn the environment model F of the source task from its memory M_S (appendix 6.1 and 6.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corrtool.compute import Precision, begin_step, compile_module, computing_type
from corrtool.config import TrainModelSettings
from corrtool.correspondence import ScaledModel, copy_of_weights
from corrtool.errors import ArtifactError, UsageError
from corrtool.losses import environment_model_loss
from corrtool.memory import ReplayMemory, ShuffledRows
from corrtool.networks.saved import build_model, describe_model
from corrtool.project.checkpoints import load_optimizer_state
from corrtool.project.requests import RunRequest
from corrtool.project.runs import Run
from corrtool.reporting.pictures import write_prediction_pictures
from corrtool.runtime import numpy_generator
from corrtool.stages.context import StageContext, load_memory
from corrtool.stages.loop import Loop, StopSignals
from corrtool.states import IMAGE, StateScaling

LOG_EVERY_GRADIENT_STEPS = 50
EXAMPLE_PREDICTIONS = 8
_VALIDATION_BATCH = 64


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


class _Objective(nn.Module):
    """What F minimises, from raw states; a module, so that torch.compile and DistributedDataParallel can each take it whole."""

    def __init__(self, model: ScaledModel, settings: TrainModelSettings, precision: Precision) -> None:
        super().__init__()
        self.model, self._loss, self._precision = model, settings.loss, precision

    def forward(self, raw_states: Tensor, actions: Tensor, raw_next_states: Tensor) -> Tensor:
        scaling = self.model.scaling
        predicted_next = self._precision(self.model, scaling.raw_to_model(raw_states), actions)
        return environment_model_loss(predicted_next, scaling.raw_to_model(raw_next_states), self._loss)


def _objective(model: ScaledModel, settings: TrainModelSettings, context: StageContext) -> nn.Module:
    device = context.device
    objective = _Objective(model, settings, Precision(computing_type(settings.precision, device), device))
    if settings.compile:
        compile_module(objective, device)
    return context.ranks.parallel(objective)


def _split(memory: ReplayMemory, settings: TrainModelSettings, seed: int) -> tuple[Any, Any]:
    """Rows for training and rows held out for validation, chosen at random, always the same for a seed.

    What came before and after a held-out transition trains F. On Pong that does not flatter it: docs/results.md has its error on
    games of which it saw nothing.
    """
    rows = numpy_generator(seed, "hold out").permutation(memory.dynamics_rows())
    held_out = round(len(rows) * settings.validation_share)
    if not held_out or len(rows) - held_out < 1:
        raise ArtifactError(f"the memory holds only {len(rows)} usable records", "collect more of them")
    return np.sort(rows[held_out:]), np.sort(rows[:held_out])


def _most_changing(memory: ReplayMemory, rows: Any, count: int) -> Any:
    """From each of ``count`` equal stretches of ``rows``, the one from which the state changes most: where F has work to do."""
    parts = np.array_split(rows, min(count, len(rows)))
    changes = [
        (memory.states(part) != memory.states(memory.next_rows(part))).flatten(1).sum(1).argmax().item()
        for part in parts
    ]
    return np.array([part[int(most)] for part, most in zip(parts, changes, strict=True)])


def _prediction(model: ScaledModel, memory: ReplayMemory, rows: Any) -> tuple[Tensor, Tensor]:
    """F(s_t, a_t) and s_{t+1} in the model range, (B, …) each."""
    states = model.scaling.raw_to_model(memory.states(rows))
    next_states = model.scaling.raw_to_model(memory.states(memory.next_rows(rows)))
    return model(states, memory.actions(rows)), next_states


def _warn(context: StageContext, errors: dict[str, Any]) -> None:
    """Says so where F predicts worse than that nothing moves."""
    error, persistence = errors["l1_newest"], errors["l1_newest_persistence"]
    if error >= persistence:
        context.console.say(
            f"train-model: of what changes, F predicts no more than if nothing moved (error {error:.5f}, persistence "
            f"{persistence:.5f}); a model loss by it would mislead: use more --gradient-steps, or a --memory with more records or of "
            "better play"
        )


@torch.inference_mode()
def prediction_errors(
    model: ScaledModel,
    memory: ReplayMemory,
    rows: Any,
    actions: int,
    advance: Callable[[int], None] = lambda records: None,
) -> dict[str, Any]:
    """Mean absolute error of F and of persistence (s_{t+1} = s_t) in the model range.

    ``l1`` is over all elements of a state, ``l1_changing`` over those that change from s_t to s_{t+1}: hardly any pixel of
    Pong changes, so that an F that predicts nothing looks good over all of them. ``l1_newest`` is over the elements of the
    newest frame that change; the older frames are no prediction, since s_t shows them. ``by_action`` has the same, for each
    action. ``advance`` is called with how many more records are done.
    """
    model.eval()
    everything, changes, newest = _Errors(), _Errors(), _Errors()
    by_action = [_Errors() for _ in range(actions)]
    for start in range(0, len(rows), _VALIDATION_BATCH):
        batch = rows[start : start + _VALIDATION_BATCH]
        states = model.scaling.raw_to_model(memory.states(batch))
        predicted, next_states = _prediction(model, memory, batch)
        spec, changing = model.scaling.spec, states != next_states
        in_newest = torch.zeros_like(spec.frames_of(changing))
        in_newest[:, -1] = spec.frames_of(changing)[:, -1]
        in_newest = spec.stack_frames(in_newest)
        errors = (predicted - next_states).abs(), (states - next_states).abs()
        everything.add(*errors, torch.ones_like(changing))
        changes.add(*errors, changing)
        newest.add(*errors, in_newest)
        for action, sums in enumerate(by_action):
            sums.add(*errors, in_newest & (memory.actions(batch) == action).reshape(-1, *[1] * (states.ndim - 1)))
        advance(len(batch))
    model.train()
    return {
        "records": len(rows),
        **everything.named("l1"),
        **changes.named("l1_changing"),
        **newest.named("l1_newest"),
        "changing_share": changes.elements / everything.elements,
        "by_action": [{"action": action, **sums.named("l1_newest")} for action, sums in enumerate(by_action)],
    }


class _Errors:
    """Sums of absolute errors over chosen elements."""

    def __init__(self) -> None:
        self.model = self.persistence = 0.0
        self.elements = 0

    def add(self, model: Tensor, persistence: Tensor, chosen: Tensor) -> None:
        self.model += model[chosen].sum().item()
        self.persistence += persistence[chosen].sum().item()
        self.elements += int(chosen.sum().item())

    def named(self, name: str) -> dict[str, float]:
        count = max(1, self.elements)
        return {name: self.model / count, f"{name}_persistence": self.persistence / count}
