"""Play fresh games and report every one of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from corrtool.correspondence.saved import load_correspondence
from corrtool.errors import CorrtoolError, InterruptedRunError, UsageError
from corrtool.play.games import (
    Game,
    GameLimits,
    QValues,
    game_counts,
    play_games,
    returns_of,
)
from corrtool.play.lane_pool import LanePool
from corrtool.project.directory import check_output
from corrtool.reporting.evaluations import Protocol
from corrtool.runs.context import StageContext
from corrtool.runs.loop import Loop, StopSignals
from corrtool.runs.requests import RunRequest
from corrtool.runs.results import EvaluateResult
from corrtool.runs.resumable import State
from corrtool.runs.run import Run
from corrtool.runtime.seeds import derive_seeds, numpy_generator
from corrtool.settings.stages import EvaluateSettings
from corrtool.stages.game_video import check_game_video, record_game
from corrtool.stages.players import Player, check_player, choose_player
from corrtool.states import StateSpec
from corrtool.statistics import bootstrap_interval
from corrtool.tasks import Task, lanes_in_turns, probe

GAMES_A_LANE = 3  # of a wave: the lanes that are done wait for its last game


@dataclass(frozen=True)
class Job:
    """Player and task, decided before anything is opened.

    Attributes:
        task: as the project has it; it names the evaluation.
        played: the same with whole games and the sticky actions of the settings.
    """

    context: StageContext
    settings: EvaluateSettings
    task: Task
    played: Task
    spec: StateSpec
    player: Player
    request: RunRequest


class GamesPlayed:
    """The games that are over, in the order of their seeds; a checkpoint's are not played again."""

    def __init__(self) -> None:
        self.games: list[Game] = []

    def state(self) -> State:
        """For a checkpoint."""
        return {"games": [game.to_json() for game in self.games]}

    def load_state(self, state: State) -> None:
        """The inverse of :meth:`state`."""
        self.games = [Game(**game) for game in state["games"]]


def evaluate(
    context: StageContext,
    settings: EvaluateSettings,
    *,
    q: str | None = None,
    corr: str | None = None,
    no_corr: bool = False,
    video: Path | None = None,
) -> EvaluateResult:
    """Play ``settings.games`` games with seeds that no training and no selection ever used.

    Every game counts. They are whole games, also where learning ends them at a lost life.

    Args:
        video: a file for a video of one more game, which is not among those that count.

    Returns:
        task, policy, q, corr, games, returns, mean_return, seed; ci95: percentile bootstrap over
        games, which says something where ``distinct_games`` are 20 or more; how many games ended
        idle or were cut; what share of actions was random or repeated.

    Raises:
        ArtifactError: a Q-function or a correspondence is missing, damaged or does not fit.
        UsageError: the options contradict each other, or no video can be made of the task.
    """
    job = plan(context, settings, q=q, corr=corr, no_corr=no_corr)
    if video is not None:
        check_output(video, "--video", context.project)
        check_game_video(video, job.played)
    result = context.execute(job.request, functools.partial(run, job))
    if video is not None and not context.dry_run:
        result = {**result, "video": str(video), "video_return": _record(job, video)}
    return result


