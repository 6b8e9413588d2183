"""Lanes in two halves that take turns: one is played on while a network looks at the other."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corrtool.tasks.environments import Lanes, LanesLike, LaneStep
from corrtool.tasks.task import Task


class LanesInTurns:
    """Lanes whose ``halves`` can be sent and received apart; together they are lanes as any.

    Args:
        halves: lanes of the same task; the seeds and actions of the first come first.
    """

    def __init__(self, halves: list[Lanes]) -> None:
        self.halves = halves
        self.count = sum(half.count for half in halves)
        self.spec, self.actions = halves[0].spec, halves[0].actions
        self.frames_per_step = halves[0].frames_per_step
        self.has_time_limit = halves[0].has_time_limit
        self.reward_threshold = halves[0].reward_threshold
        ends = [0, *np.cumsum([half.count for half in halves]).tolist()]
        self._own = [slice(*pair) for pair in itertools.pairwise(ends)]

    def __enter__(self) -> LanesInTurns:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as opened:
            for half in self.halves:
                opened.enter_context(half)

    def reset(self, seeds: list[int]) -> NDArray[Any]:
        """As :meth:`Lanes.reset`."""
        pairs = zip(self.halves, self._own, strict=True)
        return np.concatenate([half.reset(seeds[own]) for half, own in pairs])

    def restart(self, lanes: list[int], seeds: list[int]) -> NDArray[Any]:
        """As :meth:`Lanes.restart`."""
        frames = []
        for half, own in zip(self.halves, self._own, strict=True):
            pairs = [
                (lane - own.start, seed)
                for lane, seed in zip(lanes, seeds, strict=True)
                if own.start <= lane < own.stop
            ]
            if pairs:
                frames.append(half.restart(*map(list, zip(*pairs, strict=True))))
        return np.concatenate(frames)

    def send(self, actions: NDArray[np.int64]) -> None:
        """As :meth:`Lanes.send`."""
        for half, own in zip(self.halves, self._own, strict=True):
            half.send(actions[own])

    def receive(self) -> LaneStep:
        """As :meth:`Lanes.receive`."""
        steps = [half.receive() for half in self.halves]
        names = [field.name for field in fields(LaneStep)]
        return LaneStep(
            **{name: np.concatenate([getattr(step, name) for step in steps]) for name in names}
        )


def lanes_in_turns(task: Task, count: int) -> LanesLike:
    """``count`` lanes of ``task`` for play, in two halves where its emulators run by themselves.

    Raises :class:`UsageError` as :class:`Lanes` does.
    """
    if count == 1 or not task.runs_by_itself:
        return Lanes(task, count)
    with ExitStack() as opened:
        halves = [
            opened.enter_context(Lanes(task, half)) for half in (count - count // 2, count // 2)
        ]
        opened.pop_all()
    return LanesInTurns(halves)
