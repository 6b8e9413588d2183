"""Views of signals: frames (N, C, L) float32, whose samples follow each other in time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from corrtool.errors import UsageError
from corrtool.states import SIGNAL, StateSpec
from corrtool.tasks.views.base import Frames, View, factors_of, require_kind, shortest

MAX_PITCH = 16.0


@dataclass(frozen=True)
class Gain(View):
    """``gain:0.5,-1``: multiplies each channel by its factor; one number multiplies all.

    Its inverse has the reciprocals.
    """

    factors: tuple[float, ...]

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        return cls(factors_of(argument))

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind(SIGNAL, spec, self.identity())
        if len(self.factors) not in (1, spec.frame_shape[0]):
            raise UsageError(
                f"{self.identity()} has {len(self.factors)} factors for {spec.frame_shape[0]} "
                "channels",
                "give one for each, or one for all",
            )
        return spec

    def frames(self, frames: Frames) -> Frames:
        louder: Frames = frames * np.asarray(self.factors, dtype=np.float32)[:, None]
        return louder

    def identity(self) -> str:
        return "gain:" + ",".join(map(shortest, self.factors))


@dataclass(frozen=True)
class Pitch(View):
    """``pitch:FACTOR``: so many times as high and as fast; sample i shows what was at FACTOR · i.

    Between two samples it is interpolated linearly. Above 1 silence follows what is over sooner;
    below 1 the end is cut off. Its inverse is the reciprocal, but for what is interpolated or lost.
    """

    factor: float

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        factor = float(argument)
        if not 1 / MAX_PITCH <= factor <= MAX_PITCH:
            raise ValueError
        return cls(factor)

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind(SIGNAL, spec, self.identity())
        return spec

    def frames(self, frames: Frames) -> Frames:
        length = frames.shape[-1]
        at = np.minimum(self.factor * np.arange(length), length)  # there it is silent
        before = at.astype(np.int64)
        share = (at - before).astype(np.float32)
        silent = np.zeros((*frames.shape[:-1], 2), np.float32)
        padded = np.concatenate([frames, silent], axis=-1)
        heard: Frames = padded[..., before] * (1 - share) + padded[..., before + 1] * share
        return heard

    def identity(self) -> str:
        return f"pitch:{shortest(self.factor)}"


@dataclass(frozen=True)
class Delay(View):
    """``delay:N``: by N samples later, or earlier where negative; silence comes in.

    Its inverse is ``delay:-N``, but for what is lost at the edge.
    """

    samples: int

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        return cls(int(argument))

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind(SIGNAL, spec, self.identity())
        length = spec.frame_shape[1]
        if abs(self.samples) >= length:
            raise UsageError(
                f"{self.identity()} moves a signal of {length} samples out of hearing",
                "delay by less than its length",
            )
        return spec

    def frames(self, frames: Frames) -> Frames:
        length, by = frames.shape[-1], self.samples
        delayed = np.zeros_like(frames)
        delayed[..., max(by, 0) : length + min(by, 0)] = frames[
            ..., max(-by, 0) : length - max(by, 0)
        ]
        return delayed

    def identity(self) -> str:
        return f"delay:{self.samples}"