def plan(
    context: StageContext,
    settings: EvaluateSettings,
    *,
    q: str | None,
    corr: str | None,
    no_corr: bool,
) -> Job:
    """Choose the player, check that it fits the task, and make the request.

    Raises as :func:`evaluate`.
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
    played = task.with_full_games()
    if settings.repeat_action_probability is not None:
        played = played.with_sticky_actions(settings.repeat_action_probability)
    return Job(context, settings, task, played, spec, player, request)


def _request(
    context: StageContext, settings: EvaluateSettings, task: Task, player: Player, spec: StateSpec
) -> RunRequest:
    """The request, by default under a name made of the players and the fingerprint."""
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
    who = "-".join(
        ["random"]
        if player.q is None
        else [a.name for a in (player.q, player.corr) if a is not None]
    )
    name = f"{task.role}-{who}"[:80] + f"-{request.fingerprint[:8]}"
    return replace(request, name=name)


def run(job: Job, opened: Run, stop: StopSignals, state: State | None) -> EvaluateResult:
    """Play the games, and log each; returns the run's result."""
    player, played = job.player, GamesPlayed()
    q_values = player.q_values(job.spec, job.context.device)
    if state is not None:
        opened.restore(played, state)
    _play(job, opened, stop, q_values, played)
    for number, game in enumerate(played.games):
        opened.metrics.write(
            number,
            {
                "event": "game",
                "game": number,
                "return": game.game_return,
                "length": game.env_steps,
                "ended": game.ended,
            },
        )
    return _result(job, played.games)


def _play(
    job: Job, opened: Run, stop: StopSignals, q_values: QValues | None, played: GamesPlayed
) -> None:
    """Play what is left of the games in waves, each with seeds and random numbers of its own.

    A wave is what a checkpoint saves at a time.
    """
    context, settings, began = job.context, job.settings, len(played.games)
    wave = settings.lanes * (GAMES_A_LANE if settings.lanes > 1 else 1)
    seeds = derive_seeds(context.seed, "evaluate", settings.games)
    with (
        LanePool(functools.partial(lanes_in_turns, job.played), settings.lanes) as lane_pool,
        lane_pool.preopened(settings.games - began),
        Loop(
            opened,
            context.console,
            stop,
            total=settings.games,
            unit="games",
            start=began,
            resumable=played,
            steady=False,
        ) as loop,
    ):
        for start in range(began, settings.games, wave):
            try:
                played.games += play_games(
                    lane_pool,
                    q_values,
                    seeds=seeds[start : start + wave],
                    epsilon=settings.epsilon,
                    random=numpy_generator(context.seed, "evaluate", start),
                    device=context.device,
                    limits=GameLimits(settings.max_idle_frames),
                    on_game=lambda game: loop.show(1, {"last return": game.game_return}),
                    poll=loop.poll,
                    show=lambda numbers: loop.show(0, numbers),
                )
            except InterruptedRunError:
                raise  # the loop saved what there is
            except CorrtoolError:
                if len(played.games) > began:
                    loop.save()  # an environment that fails costs none of the waves before
                raise
            loop.advance_to(
                len(played.games), {"mean return": float(np.mean(returns_of(played.games)))}
            )


def _record(job: Job, video: Path) -> float:
    """Play one more game as a video; returns its return."""
    context, player = job.context, job.player
    return record_game(
        video,
        job.played,
        player.q_values(job.spec, context.device),
        None if player.corr is None else load_correspondence(player.corr, context.device),
        epsilon=job.settings.epsilon,
        limits=GameLimits(job.settings.max_idle_frames),
        seed=context.seed,
        device=context.device,
        console=context.console,
    )


def _result(job: Job, games: list[Game]) -> EvaluateResult:
    """Who played, the protocol of the games, and their returns."""
    player, settings, returns, counts = (
        job.player,
        job.settings,
        returns_of(games),
        game_counts(games),
    )
    protocol = Protocol.of(settings.to_json(), job.task.to_json())
    return {
        "task": job.task.role,
        "environment": str(job.task),
        "policy": settings.policy,
        "q": None if player.q is None else player.q.name,
        "corr": None if player.corr is None else player.corr.name,
        "epsilon": protocol.epsilon,
        "repeat_action_probability": protocol.sticky,
        "games": settings.games,
        "distinct_games": counts["distinct_games"],
        "idle_games": counts["idle_games"],
        "cut_games": counts["cut_games"],
        "returns": returns,
        "mean_return": float(np.mean(returns)),
        "ci95": list(bootstrap_interval(returns)),
        "seed": job.context.seed,
        "name": job.request.name,
    }
