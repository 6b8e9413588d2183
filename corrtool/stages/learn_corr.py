"""Steps 3 and 4 of the experiments: learn the correspondence function, with play tests (correspondence_tests.py) along the way."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from corrtool.correspondence.discriminators import build_discriminator
from corrtool.correspondence.generators import generator_description, rotation_angle_degrees
from corrtool.correspondence.learner import CorrespondenceLearner, Means, learning_rate_share
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.pictures import write_example_pictures
from corrtool.correspondence.play_tests import Found, PlayTests
from corrtool.correspondence.starts import ANGLE_STARTS, Start, all_around, compared_transitions, start_at_the_best
from corrtool.correspondence.surprise import usual_state
from corrtool.environment_model.saved import load_model
from corrtool.errors import ArtifactError, UsageError
from corrtool.layers import copy_of_weights
from corrtool.memory import ReplayMemory, ShuffledRows
from corrtool.play.games import KeptLanes
from corrtool.project.artifacts import Artifact, select_all
from corrtool.q_learning.saved import QDescription, load_q_function
from corrtool.runs.context import StageContext
from corrtool.runs.loop import Loop, StopSignals
from corrtool.runs.requests import RunRequest
from corrtool.runs.run import Run
from corrtool.runtime.seeds import numpy_generator
from corrtool.settings.stages import LearnCorrSettings
from corrtool.stages.inputs import load_memory, require_same_actions
from corrtool.states import IMAGE, StateScaling, StateSpec
from corrtool.tasks import Lanes

LOG_EVERY_GRADIENT_STEPS = 50
EXAMPLE_STATES = 6
WON_DISCRIMINATOR_LOSS = 0.02  # of least squares, where one that cannot tell has 0.25


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
    generator = generator_description(settings) | {"kind": kind}
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
        learning = _Learning(context, settings, run, inputs, generator)
        if state is None:
            learning.find_start()
        else:
            with run.restoring():
                learning.load_state(state)
        learning.learn(stop)
        return learning.publish() if context.ranks.first else {}

    return context.carry_out(request, work)


class _Learning:
    """Memories, networks and play tests of one run, and where it stands."""

    def __init__(
        self,
        context: StageContext,
        settings: LearnCorrSettings,
        run: Run,
        inputs: dict[str, Artifact],
        generator: dict[str, Any],
    ) -> None:
        self._context, self._settings, self._run, self._inputs = context, settings, run, inputs
        self._kind, device = generator["kind"], context.device
        self._source, self._target = (_load_memory(context, inputs[f"{role}_memory"]) for role in ("source", "target"))
        source_q = load_q_function(inputs["q"], device) if "q" in inputs else None
        self._model = load_model(inputs["model"], device) if "model" in inputs else None
        source_rows, target_rows = self._source.transition_rows(), self._target.dynamics_rows()
        self.total = settings.gradient_steps or settings.epochs * max(
            1, max(len(source_rows), len(target_rows)) // settings.batch_size
        )
        scaling = self._model.scaling if self._model is not None else self._source.scaling(source_rows)
        self._correspondence = Correspondence(_copy(scaling), self._target.scaling(target_rows), generator).to(device)
        self._random = numpy_generator(context.seed, "learn-corr")
        usual = None
        if settings.cycle_loss == "surprise" and settings.lambda_cyc > 0:
            scalings = self._correspondence.source_scaling, self._correspondence.target_scaling
            usual = (
                usual_state(self._source, source_rows, scalings[0]),
                usual_state(self._target, target_rows, scalings[1]),
            )
        self._learner = CorrespondenceLearner(
            self._correspondence,
            source_q,
            self._model,
            settings,
            self.total,
            self._random,
            device,
            usual,
            context.ranks,
        )
        self._source_batches = ShuffledRows(source_rows, settings.batch_size, self._random)
        self._target_batches = ShuffledRows(target_rows, settings.batch_size, self._random)
        examples = target_rows[np.linspace(0, len(target_rows) - 1, EXAMPLE_STATES).astype(int)]
        self._examples = self._target.states(examples)
        self._sums = Means(context.ranks)
        self._terms: dict[str, float] = {}  # the last that were logged
        self._found = Found()
        self._tests = None
        if settings.eval_games and context.ranks.first:
            assert source_q is not None
            self._tests = PlayTests(context, settings, run, source_q, self._correspondence)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "learner": self._learner.state(),
            "source_batches": self._source_batches.state(),
            "target_batches": self._target_batches.state(),
            "sums": self._sums.state(),
            "terms": self._terms,
            "found": dict(self._found.__dict__),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self._learner.load_state(state["learner"])
        self._source_batches.load_state(state["source_batches"])
        self._target_batches.load_state(state["target_batches"])
        self._sums.load_state(state["sums"], self._context.device)
        self._terms, self._found = state["terms"], Found(**state["found"])

    def find_start(self) -> None:
        """Looks where a spatial layer should start, where the model loss can tell."""
        settings, context = self._settings, self._context
        if not settings.can_search_angles or not _same_shape(self._inputs):
            return
        assert self._model is not None
        starts = all_around(self._correspondence, settings.angle_init, settings.angle_starts or ANGLE_STARTS)
        if len(starts) == 1:
            return
        total = compared_transitions(self._target, starts)
        title = f"learn-corr {self._run.request.name}: the best of {len(starts)} starts"
        with context.console.progress(title, total, "transitions") as progress:
            found = start_at_the_best(
                self._correspondence, self._model, self._target, starts, self._random, progress.advance
            )
        context.ranks.same_weights(self._correspondence)
        self._run.metrics.write(0, {"event": "spatial_search", **found})
        context.console.say(f"learn-corr: starting at {Start(found['start_degrees'], found['start_mirrored'])}")

    def learn(self, stop: StopSignals) -> None:
        """From where the run stands to its last step and that one's play test."""
        learner, tests, found, settings = self._learner, self._tests, self._found, self._settings
        if learner.gradient_steps == 0:
            self._draw(0)
        make_lanes = partial(Lanes, self._context.project.task("target").whole_games())
        games = 0 if tests is None else settings.eval_games
        with KeptLanes(make_lanes) as open_lanes, open_lanes.opened(games), Loop(
            self._run, self._context.console, stop, total=self.total, unit="gradient steps", start=learner.gradient_steps,
            resumable=self,
        ) as loop:  # fmt: skip
            loop.note(found.numbers())
            if tests is not None and found.reuse_mean_return is None and _same_shape(self._inputs):
                tests.play_reuse(found, loop, open_lanes)
            while True:
                step = learner.gradient_steps
                due = step == self.total or (step > 0 and step % settings.eval_every == 0)
                if tests is not None and due and found.tested_at != step:
                    tests.play(found, loop, open_lanes, step)
                    self._draw(step)
                if step == self.total:
                    break
                loop.advance(1, self._update(loop))
            if tests is None:
                self._draw(self.total)

    def _update(self, loop: Loop) -> dict[str, float] | None:
        """One gradient step; returns the means of the loss terms where it is time to tell them."""
        share = self._context.ranks.share
        rows = share(self._target_batches.next())
        terms = self._learner.update(
            self._source.states(share(self._source_batches.next())),
            self._target.states(rows),
            self._target.actions(rows),
            self._target.states(self._target.next_rows(rows)) if self._settings.lambda_m > 0 else None,
        )
        self._sums.add(terms)
        step = self._learner.gradient_steps
        if step % LOG_EVERY_GRADIENT_STEPS and step != self.total:
            return None
        self._terms = loop.checked(self._sums.take())
        rate = self._settings.learning_rate * learning_rate_share(step - 1, self.total, self._settings.constant_share)
        self._run.metrics.write(
            step,
            {
                "event": "progress",
                "gradient_steps": step,
                **self._terms,
                "learning_rate": rate,
                "angle_degrees": rotation_angle_degrees(self._correspondence.target_to_source),
            },
        )
        return self._terms

    def _draw(self, step: int) -> None:
        if self._correspondence.target_scaling.spec.kind == IMAGE and self._context.ranks.first:
            path = self._run.directory / "pictures" / f"step-{step:08}.png"
            write_example_pictures(path, self._correspondence, self._examples)

    def publish(self) -> dict[str, Any]:
        """Writes both correspondences; returns the run's result."""
        project, name = self._context.project, self._run.request.name
        self._warn_of_discriminators()
        found, last = self._found, copy_of_weights(self._correspondence)
        summary = {
            "generator": self._kind,
            "gradient_steps": self.total,
            "best_gradient_steps": found.best_gradient_steps or self.total,
            "best_mean_return": found.best_mean_return,
            "last_mean_return": found.last_mean_return,
            "reuse_mean_return": found.reuse_mean_return,
            "best_angle_degrees": found.best_angle_degrees,
            "angle_degrees": rotation_angle_degrees(self._correspondence.target_to_source),
        }
        about: dict[str, Any] = {
            "network": self._correspondence.describe(),
            "source_task_sha256": project.task("source").sha256,
            "target_task_sha256": project.task("target").sha256,
        }
        about["summary"] = summary | {"mean_return": found.last_mean_return}  # each one's own play test
        self._run.publish_weights("corr", f"{name}-last", last, selection="last", **about)
        about["summary"] = summary | {"mean_return": found.best_mean_return}
        best = last if found.best_weights is None else found.best_weights
        artifact = self._run.publish_weights("corr", name, best, selection="best", **about)
        return {"corr": name, **summary, "sha256": artifact.sha256}

    def _warn_of_discriminators(self) -> None:
        losses = [self._terms[f"{role}_discriminator"] for role in ("source", "target")]
        if self._settings.gan_loss == "lsgan" and max(losses) <= WON_DISCRIMINATOR_LOSS:
            self._context.console.say(
                f"learn-corr: both discriminators have won (losses {losses[0]:.4f} and {losses[1]:.4f}, undecided is 0.25): they tell "
                "every generated state, and show the generators no way; use fewer --discriminator-filters or more records"
            )


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


def _load_memory(context: StageContext, artifact: Artifact) -> ReplayMemory:
    memory = load_memory(context, artifact)
    if not len(memory.dynamics_rows()):
        raise ArtifactError(f"{artifact} holds no usable record", "collect more of them")
    return memory


def _copy(scaling: StateScaling) -> StateScaling:
    copied = StateScaling(scaling.spec)
    copied.load_state_dict(scaling.state_dict())
    return copied
