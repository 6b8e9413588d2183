"""Steps 3 and 4 of the experiments: learn the correspondence function, with play tests along the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from corrtool.config import LearnCorrSettings
from corrtool.correspondence import Correspondence, copy_of_weights
from corrtool.correspondence_learning import CorrespondenceLearner, learning_rate_share, usual_state
from corrtool.errors import ArtifactError, UsageError
from corrtool.memory import ReplayMemory, ShuffledRows, read_rows
from corrtool.networks import build_discriminator, rotation_angle_degrees
from corrtool.networks.saved import QDescription, load_model, load_q_function
from corrtool.project.artifacts import Artifact, check_memory, select_all
from corrtool.project.requests import RunRequest
from corrtool.project.runs import Run
from corrtool.ranks import Ranks
from corrtool.reporting.pictures import write_example_pictures
from corrtool.runtime import derive_seeds, numpy_generator
from corrtool.spatial_search import ANGLE_STARTS, all_around, start_at_the_best
from corrtool.stages.context import StageContext, require_same_actions
from corrtool.stages.loop import Loop, StopSignals
from corrtool.stages.play import KeptLanes, play_games, returns_of, transferred_q_values
from corrtool.states import IMAGE, StateScaling, StateSpec
from corrtool.tasks import Lanes

LOG_EVERY_GRADIENT_STEPS = 50
EXAMPLE_STATES = 6


def learn_corr(
    context: StageContext,
    settings: LearnCorrSettings,
    *,
    q: str | None = None,
    model: str | None = None,
    source_memory: str | None = None,
    target_memory: str | None = None,
) -> dict[str, Any]:
    """Learns both generators from Q_S, F, M_S and M_T; writes the correspondences ``name`` (best) and ``name-last``.

    Q_S is needed for λ_Q > 0 and for play tests, F for λ_M > 0. What is not named is the newest that fits.

    Raises:
        ArtifactError: an input is missing, damaged, or does not fit the others.
        UsageError: the generator does not fit the states.
    """
    source_task, target_task = context.project.task("source"), context.project.task("target")
    wanted = {
        "source_memory": lambda: context.artifact_of_task("memory", source_memory, source_task),
        "target_memory": lambda: context.artifact_of_task("memory", target_memory, target_task),
    }
    if settings.lambda_q > 0 or settings.eval_games > 0:
        wanted["q"] = lambda: context.source_q(q)
    if settings.lambda_m > 0:
        wanted["model"] = lambda: context.artifact_of_task("model", model, source_task)
    inputs = select_all(wanted)
    _check_fit(inputs)
    kind = settings.generator
    if kind == "auto":
        kind = "resnet" if inputs["source_memory"].manifest["states"]["kind"] == IMAGE else "linear"
    generator = {
        "kind": kind,
        "filters": settings.filters,
        "blocks": settings.blocks,
        "norm": settings.norm,
        "skips": settings.skips,
        "framewise": settings.framewise,
        "angle_init": settings.angle_init,
    }
    _check_networks(inputs, generator, settings)
    _check_ranks(context, inputs, settings)
    weights = f"cyc{settings.lambda_cyc:g}-q{settings.lambda_q:g}-m{settings.lambda_m:g}".replace("+", "")
    name = context.name_of(settings, inputs, f"{kind}-{weights}")
    request = RunRequest(
        settings,
        name,
        context.seed,
        tasks={"source": source_task.to_json(), "target": target_task.to_json()},
        inputs=inputs,
        produces=[("corr", name), ("corr", f"{name}-last")],
        state_kind=inputs["source_memory"].states.settings_kind,
    )

    def work(run: Run, stop: StopSignals, state: dict[str, Any] | None) -> dict[str, Any]:
        device = context.device
        source, target = (_load_memory(inputs[f"{role}_memory"], device) for role in ("source", "target"))
        source_q = load_q_function(inputs["q"], device) if "q" in inputs else None
        environment_model = load_model(inputs["model"], device) if "model" in inputs else None
        source_rows, target_rows = source.transition_rows(), target.dynamics_rows()
        total = settings.gradient_steps or settings.epochs * max(
            1, max(len(source_rows), len(target_rows)) // settings.batch_size
        )
        scaling = environment_model.scaling if environment_model is not None else source.scaling(source_rows)
        correspondence = Correspondence(_copy(scaling), target.scaling(target_rows), generator)
        random = numpy_generator(context.seed, "learn-corr")
        usual = None
        if settings.cycle_loss == "surprise" and settings.lambda_cyc > 0:
            scalings = correspondence.source_scaling, correspondence.target_scaling
            usual = (usual_state(source, source_rows, scalings[0]), usual_state(target, target_rows, scalings[1]))
        learner = CorrespondenceLearner(
            correspondence,
            source_q,
            environment_model,
            settings,
            total,
            random,
            device,
            usual,
            context.ranks,
        )
        source_batches = ShuffledRows(source_rows, settings.batch_size, random)
        target_batches = ShuffledRows(target_rows, settings.batch_size, random)
        examples = target.states(target_rows[np.linspace(0, len(target_rows) - 1, EXAMPLE_STATES).astype(int)])
        best: dict[str, Any] = {"mean_return": None, "gradient_steps": 0, "weights": None, "angle_degrees": None}
        tested_at, sums = 0, _Means(context.ranks)
        if state is not None:
            with run.going_on():
                learner.load_state(state["learner"])
                source_batches.load_state(state["source_batches"])
                target_batches.load_state(state["target_batches"])
                best, tested_at = best | state["best"], int(state["tested_at"])
                sums.load_state(state["sums"], device)

        def checkpoint() -> dict[str, Any]:
            return {
                "learner": learner.state(),
                "source_batches": source_batches.state(),
                "target_batches": target_batches.state(),
                "best": best,
                "tested_at": tested_at,
                "sums": sums.state(),
            }

        def play_test(step: int) -> None:
            nonlocal tested_at
            assert source_q is not None
            correspondence.eval()
            games = play_games(
                open_lanes,
                transferred_q_values(source_q, correspondence),
                seeds=derive_seeds(context.seed, "select", settings.eval_games, step),
                epsilon=settings.eval_epsilon,
                random=numpy_generator(context.seed, "select", step),
                device=device,
                poll=loop.poll,
                show=lambda numbers: loop.show(0, {"play test": f"step {numbers['steps']:,}"} | numbers),
            )
            returns = returns_of(games)
            correspondence.train()
            tested_at, mean = step, float(np.mean(returns))
            run.metrics.write(
                step, {"event": "play_test", "gradient_steps": step, "returns": returns, "mean_return": mean}
            )
            if best["mean_return"] is None or mean >= best["mean_return"]:  # of equals the one that learnt longer
                best.update(
                    mean_return=mean,
                    gradient_steps=step,
                    weights=copy_of_weights(correspondence),
                    angle_degrees=rotation_angle_degrees(correspondence.target_to_source),
                )
            pictures(step)
            loop.note({"best return": best["mean_return"]})

        def pictures(step: int) -> None:
            if correspondence.target_scaling.spec.kind == IMAGE and context.ranks.first:
                path = run.directory / "pictures" / f"step-{step:08}.png"
                write_example_pictures(path, correspondence, examples)

        if state is None:
            if settings.can_search_angles and _same_shape(inputs):
                assert environment_model is not None
                starts = all_around(correspondence, settings.angle_init, settings.angle_starts or ANGLE_STARTS)
                if len(starts) > 1:
                    context.console.say(f"learn-corr: looking for the best of {len(starts)} starts")
                    found = start_at_the_best(correspondence, environment_model, target, starts, random)
                    context.ranks.same_weights(correspondence)
                    run.metrics.write(0, {"event": "spatial_search", **found})
                    context.console.say(f"learn-corr: starting at {found['start_degrees']:.1f}°")
            pictures(0)
        with KeptLanes(lambda count: Lanes(target_task.whole_games(), count)) as open_lanes, Loop(
            run, context.console, stop, total=total, unit="gradient steps", start=learner.gradient_steps, state=checkpoint
        ) as loop:  # fmt: skip
            while True:
                step = learner.gradient_steps
                due = step == total or (step > 0 and step % settings.eval_every == 0)
                if settings.eval_games and due and tested_at != step and context.ranks.first:
                    play_test(step)
                if step == total:
                    break
                rows = context.ranks.share(target_batches.next())
                terms = learner.update(
                    source.states(context.ranks.share(source_batches.next())),
                    target.states(rows),
                    target.actions(rows),
                    target.states(target.next_rows(rows)) if settings.lambda_m > 0 else None,
                )
                sums.add(terms)
                numbers = None
                step = learner.gradient_steps
                if step % LOG_EVERY_GRADIENT_STEPS == 0 or step == total:
                    numbers = loop.checked(sums.take())
                    run.metrics.write(
                        step,
                        {
                            "event": "progress",
                            "gradient_steps": step,
                            **numbers,
                            "learning_rate": settings.learning_rate
                            * learning_rate_share(step - 1, total, settings.constant_share),
                            "angle_degrees": rotation_angle_degrees(correspondence.target_to_source),
                        },
                    )
                loop.advance(1, numbers)
        if not context.ranks.first:
            return {}
        if not settings.eval_games:
            pictures(total)
        last = copy_of_weights(correspondence)
        summary = {
            "generator": kind,
            "gradient_steps": total,
            "best_gradient_steps": best["gradient_steps"] or total,
            "best_mean_return": best["mean_return"],
            "best_angle_degrees": best["angle_degrees"],
            "angle_degrees": rotation_angle_degrees(correspondence.target_to_source),
        }
        about = {
            "network": correspondence.describe(),
            "source_task_sha256": source_task.sha256,
            "target_task_sha256": target_task.sha256,
            "summary": summary,
        }
        run.publish_weights("corr", f"{name}-last", last, selection="last", **about)
        artifact = run.publish_weights(
            "corr", name, last if best["weights"] is None else best["weights"], selection="best", **about
        )
        return {"corr": name, **summary, "sha256": artifact.sha256}

    return context.carry_out(request, work)


def _check_fit(inputs: dict[str, Artifact]) -> None:
    """Whether memories, Q_S and F speak of the same states and actions. Raises :class:`ArtifactError`."""
    states, actions = inputs["source_memory"].manifest["states"], inputs["source_memory"].manifest["actions"]
    require_same_actions(actions, inputs["target_memory"].manifest["actions"])
    if "q" in inputs and QDescription.from_manifest(inputs["q"]).states.to_json() != states:
        raise ArtifactError(f"{inputs['q']} and {inputs['source_memory']} have different states", "name fitting ones")
    if "model" in inputs and inputs["model"].manifest.get("network", {}).get("states") != states:
        raise ArtifactError(
            f"{inputs['model']} and {inputs['source_memory']} have different states", "name fitting ones"
        )


def _check_networks(inputs: dict[str, Artifact], generator: dict[str, Any], settings: LearnCorrSettings) -> None:
    """Whether generators and discriminators of this kind go with the states. Raises :class:`UsageError`."""
    specs = _state_specs(inputs)
    if (settings.angle_starts or 1) > 1 and not _same_shape(inputs):
        raise UsageError(
            f"--angle-starts is {settings.angle_starts}, but the tasks' states have different shapes",
            "use --angle-starts 1, or give both tasks one stack of frames",
        )
    try:
        with torch.device("meta"):  # takes no memory
            Correspondence(StateScaling(specs[0]), StateScaling(specs[1]), generator)
            for spec in specs:
                build_discriminator(spec, settings.discriminator_filters, settings.norm)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _check_ranks(context: StageContext, inputs: dict[str, Artifact], settings: LearnCorrSettings) -> None:
    """Whether the processes of torchrun can share the mini-batches. Raises :class:`UsageError`."""
    if context.ranks.count == 1:
        return
    context.ranks.check_batch(settings.batch_size)
    if settings.norm == "batch" and _state_specs(inputs)[0].kind == IMAGE:
        raise UsageError(
            "--norm batch looks at a whole mini-batch, which several processes split", "use --norm instance"
        )
    if settings.model_loss == "relative" and settings.lambda_m > 0:
        raise UsageError(
            "--model-loss relative is a share of a whole mini-batch, which several processes split",
            "use --model-loss printed",
        )


def _state_specs(inputs: dict[str, Artifact]) -> list[StateSpec]:
    return [inputs[f"{role}_memory"].states for role in ("source", "target")]


def _same_shape(inputs: dict[str, Artifact]) -> bool:
    source, target = _state_specs(inputs)
    return source.state_shape == target.state_shape


def _load_memory(artifact: Artifact, device: torch.device) -> ReplayMemory:
    memory = ReplayMemory.from_rows(read_rows(artifact.path, check_memory(artifact.path)), device)
    if not len(memory.dynamics_rows()):
        raise ArtifactError(f"{artifact} holds no usable record", "collect more of them")
    return memory


def _copy(scaling: StateScaling) -> StateScaling:
    copied = StateScaling(scaling.spec)
    copied.load_state_dict(scaling.state_dict())
    return copied


class _Means:
    """Means of loss terms since the last log line, summed on the device: no step waits for the host."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, terms: dict[str, Tensor]) -> None:
        for name, term in terms.items():
            self._sums[name] = self._sums[name] + term if name in self._sums else term.clone()
        self._count += 1

    def take(self) -> dict[str, Any]:
        means = {name: float(self._ranks.mean(value).item()) / self._count for name, value in self._sums.items()}
        self._sums, self._count = {}, 0
        return means

    def state(self) -> dict[str, Any]:
        return {"sums": self._sums, "count": self._count}

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        self._sums = {name: value.to(device) for name, value in state["sums"].items()}
        self._count = int(state["count"])
