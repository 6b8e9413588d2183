"""Step 5 of the experiments: learn on, on the target task, with the correspondence held fixed."""

from __future__ import annotations

import functools
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import cast

import torch

from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.play import TranslatedLanes
from corrtool.correspondence.saved import load_correspondence
from corrtool.errors import ArtifactError, UsageError
from corrtool.play.lane_pool import LanePool
from corrtool.q_learning.network import take_actions
from corrtool.q_learning.saved import QDescription, RewardsLearnt, load_q_function
from corrtool.q_learning.training import learn_by_playing
from corrtool.runs.context import StageContext
from corrtool.runs.loop import StopSignals
from corrtool.runs.requests import RunRequest
from corrtool.runs.results import FinetuneResult
from corrtool.runs.resumable import State
from corrtool.runs.run import Run
from corrtool.settings.stages import FinetuneSettings
from corrtool.stages.players import Player, check_player, choose_player
from corrtool.states import StateSpec
from corrtool.tasks import Lanes, Task, lanes_in_turns, probe
from corrtool.tasks.environments import LanesLike


@dataclass(frozen=True)
class Job:
    """The player that continues to learn, decided before anything is opened."""

    context: StageContext
    settings: FinetuneSettings
    task: Task
    player: Player
    description: QDescription
    request: RunRequest


def finetune(
    context: StageContext,
    settings: FinetuneSettings,
    *,
    q: str | None = None,
    corr: str | None = None,
    no_corr: bool = False,
    from_scratch: bool = False,
) -> FinetuneResult:
    """DQN on the target task; writes a Q-function.

    It begins from Q_S through the correspondence and its action map, from Q_S alone, or from
    nothing.

    Raises:
        ArtifactError: an input is missing, damaged or does not fit.
        UsageError: the options contradict each other.
    """
    job = plan(context, settings, q=q, corr=corr, no_corr=no_corr, from_scratch=from_scratch)
    return context.execute(job.request, functools.partial(run, job))


def plan(
    context: StageContext,
    settings: FinetuneSettings,
    *,
    q: str | None,
    corr: str | None,
    no_corr: bool,
    from_scratch: bool,
) -> Job:
    """Choose the learner, check that it fits the task, and make the request.

    Raises as :func:`finetune`.
    """
    task = context.project.task(settings.task)
    if from_scratch and (q is not None or corr is not None or no_corr):
        raise UsageError(
            "--from-scratch uses neither a Q-function nor a correspondence",
            "leave --q, --corr and --no-corr out",
        )
    player = (
        Player() if from_scratch else choose_player(context, task, q=q, corr=corr, no_corr=no_corr)
    )
    _refuse_policy(player)
    spec, actions = probe(task)
    check_player(player, spec, actions)
    if player.q is None:
        settings = replace(
            settings,
            epsilon_start=settings.scratch_epsilon_start,
            epsilon_env_steps=settings.scratch_epsilon_env_steps,
        )
        description, clips = _from_scratch(context, task, spec, actions)
    else:
        description = replace(QDescription.from_manifest(player.q), actions=actions)
        clips = RewardsLearnt.from_manifest(player.q).clip_rewards
    settings = settings.clipping_unless_said(clips)
    start = "scratch" if player.q is None else "reuse" if player.corr is None else player.corr.name
    name = context.run_name(settings, player.inputs(), f"{task.role}-finetune-{start}"[:100])
    request = RunRequest(
        settings,
        name,
        context.seed,
        tasks={task.role: task.to_json()},
        inputs=player.inputs(),
        produces=[("q", name)],
        state_kind=spec.settings_kind,
        # From scratch the architecture is that of the newest Q_S, which is no input: it must be
        # part of the identity.
        options={
            "from_scratch": description.to_json() if from_scratch else False,
            "no_corr": player.corr is None,
        },
    )
    return Job(context, settings, task, player, description, request)


def _refuse_policy(player: Player) -> None:
    """Raise :class:`UsageError` where the player is a policy, whose logits DQN cannot correct."""
    if player.q is not None and QDescription.from_manifest(player.q).is_policy:
        raise UsageError(
            f"{player.q} is a policy, and finetune is DQN, which learns on from Q-values",
            "use --from-scratch, or 'corrtool evaluate', which plays it through a correspondence",
        )


def run(job: Job, opened: Run, stop: StopSignals, state: State | None) -> FinetuneResult:
    """Learn, and publish what was learnt; returns the run's result."""
    device, q, corr = job.context.device, job.player.q, job.player.corr
    q_function = job.description.build() if q is None else load_q_function(q, device)
    action_map = job.player.action_map()
    if action_map is not None:  # Q_T begins as Q_S with the values of the target's actions
        take_actions(q_function, action_map.source_of)
    q_function.requires_grad_(True)
    correspondence = None if corr is None else load_correspondence(corr, device)
    make_lanes = functools.partial(_lanes, correspondence, device)
    make_test_lanes = lanes_in_turns if correspondence is None else make_lanes
    outcome = learn_by_playing(
        opened,
        job.context.console,
        stop,
        state,
        settings=job.settings,
        q_function=q_function,
        make_lanes=functools.partial(make_lanes, job.task),
        lane_pool=LanePool(functools.partial(make_test_lanes, job.task.with_full_games())),
        device=device,
        seed=job.context.seed,
    )
    artifact = opened.publish_weights(
        "q",
        job.request.name,
        outcome.weights,
        {
            "network": job.description.to_json(),
            "role": job.task.role,
            "task_sha256": job.task.sha256,
            "summary": outcome.summary,
        },
    )
    result = {
        "q": job.request.name,
        "corr": None if corr is None else corr.name,
        **outcome.summary,
        "sha256": artifact.sha256,
    }
    return cast(FinetuneResult, result)


def _from_scratch(
    context: StageContext, task: Task, spec: StateSpec, actions: int
) -> tuple[QDescription, bool]:
    """New weights in the architecture of Q_S, and whether it learnt from the signs of rewards.

    As it did, so that the two are compared fairly. Without a Q_S, or with a policy in its place,
    the default ones.
    """
    with suppress(ArtifactError):
        q = context.source_q()
        like = QDescription.from_manifest(q)
        if not like.is_policy:
            clips = RewardsLearnt.from_manifest(q).clip_rewards
            return replace(like, states=spec, actions=actions), clips
    return QDescription(spec, actions, "auto"), task.is_atari


def _lanes(
    correspondence: Correspondence | None, device: torch.device, task: Task, count: int
) -> LanesLike:
    """``count`` lanes of ``task``, through a correspondence if there is one."""
    lanes = Lanes(task, count)
    return lanes if correspondence is None else TranslatedLanes(lanes, correspondence, device)
