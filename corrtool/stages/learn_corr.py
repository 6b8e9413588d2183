"""Steps 3 and 4 of the experiments: learn the correspondence function, with play tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from corrtool.correspondence.actions import AUTO, IDENTITY, LEARNED, ActionMap
from corrtool.correspondence.knowledge import Knowledge
from corrtool.correspondence.pictures import write_example_pictures
from corrtool.correspondence.play_tests import PlayTests
from corrtool.correspondence.portfolio import Candidate, Portfolio
from corrtool.correspondence.scores import Scores
from corrtool.correspondence.training import CorrespondenceTraining
from corrtool.environment_model.saved import held_out_loss, load_model
from corrtool.layers import copy_of_weights
from corrtool.play.lane_pool import LanePool
from corrtool.project.artifacts import Artifact, find_artifacts, select_all
from corrtool.project.manifests import About
from corrtool.q_learning.saved import RewardsLearnt, load_q_function
from corrtool.reporting.doubts import doubt_of_model
from corrtool.reporting.symptoms import discriminators_have_won
from corrtool.runs.context import StageContext
from corrtool.runs.loop import MAX_LOST_SECONDS, Loop, StopSignals
from corrtool.runs.requests import RunRequest
from corrtool.runs.results import CorrespondenceSummary, LearnCorrResult
from corrtool.runs.resumable import State
from corrtool.runs.run import Run
from corrtool.runtime.console import Console
from corrtool.settings.stages import LearnCorrSettings
from corrtool.stages.correspondence_checks import check_fit, fitting_candidates, with_auto_q_loss
from corrtool.stages.correspondence_names import LAST, correspondence_name
from corrtool.stages.inputs import (
    action_map_of,
    choose_source_memory,
    different_play,
    load_transitions,
)
from corrtool.stages.source_agents import different_agents
from corrtool.states import VECTOR
from corrtool.tasks import lanes_in_turns


@dataclass(frozen=True)
class Job:
    """A run of ``learn-corr`` before it begins: inputs chosen, and all of them fit.

    Attributes:
        matched: whether M_S was to be of M_T's kind of play.
    """

    context: StageContext
    settings: LearnCorrSettings
    candidates: tuple[Candidate, ...]
    action_map: ActionMap
    request: RunRequest
    matched: bool


def learn_corr(
    context: StageContext,
    settings: LearnCorrSettings,
    *,
    q: str | None = None,
    model: str | None = None,
    source_memory: str | None = None,
    target_memory: str | None = None,
) -> LearnCorrResult:
    """Learn both generators from Q_S, F, M_S and M_T.

    Writes the correspondences ``name``, the best by play tests or, without any, by its score, and
    ``name-last``. Q_S is needed for λ_Q > 0 and for play tests, F for λ_M > 0; without F there is
    no score. What is not named is the newest that fits, with ``match_play`` M_S of M_T's play.

    Raises:
        ArtifactError: an input is missing, damaged, or does not fit the others.
        UsageError: the generator does not fit the states, or the action map the actions.
    """
    job = plan(
        context,
        settings,
        q=q,
        model=model,
        source_memory=source_memory,
        target_memory=target_memory,
    )
    return context.execute(job.request, partial(run, job))


def plan(
    context: StageContext,
    settings: LearnCorrSettings,
    *,
    q: str | None,
    model: str | None,
    source_memory: str | None,
    target_memory: str | None,
) -> Job:
    """Choose the inputs and check that they fit. Raises as :func:`learn_corr`."""
    source_task, target_task = context.project.task("source"), context.project.task("target")
    if model is not None and not settings.may_need("model"):  # as in a grid over --lambda-m
        context.console.say(f"learn-corr: model {model} is not used: no loss is of F")
    wanted: dict[str, Callable[[], Artifact]] = {
        "source_memory": partial(
            choose_source_memory,
            context,
            source_memory,
            target_memory,
            match_play=settings.match_play,
        ),
        "target_memory": partial(context.artifact_of_task, "memory", target_memory, target_task),
    }
    if settings.eval_games > 0 or settings.may_need("q"):
        wanted["q"] = partial(context.source_q, q)
    if settings.may_need("model"):
        wanted["model"] = partial(context.artifact_of_task, "model", model, source_task)
    inputs = select_all(wanted)
    source_actions, target_actions = (
        inputs[f"{role}_memory"].manifest["actions"] for role in ("source", "target")
    )
    action_map = action_map_of(settings.action_map, source_actions, target_actions)
    # What is done, not how it was said: equal maps are equal runs, and no tone layer is none.
    if settings.recipe == "none":
        settings = replace(settings, tone=settings.has_tone(inputs["source_memory"].states.kind))
    if settings.action_map not in (LEARNED, AUTO):
        settings = replace(settings, action_map=action_map.to_setting())
    check_fit(inputs)
    settings = with_auto_q_loss(settings, inputs.get("q"))
    candidates = fitting_candidates(context, inputs, settings)
    name = correspondence_name(context, settings, inputs, candidates[0].generator.kind)
    request = RunRequest(
        settings,
        name,
        context.seed,
        tasks={"source": source_task.to_json(), "target": target_task.to_json()},
        inputs=inputs,
        produces=[("corr", name), ("corr", f"{name}{LAST}")],
        state_kind=inputs["source_memory"].states.settings_kind,
    )
    matched = settings.match_play and source_memory is None
    return Job(context, settings, candidates, action_map, request, matched)


def run(job: Job, opened: Run, stop: StopSignals, state: State | None) -> LearnCorrResult:
    """Build what learns, go on from a checkpoint or look for a start, learn, and publish."""
    inputs = job.request.inputs
    lines = [different_agents(inputs, find_artifacts(opened.project.root, "memory"))]
    if job.matched:
        agent = inputs["q"].name if "q" in inputs else None
        lines.append(different_play(inputs["source_memory"], inputs["target_memory"], agent))
    lines.append(_identity_only(job))
    for line in filter(None, lines):
        job.context.console.say(f"learn-corr: {line}")
    knowledge = _load(job)
    portfolio = Portfolio(job.context, opened, knowledge, job.candidates)
    if state is None:
        training = portfolio.best()
        if opened.seconds >= MAX_LOST_SECONDS:  # of searches and trials
            opened.save(training.state())
    else:
        with opened.restoring():
            training = portfolio.training_of(state)
        opened.restore(training, state)
    _learn(job, opened, stop, training, knowledge)
    is_first = job.context.ranks.first
    return _publish(job, opened, training) if is_first else cast(LearnCorrResult, {})


def _identity_only(job: Job) -> str | None:
    """A line where ``--action-map auto`` comes to the identity, since no candidate finds a map."""
    maps = {candidate.settings.action_map for candidate in job.candidates}
    if job.settings.action_map != AUTO or maps != {IDENTITY}:
        return None
    return (
        "--action-map auto is the identity here: another map is found only with a search for a "
        "start, which takes --lambda-m above 0, and a generator with an angle or --linear-starts"
    )


def _load(job: Job) -> Knowledge:
    """Load the inputs to the device. Raises :class:`ArtifactError`."""
    inputs, device = job.request.inputs, job.context.device
    m_s = inputs["source_memory"]
    return Knowledge(
        load_transitions(job.context, m_s, chosen=job.matched),
        load_transitions(job.context, inputs["target_memory"]),
        load_q_function(inputs["q"], device) if "q" in inputs else None,
        load_model(inputs["model"], device) if "model" in inputs else None,
        RewardsLearnt.from_manifest(inputs["q"]) if "q" in inputs else RewardsLearnt(),
        held_out_loss(inputs["model"], m_s) if "model" in inputs else None,
    )


def _learn(
    job: Job, opened: Run, stop: StopSignals, training: CorrespondenceTraining, knowledge: Knowledge
) -> None:
    """Learn from where the run stands to its last step, that one's play test and its score."""
    context, settings, results = job.context, job.settings, training.test_results
    tests = scores = None
    if context.ranks.first and knowledge.environment_model is not None:
        scores = Scores.of(opened, training.correspondence, knowledge)
    if settings.eval_games and context.ranks.first and knowledge.source_q is not None:
        tests = PlayTests(context, settings, opened, knowledge.source_q, training.correspondence)
    if training.gradient_steps == 0:
        _draw(job, opened, training)
    make_lanes = partial(lanes_in_turns, context.project.task("target").with_full_games())
    games = 0 if tests is None else settings.eval_games
    with (
        LanePool(make_lanes) as lane_pool,
        lane_pool.preopened(games),
        Loop(
            opened,
            context.console,
            stop,
            total=training.total,
            unit="gradient steps",
            start=training.gradient_steps,
            trial="its trial of",
            resumable=training,
            agreed=partial(context.ranks.agreed, device=context.device),
        ) as loop,
    ):
        loop.note(results.numbers() | training.scores.numbers())
        if tests is not None and results.reuse_mean_return is None and knowledge.same_shape:
            _play_reuse(job, tests, training, loop, lane_pool)
        while True:
            step = training.gradient_steps
            first = step == 0 and not training.started  # nothing is known of these weights yet
            due = step == training.total or (step % settings.eval_every == 0 and not first)
            if scores is not None and due and training.scores.scored_at != step:
                scores.score(training.scores, loop, step, decides=tests is None)
            if tests is not None and due and results.tested_at != step:
                tests.play(results, loop, lane_pool, step, training.scores.value)
                _draw(job, opened, training)
            if tests is not None and results.best_gradient_steps == step:
                training.scores.best = training.scores.last
            if due and _settled(job, training):
                training.end_here()
            if step == training.total:
                break
            if loop.out_of_time():
                training.total = step + 1  # this step is the last
            numbers = None
            if training.step():
                numbers = loop.checked(training.terms)
                opened.metrics.write(training.gradient_steps, training.progress())
            if training.actions_due:
                opened.metrics.write(training.gradient_steps, training.find_actions())
            loop.advance(1, numbers)
        if tests is None:
            _draw(job, opened, training)


