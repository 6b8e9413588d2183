"""Play fresh games and report every one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from corrtool.correspondence.saved import load_correspondence
from corrtool.errors import UsageError
from corrtool.play.games import Game, GameLimits, KeptLanes, counted, play_games, returns_of
from corrtool.project.directory import check_output
from corrtool.reporting.evaluations import Protocol
from corrtool.runs.context import StageContext
from corrtool.runs.loop import Loop, StopSignals
from corrtool.runs.requests import RunRequest
from corrtool.runs.run import Run
from corrtool.runtime.seeds import derive_seeds, numpy_generator
from corrtool.settings.stages import EvaluateSettings
from corrtool.stages.game_video import check_game_video, record_game
from corrtool.stages.players import Player, check_player, choose_player
from corrtool.states import StateSpec
from corrtool.statistics import bootstrap_interval
from corrtool.tasks import Lanes, Task, probe


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
