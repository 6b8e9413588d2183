"""Play fresh games and report every one of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corrtool.config import EvaluateSettings
from corrtool.errors import ArtifactError, InterruptedRunError, UsageError
from corrtool.networks.saved import QDescription, load_correspondence, load_q_function
from corrtool.project.artifacts import Artifact, read_artifact
from corrtool.project.directory import check_output
from corrtool.project.requests import RunRequest
from corrtool.project.runs import Run
from corrtool.reporting.pictures import newest_frames
from corrtool.reporting.video import GameVideo, check_video
from corrtool.runtime import derive_seeds, numpy_generator
from corrtool.stages.context import StageContext, require_same_actions
from corrtool.stages.loop import Loop, StopSignals
from corrtool.stages.play import (
    MAX_LANES,
    Game,
    KeptLanes,
    QValues,
    direct_q_values,
    distinct,
    play_games,
    returns_of,
    transferred_q_values,
)
from corrtool.states import IMAGE, StateSpec
from corrtool.statistics import bootstrap_interval
from corrtool.tasks import Lanes, Task, action_names, probe


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
        if chosen.manifest.get("task_sha256") != target.sha256:
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
    correspondence = None if no_corr else context.correspondence(corr)
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

    Args:
        video: a file for a video of one more game, which is not among those that count.

    Returns:
        task, policy, q, corr, games, returns, mean_return, ci95 (percentile bootstrap over games), seed.

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
    request = RunRequest(
        settings,
        context.name or "pending",
        context.seed,
        tasks={task.role: task.to_json()},
        inputs=player.inputs(),
        produces=[],
        state_kind=spec.kind,
        options={"no_corr": player.corr is None},
    )
    if context.name is None:
        who = "-".join(["random"] if player.q is None else [a.name for a in (player.q, player.corr) if a is not None])
        name = f"{task.role}-{who}"[:80] + f"-{request.fingerprint[:8]}"
        request = RunRequest(**(request.__dict__ | {"name": name}))

    def work(run: Run, stop: StopSignals, state: dict[str, Any] | None) -> dict[str, Any]:
        q_values = player.q_values(spec, context.device)
        seeds = derive_seeds(context.seed, "evaluate", settings.games)
        with run.going_on():
            games = [] if state is None else [Game(**game) for game in state["games"]]
        began = len(games)
        with KeptLanes(lambda count: Lanes(task, count)) as open_lanes, open_lanes.opened(settings.games - began), Loop(
            run, context.console, stop, total=settings.games, unit="games", start=began,
            state=lambda: {"games": [game.to_json() for game in games]},
            steady=False,
        ) as loop:  # fmt: skip
            for start in range(began, settings.games, MAX_LANES):
                wave = play_games(
                    open_lanes,
                    q_values,
                    seeds=seeds[start : start + MAX_LANES],
                    epsilon=settings.epsilon,
                    random=numpy_generator(context.seed, "evaluate", start),
                    device=context.device,
                    on_game=lambda game: loop.show(1, {"last return": game.game_return}),
                    poll=loop.poll,
                    show=lambda numbers: loop.show(0, numbers),
                )
                games = games + wave
                loop.advance_to(len(games), {"mean return": float(np.mean(returns_of(games)))})
        returns = returns_of(games)
        low, high = bootstrap_interval(returns)
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
            "games": settings.games,
            "distinct_games": distinct(games),
            "idle_games": sum(game.ended == "idle" for game in games),
            "cut_games": sum(game.ended == "limit" for game in games),
            "returns": returns,
            "mean_return": float(np.mean(returns)),
            "ci95": [low, high],
            "seed": context.seed,
            "name": run.request.name,
        }

    if video is not None:
        check_output(video, "--video", context.project)
        check_video(video)
        if spec.kind != IMAGE:
            raise UsageError(f"--video shows pictures, and the states of {task} are none", "leave it out")
    result = context.carry_out(request, work)
    if video is not None and not context.dry_run:
        result = result | {"video": str(video), "video_return": _record(context, settings, player, task, video)}
    return result


def _record(context: StageContext, settings: EvaluateSettings, player: Player, task: Task, path: Path) -> float:
    """Plays one game and writes it as a video; returns its return. Raises :class:`InterruptedRunError`."""
    spec, _ = probe(task)
    correspondence = None if player.corr is None else load_correspondence(player.corr, context.device)
    names = action_names(task)

    def show(states: Tensor, actions: NDArray[np.int64]) -> None:
        panels = [(f"{task.role} as seen", newest_frames(states, spec)[0])]
        if correspondence is not None:
            source = correspondence.source_scaling
            translated = source.model_to_raw(correspondence.translate(states))
            panels.append(("translated to the source", newest_frames(translated, source.spec)[0]))
        shown.add(panels, f"action: {names[int(actions[0])]}")

    def poll() -> None:
        if stop.received is not None:
            raise InterruptedRunError(stop.received, "the project, but the video")

    progress = context.console.progress(f"evaluate: a game for {path.name}", 1, "games", steady=False)
    with GameVideo(path) as shown, StopSignals(polled=True) as stop, progress:
        (game,) = play_games(
            lambda count: Lanes(task, count),
            player.q_values(spec, context.device),
            seeds=derive_seeds(context.seed, "video", 1),
            epsilon=settings.epsilon,
            random=numpy_generator(context.seed, "video"),
            device=context.device,
            watch=show,
            poll=poll,
            on_game=lambda game: progress.advance(1, {"return": game.game_return}),
            show=lambda numbers: progress.show(0, numbers),
        )
    return game.game_return
