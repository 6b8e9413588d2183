"""One game as a video.

Pictures as seen and as translated, or the environment's own picture beside the numbers of a vector
or the waveforms of a signal.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corrtool.correspondence.model import Correspondence
from corrtool.errors import CorrtoolError, InterruptedRunError, UsageError
from corrtool.files.pictures import newest_frames
from corrtool.play.games import GameLimits, QValues, play_games
from corrtool.play.video import GameVideo, check_video, numbers_panel
from corrtool.runs.loop import StopSignals
from corrtool.runtime.console import Console
from corrtool.runtime.seeds import derive_seeds, numpy_generator
from corrtool.states import IMAGE, VECTOR
from corrtool.tasks import Lanes, Task, action_names, probe


def check_game_video(path: Path, task: Task) -> None:
    """Check that a video of a game of ``task`` can be made.

    Raises :class:`UsageError`.
    """
    check_video(path)
    spec, _ = probe(task)
    if spec.kind == IMAGE:
        return
    try:
        with Lanes(_drawn(task), 1) as lanes:
            lanes.reset([0])
            lanes.picture()
    except CorrtoolError as error:
        installed = "not installed" not in error.message
        mend = "let it take render_mode and draw 'rgb_array'" if installed else "install it"
        raise UsageError(
            f"--video needs the environment's own pictures, but {error.message}",
            f"{mend}, or leave --video out",
        ) from None


def can_be_filmed(task: Task) -> bool:
    """True if a game of ``task`` can be a video, as far as its environment says. Draws nothing."""
    if probe(task)[0].kind == IMAGE:
        return True
    with Lanes(task, 1) as lanes:
        return "rgb_array" in lanes.render_modes


def record_game(
    path: Path,
    task: Task,
    q_values: QValues | None,
    correspondence: Correspondence | None,
    *,
    epsilon: float,
    limits: GameLimits,
    seed: int,
    device: torch.device,
    console: Console,
) -> float:
    """Play one game, and write it as a video; returns its return.

    Raises:
        InterruptedRunError: a signal came.
    """

    def poll() -> None:
        if stop.received is not None:
            raise InterruptedRunError(stop.received, "the project, but the video")

    progress = console.progress(f"evaluate: a game for {path.name}", 1, "games", steady=False)
    with GameVideo(path) as video, StopSignals(polled=True) as stop, progress:
        film = _Film(task, correspondence, video)
        (game,) = play_games(
            film.open_lanes,
            q_values,
            seeds=derive_seeds(seed, "video", 1),
            epsilon=epsilon,
            random=numpy_generator(seed, "video"),
            device=device,
            limits=limits,
            watch=film.show,
            poll=poll,
            on_game=lambda game: progress.advance(1, {"return": game.game_return}),
            show=lambda numbers: progress.show(0, numbers),
        )
    if not video.plays_in_browsers:
        console.say(f"OpenCV cannot write VP9 here: browsers do not play {path.name}, players do")
    return game.game_return


def _drawn(task: Task) -> Task:
    """The same task, whose environment can be asked for pictures."""
    return replace(task, kwargs=task.kwargs | {"render_mode": "rgb_array"})


class _Film:
    """The panels of a video for each step of a game."""

    def __init__(self, task: Task, correspondence: Correspondence | None, video: GameVideo) -> None:
        self._task, self._correspondence, self._video = task, correspondence, video
        self._spec, _ = probe(task)
        self._names = action_names(task)

    def open_lanes(self, count: int) -> Lanes:
        """The lanes of the game, which the pictures of vectors and signals are asked of."""
        self._lanes = Lanes(self._task if self._spec.kind == IMAGE else _drawn(self._task), count)
        return self._lanes

    def show(self, states: Tensor, actions: NDArray[np.int64]) -> None:
        """Add one step to the video."""
        seen, translated = f"{self._task.role} as seen", "translated to the source"
        views: list[tuple[str, Any, Tensor]] = [(seen, self._spec, states)]
        if self._correspondence is not None:
            source = self._correspondence.source_scaling
            views.append(
                (
                    translated,
                    source.spec,
                    source.model_to_raw(self._correspondence.translate(states)),
                )
            )
        panels = [
            (title, newest_frames(raw, spec)[0])
            for title, spec, raw in views
            if spec.kind != VECTOR
        ]
        if self._spec.kind != IMAGE:
            panels.insert(0, (self._task.id, self._lanes.picture()))
        numbers = [(title, raw[0].tolist()) for title, spec, raw in views if spec.kind == VECTOR]
        if numbers:
            panels.append(("state", numbers_panel(numbers)))
        self._video.add(panels, f"action: {self._names[int(actions[0])]}")