def _settled(job: Job, training: CorrespondenceTraining) -> bool:
    """True if a recipe's map is exact or its score high and rises no more; first process knows."""
    patience = 0 if job.settings.recipe == "none" else job.settings.recipe_patience
    exact = patience > 0 and training.exact
    settled = exact or training.scores.settled(patience, job.settings.recipe_enough)
    return job.context.ranks.agreed(settled, job.context.device)


def _play_reuse(
    job: Job, tests: PlayTests, training: CorrespondenceTraining, loop: Loop, lane_pool: LanePool
) -> None:
    """Play the test of reuse, or say why it cannot be."""
    m = job.action_map
    if m.source_count == m.target_count:
        tests.play_reuse(training.test_results, loop, lane_pool)
        return
    job.context.console.say(
        f"learn-corr: no test of reuse: the source has {m.source_count} actions and the target "
        f"{m.target_count}"
    )


def _draw(job: Job, opened: Run, training: CorrespondenceTraining) -> None:
    """Draw some translations as they are now, but of vectors, which nobody sees anything in."""
    if training.correspondence.target_scaling.spec.kind != VECTOR and job.context.ranks.first:
        path = opened.directory / "pictures" / f"step-{training.gradient_steps:08}.png"
        examples = training.source_examples, training.target_examples
        write_example_pictures(path, training.correspondence, *examples)


