"""`evaluate` without an emulator, a network or a file: games that last as their seeds say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from corrtool.errors import InterruptedRunError
from corrtool.project.artifacts import Artifact
from corrtool.project.directory import Project
from corrtool.runs.context import StageContext
from corrtool.runs.loop import StopSignals
from corrtool.runtime.console import Console
from corrtool.runtime.seeds import derive_seeds
from corrtool.settings.stages import EvaluateSettings
from corrtool.stages import evaluate as stage
from corrtool.stages.evaluate import GamesPlayed, Job
from corrtool.stages.players import Player
from corrtool.tasks import LaneStep
from support.countdown import Countdown
from support.values import Values

CPU = torch.device("cpu")
SEED = 6
SEEDS = derive_seeds(SEED, "evaluate", 5)
STEPS = [1, 2, 5, 4, 3]  # of the games with these seeds
PROJECT = """
[source]
id = "CartPole-v1"
[target]
id = "ALE/Breakout-v5"
preprocessing = {terminal_on_life_loss = true, repeat_action_probability = 0.25}
"""


def artifact(kind: str, name: str) -> Artifact:
    return Artifact(kind, name, Path(name), {"sha256": f"{kind} {name}"})


class Games(Countdown):
    """Games of one to five steps, by their seed, which note the seeds they are reset with."""

    def __init__(self, count: int, after_step: Callable[[], None] = lambda: None) -> None:
        super().__init__(count)
        self.resets: list[list[int]] = []
        self._after_step = after_step

    def reset(self, seeds: list[int]) -> NDArray[Any]:
        self.resets.append(seeds)
        return super().reset([1 + seed % 5 for seed in seeds])

    def restart(self, lanes: list[int], seeds: list[int]) -> NDArray[Any]:
        self.resets.append(seeds)
        return super().restart(lanes, [1 + seed % 5 for seed in seeds])

    def receive(self) -> LaneStep:
        step = super().receive()
        self._after_step()
        return step


class Idle(Games):
    """The same without a reward."""

    def receive(self) -> LaneStep:
        return replace(super().receive(), rewards=np.zeros(self.count, np.float32))


class Endless(Games):
    """Games that neither end nor have a time limit of their own."""

    has_time_limit = False
    reward_threshold: float | None = None

    def receive(self) -> LaneStep:
        return replace(super().receive(), terminated=np.zeros(self.count, bool))


def _third_of_three(raw: torch.Tensor, lanes: Any) -> torch.Tensor:
    return torch.tensor([[0.0, 0.0, 1.0]]).expand(len(raw), 3)


# Q-values whose best action is the last of three.
third_action = Values(_third_of_three)


@dataclass(frozen=True)
class Playing(Player):
    """A player that loads nothing."""

    def q_values(self, spec: Any, device: Any) -> Any:
        assert (spec, device) == (Countdown.spec, CPU)
        return third_action if self.q is not None else None


class _Bar(nullcontext[None]):
    """A progress display that notes what it was to show."""

    def __init__(self, seen: list[Any]) -> None:
        super().__init__()
        self._seen = seen

    def show(self, count: int, numbers: Any = None) -> None:
        self._seen.append(("show", count, numbers))

    def advance(self, count: int, numbers: Any = None) -> None:
        self._seen.append(("advance", count, numbers))


@dataclass(frozen=True)
class _Noting(Console):
    """A console that notes what it was to show."""

    seen: list[Any] = field(default_factory=list)

    def say(self, message: str) -> None:
        self.seen.append(message)

    def progress(
        self,
        title: str,
        total: int,
        unit: str,
        start: int = 0,
        *,
        steady: bool = True,
        seconds_left: Callable[[], float | None] = lambda: None,
    ) -> Any:
        self.seen.append((title, total, unit, start, steady))
        return _Bar(self.seen)


class Opened:
    """A run that keeps in memory what it should write."""

    def __init__(self, job: Job) -> None:
        self.request, self.project = job.request, job.context.project
        self.directory = self.project.root / "runs"
        self.saved, self.lines = list[Any](), list[Any]()
        self.resumptions = 0
        self.metrics = SimpleNamespace(write=lambda *line: self.lines.append(line))

    def save(self, state: Any) -> None:
        self.saved.append(state)

    def restore(self, resumable: GamesPlayed, state: Any) -> None:
        self.resumptions += 1
        resumable.load_state(state)


@dataclass
class Played:
    """What came of playing: the run, the lanes that were opened, and the result, if it ended."""

    run: Opened
    stop: StopSignals
    lanes: list[Games] = field(default_factory=list)
    result: Any = None

    @property
    def seeds(self) -> list[list[int]]:
        """Of each wave."""
        return [seeds for lanes in self.lanes for seeds in lanes.resets]


class Evaluation:
    """A project in ``directory``, and what `evaluate` plans and plays in it."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (directory / "corrtool.toml").write_text(PROJECT)
        self._patch = monkeypatch
        monkeypatch.setattr(stage, "probe", lambda task: (Countdown.spec, Countdown.actions))
        self.shown: list[Any] = []
        self.context = StageContext(Project(directory), _Noting(seen=self.shown), CPU, seed=SEED)

    def plan(self, player: Player = Playing(), name: str | None = None, **values: Any) -> Job:
        """The plan with ``player`` in place of the one that a project's artifacts would give."""
        self._patch.setattr(stage, "choose_player", lambda *_, **named: player)
        self._patch.setattr(stage, "check_player", lambda *_: None)
        context, settings = replace(self.context, name=name), EvaluateSettings(**values)
        return stage.plan(context, settings, q=None, corr=None, no_corr=False)

    def play(
        self,
        job: Job,
        state: Any = None,
        kind: type[Games] = Games,
        after_step: Callable[[Played], None] = lambda played: None,
    ) -> Played:
        """Play the games of ``job``; ``after_step`` is called at each step of a wave."""
        opened: Any = Opened(job)
        played = Played(opened, StopSignals())

        def open_lanes(task: Any, count: int) -> Games:
            assert task == job.played
            played.lanes.append(kind(count, partial(after_step, played)))
            return played.lanes[-1]

        self._patch.setattr(stage, "lanes_in_turns", open_lanes)
        try:
            played.result = stage.run(job, opened, played.stop, state)
        except InterruptedRunError:
            played.result = None
        return played
