"""Play fresh games and report every one of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corrtool.config import EvaluateSettings
from corrtool.errors import ArtifactError, MissingInputError, UsageError
from corrtool.networks.saved import QDescription, load_correspondence, load_q_function
from corrtool.project.artifacts import Artifact, read_artifact, select_all
from corrtool.project.directory import check_output
from corrtool.project.requests import RunRequest
from corrtool.project.runs import Run
from corrtool.reporting.evaluations import Protocol
from corrtool.runtime import derive_seeds, numpy_generator
from corrtool.stages.context import StageContext, require_same_actions
from corrtool.stages.game_video import check_game_video, record_game
from corrtool.stages.loop import Loop, StopSignals
from corrtool.stages.play import (
    Game,
    GameLimits,
    KeptLanes,
    QValues,
    counted,
    direct_q_values,
    play_games,
    returns_of,
    transferred_q_values,
)
from corrtool.states import StateSpec
from corrtool.statistics import bootstrap_interval
from corrtool.tasks import Lanes, Task, probe


@dataclass(frozen=True)
class Player:
    """Who plays a task: a Q-function, directly or through a correspondence; or nobody, at random."""

    q: Artifact | None = None
    corr: Artifact | None = None

    def inputs(self) -> dict[str, Artifact]:
        """The artifacts, by use."""
        return {use: artifact for use, artifact in (("q", self.q), ("corr", self.corr)) if artifact is not None}

    def q_values(self, spec: StateSpec, device: torch.device) -> QValues | None:
        """Loads the networks; None for random play. Raises :class:`ArtifactError`."""
        if self.q is None:
            return None
        q_function = load_q_function(self.q, device)
        if self.corr is None:
            return direct_q_values(q_function, spec)
        return transferred_q_values(q_function, load_correspondence(self.corr, device))


def choose_player(context: StageContext, task: Task, *, q: str | None, corr: str | None, no_corr: bool) -> Player:
    """The Q-function and correspondence that play ``task``; what is not named is the newest that fits.

    On the target task a Q-function of the source plays through the correspondence, unless ``no_corr``. One that was
    finetuned or trained on the target plays the way it was trained. A correspondence brings the Q-function it was
    learnt with.

    Raises:
        ArtifactError: something is missing or does not fit.
        UsageError: ``corr`` and ``no_corr`` contradict each other.
    """
    if corr is not None and no_corr:
        raise UsageError("--corr and --no-corr contradict each other", "give one of them")
    if task.role == "source":
        if corr is not None:
            raise UsageError("--corr translates target states", "leave it out on the source task")
        return Player(context.source_q(q))
    target = context.project.task("target")
    chosen = None if q is None else read_artifact(context.project.root, "q", q)
    if chosen is not None and chosen.manifest.get("role") == "target":
        if not target.made_on_this(chosen.manifest.get("task_sha256"), chosen.manifest.get("tasks", {}).get("target")):
            raise ArtifactError(f"{chosen} was trained on another target task")
        through = chosen.manifest.get("parents", {}).get("corr")
        if corr is None and through is not None and not no_corr:
            artifact = context.correspondence(through["name"])
            if artifact.sha256 != through["sha256"]:
                raise ArtifactError(
                    f"{chosen} was finetuned with another {through['name']!r} than the project's",
                    "name one with --corr",
                )
            return Player(chosen, artifact)
        return Player(chosen, None if corr is None else context.correspondence(corr))
    try:
        correspondence = None if no_corr else context.correspondence(corr)
    except MissingInputError:  # is the Q-function missing too?
        select_all({"q": lambda: context.source_q(q), "corr": lambda: context.correspondence(corr)})
        raise
    if q is None and correspondence is not None:
        parent = correspondence.manifest.get("parents", {}).get("q")
        for candidate in [] if parent is None else [parent["name"]]:
            try:
                own = context.source_q(candidate)
            except ArtifactError:
                break
            if own.sha256 == parent["sha256"]:
                return Player(own, correspondence)
    return Player(context.source_q(q), correspondence)


def check_player(player: Player, spec: StateSpec, actions: int) -> None:
    """Whether the Q-function can play states of ``spec`` at all. Raises :class:`ArtifactError`."""
    if player.q is None:
        return
    description = QDescription.from_manifest(player.q)
    require_same_actions(description.actions, actions)
    if player.corr is None and description.states.state_shape != spec.state_shape:
        raise ArtifactError(
            f"{player.q} takes states of {description.states}, the task has {spec}",
            "learn a correspondence between them",
        )


def evaluate(
    context: StageContext,
    settings: EvaluateSettings,
    *,
    q: str | None = None,
    corr: str | None = None,
    no_corr: bool = False,
    video: Path | None = None,
) -> dict[str, Any]:
    """Plays ``settings.games`` games with seeds that no training and no selection ever used; every game counts.

    They are whole games, also where learning ends them at a lost life.

    Args:
        video: a file for a video of one more game, which is not among those that count.

    Returns:
        task, policy, q, corr, games, returns, mean_return, seed; ci95: percentile bootstrap over games, which says something where
        ``distinct_games`` are 20 or more; how many games ended idle or were cut; what share of actions was random or repeated.

    Raises:
        ArtifactError: a Q-function or a correspondence is missing, damaged or does not fit.
        UsageError: the options contradict each other, or no video can be made of the task.
    """
    task = context.project.task(settings.task)
    if settings.policy == "random":
        if q is not None or corr is not None:
            raise UsageError("--policy random plays without --q and --corr", "leave them out")
        player = Player()
    else:
        player = choose_player(context, task, q=q, corr=corr, no_corr=no_corr)
    spec, actions = probe(task)
    check_player(player, spec, actions)
    request = _request(context, settings, task, player, spec)
    played = task.whole_games()
    if settings.repeat_action_probability is not None:
        played = played.sticky(settings.repeat_action_probability)

    def work(run: Run, stop: StopSignals, state: dict[str, Any] | None) -> dict[str, Any]:
        games = _play(context, settings, player, played, run, stop, state)
        for number, game in enumerate(games):
            run.metrics.write(
                number,
                {
                    "event": "game",
                    "game": number,
                    "return": game.game_return,
                    "length": game.env_steps,
                    "ended": game.ended,
                },
            )
        return {
            "task": task.role,
            "environment": str(task),
            "policy": settings.policy,
            "q": None if player.q is None else player.q.name,
            "corr": None if player.corr is None else player.corr.name,
            **_numbers(settings, task, games),
            "seed": context.seed,
            "name": run.request.name,
        }

    if video is not None:
        check_output(video, "--video", context.project)
        check_game_video(video, played)
    result = context.carry_out(request, work)
    if video is not None and not context.dry_run:
        video_return = record_game(
            video,
            played,
            player.q_values(spec, context.device),
            None if player.corr is None else load_correspondence(player.corr, context.device),
            epsilon=settings.epsilon,
            limits=GameLimits(settings.max_idle_frames),
            seed=context.seed,
            device=context.device,
            console=context.console,
        )
        result = result | {"video": str(video), "video_return": video_return}
    return result


def _request(
    context: StageContext, settings: EvaluateSettings, task: Task, player: Player, spec: StateSpec
) -> RunRequest:
    """What is asked for, by default under a name made of the players and the fingerprint."""
    request = RunRequest(
        settings,
        context.name or "pending",
        context.seed,
        tasks={task.role: task.to_json()},
        inputs=player.inputs(),
        produces=[],
        state_kind=spec.settings_kind,
        options={"no_corr": player.corr is None},
    )
    if context.name is not None:
        return request
    who = "-".join(["random"] if player.q is None else [a.name for a in (player.q, player.corr) if a is not None])
    name = f"{task.role}-{who}"[:80] + f"-{request.fingerprint[:8]}"
    return RunRequest(**(request.__dict__ | {"name": name}))


def _play(
    context: StageContext,
    settings: EvaluateSettings,
    player: Player,
    task: Task,
    run: Run,
    stop: StopSignals,
    state: dict[str, Any] | None,
) -> list[Game]:
    """Plays the games in waves; what a checkpoint holds is not played again."""
    spec, _ = probe(task)
    q_values = player.q_values(spec, context.device)
    seeds = derive_seeds(context.seed, "evaluate", settings.games)
    with run.going_on():
        games = [] if state is None else [Game(**game) for game in state["games"]]
    began = len(games)
    with KeptLanes(lambda count: Lanes(task, count), settings.lanes) as open_lanes, open_lanes.opened(
        settings.games - began
    ), Loop(
        run, context.console, stop, total=settings.games, unit="games", start=began,
        state=lambda: {"games": [game.to_json() for game in games]},
        steady=False,
    ) as loop:  # fmt: skip
        for start in range(began, settings.games, settings.lanes):
            wave = play_games(
                open_lanes,
                q_values,
                seeds=seeds[start : start + settings.lanes],
                epsilon=settings.epsilon,
                random=numpy_generator(context.seed, "evaluate", start),
                device=context.device,
                limits=GameLimits(settings.max_idle_frames),
                on_game=lambda game: loop.show(1, {"last return": game.game_return}),
                poll=loop.poll,
                show=lambda numbers: loop.show(0, numbers),
            )
            games = games + wave
            loop.advance_to(len(games), {"mean return": float(np.mean(returns_of(games)))})
    return games


def _numbers(settings: EvaluateSettings, task: Task, games: list[Game]) -> dict[str, Any]:
    """How the games were played, and what they came to."""
    protocol, returns = Protocol.of(settings.to_json(), task.to_json()), returns_of(games)
    return {
        "epsilon": protocol.epsilon,
        "repeat_action_probability": protocol.sticky,
        "games": settings.games,
        **counted(games),
        "returns": returns,
        "mean_return": float(np.mean(returns)),
        "ci95": list(bootstrap_interval(returns)),
    }