def _publish(job: Job, opened: Run, training: CorrespondenceTraining) -> LearnCorrResult:
    """Write both correspondences; returns the run's result."""
    project, name, results = job.context.project, job.request.name, training.test_results
    if training.terms:
        _warn_of_discriminators(job.context.console, job.settings, training.terms)
    last, scores = copy_of_weights(training.correspondence), training.scores
    best = results if results.best_weights is not None else scores
    learnt_by: dict[str, object] = {
        "generator": training.correspondence.generator.kind,
        "gradient_steps": training.total,
        "best_gradient_steps": (
            training.total if best.best_weights is None else best.best_gradient_steps
        ),
        "best_mean_return": results.best_mean_return,
        "last_mean_return": results.last_mean_return,
        "reuse_mean_return": results.reuse_mean_return,
        "best_angle_degrees": best.best_angle_degrees,
        "angle_degrees": training.angle_degrees,
        **training.choices(job.settings),
    }
    summary = cast(CorrespondenceSummary, learnt_by)
    if results.like_reuse:
        summary["like_reuse"] = True
    if scores.best is not None:
        summary["score"] = scores.best
        doubt = doubt_of_model(job.request.inputs["model"].manifest)
        if doubt is not None:
            summary["score_uncertain"] = doubt
    about: About = {
        "network": training.correspondence.describe(),
        "source_task_sha256": project.task("source").sha256,
        "target_task_sha256": project.task("target").sha256,
    }
    # Each one's own play test, score and action map.
    learnt = training.correspondence.action_map if training.learns_actions else None
    if learnt is not None:
        summary["action_map"] = list(learnt.source_of)
    of_last: CorrespondenceSummary = (
        summary if scores.last is None else {**summary, "score": scores.last}
    )
    about["summary"] = {**of_last, "mean_return": results.last_mean_return}
    opened.publish_weights("corr", f"{name}{LAST}", last, {"selection": "last", **about})
    if learnt is not None and best.best_source_of is not None:
        best_map = replace(learnt, source_of=tuple(best.best_source_of))
        summary["action_map"] = best.best_source_of
        about["network"] = about["network"] | {"action_map": best_map.to_json()}
    about["summary"] = {**summary, "mean_return": results.best_mean_return}
    weights = last if best.best_weights is None else best.best_weights
    artifact = opened.publish_weights("corr", name, weights, {"selection": "best", **about})
    return cast(LearnCorrResult, {"corr": name, **summary, "sha256": artifact.sha256})


def _warn_of_discriminators(
    console: Console, settings: LearnCorrSettings, terms: dict[str, float]
) -> None:
    """Say so where the generators can learn nothing any more."""
    losses = [terms[f"{role}_discriminator"] for role in ("source", "target")]
    if discriminators_have_won(terms, settings.gan_loss == "lsgan"):
        console.say(
            f"learn-corr: both discriminators have won (losses {losses[0]:.4f} and "
            f"{losses[1]:.4f}, undecided is 0.25): they tell every generated state, and show the "
            "generators no way; use fewer --discriminator-filters or more records"
        )
