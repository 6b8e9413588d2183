"""A view of the game in front of a picture."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from corrtool.states import IMAGE, StateSpec
from corrtool.tasks.views.base import Frames, View, require_kind, whole_number

_BRIGHTEST = 96.0  # grey levels of 255: what the game draws in lighter ones stays in front
_WAVES = 6
_MOST_PERIODS = 3.0  # over a side: patches of the size of a wall, not of a ball


@functools.lru_cache(maxsize=8)
def wallpaper(seed: int, channels: int, height: int, width: int) -> NDArray[np.float32]:
    """A smooth picture (C, H, W) from a seed: waves across each channel, from 0 to _BRIGHTEST."""
    random = np.random.default_rng(seed)
    down, right = np.mgrid[0:height, 0:width] / max(height, width)
    periods = random.uniform(-_MOST_PERIODS, _MOST_PERIODS, (channels, _WAVES, 2))
    phases = random.uniform(0, 2 * np.pi, (channels, _WAVES))
    angles = 2 * np.pi * np.tensordot(periods, np.stack([down, right]), axes=1)
    waves = np.cos(angles + phases[..., None, None]).sum(axis=1)
    lowest, highest = (f(waves, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    picture: NDArray[np.float32] = (_BRIGHTEST * (waves - lowest) / (highest - lowest)).astype(
        np.float32
    )
    return picture


@dataclass(frozen=True)
class Background(View):
    """``background:SEED``: the game in front of a smooth picture, which is drawn from the seed.

    Black shows the picture, white hides it, what is between does so in part: where the picture has
    level w, a level f becomes f + w (1 − f / 255). The picture is the same for every frame.
    """

    seed: int

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        return cls(whole_number(argument, 0))

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind(IMAGE, spec, self.identity())
        return spec

    def frames(self, frames: Frames) -> Frames:
        behind = wallpaper(self.seed, *frames.shape[1:])
        shown: Frames = np.rint(frames + behind * (1 - frames / np.float32(255))).astype(np.uint8)
        return shown

    def identity(self) -> str:
        return f"background:{self.seed}"
