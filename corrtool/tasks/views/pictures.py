"""Views of pictures: frames (N, C, H, W) uint8."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from corrtool.errors import UsageError
from corrtool.states import IMAGE, SIGNAL, StateSpec
from corrtool.tasks.views.base import (
    Frames,
    View,
    joined,
    require_kind,
    require_permutation,
    shortest,
    whole_numbers,
)

MAX_ZOOM = 100.0
_SEVERAL_CHANNELS = {  # of each kind what has them, and how to see more than one
    IMAGE: ("pictures", ", or show colours (Atari games: --no-grayscale)"),
    SIGNAL: ("signals", ""),
}


@dataclass(frozen=True)
class Rotate(View):
    """``rotate:DEG``: counter-clockwise.

    Quarter turns are exact; other angles are sampled bilinearly about the centre.
    """

    degrees: float

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        degrees = float(argument)
        if not math.isfinite(degrees):
            raise ValueError
        return cls(degrees)

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind(IMAGE, spec, self.identity())
        channels, height, width = spec.frame_shape
        return replace(
            spec,
            frame_shape=(channels, width, height) if self.degrees % 180 == 90 else spec.frame_shape,
        )

    def frames(self, frames: Frames) -> Frames:
        if self.degrees % 90 == 0:
            return np.rot90(frames, int(self.degrees // 90), axes=(-2, -1)).copy()
        return _about_the_centre(frames, self.degrees, 1.0)

    def identity(self) -> str:
        return f"rotate:{shortest(self.degrees)}"


@dataclass(frozen=True)
class Zoom(View):
    """``zoom:FACTOR``: larger or smaller about the centre, sampled bilinearly.

    What a factor below 1 uncovers is black; what one above 1 moves over the edge is lost.
    """

    factor: float

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        factor = float(argument)
        if not 1 / MAX_ZOOM <= factor <= MAX_ZOOM:
            raise ValueError
        return cls(factor)

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind(IMAGE, spec, self.identity())
        return spec

    def frames(self, frames: Frames) -> Frames:
        return _about_the_centre(frames, 0.0, self.factor)

    def identity(self) -> str:
        return f"zoom:{shortest(self.factor)}"


def _about_the_centre(frames: Frames, degrees: float, factor: float) -> Frames:
    """Pictures (N, C, H, W) turned and enlarged about their centre; black comes in from outside."""
    height, width = frames.shape[-2:]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, factor)
    moved = [
        cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=0)
        for picture in frames.reshape(-1, height, width)
    ]
    return np.stack(moved).reshape(frames.shape)


@dataclass(frozen=True)
class Shift(View):
    """``shift:DX,DY``: by whole pixels, right and down, or left and up where negative.

    Black comes in at the opposite edges.
    """

    right: int
    down: int

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        right, down = whole_numbers(argument)
        return cls(right, down)

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind(IMAGE, spec, self.identity())
        height, width = spec.frame_shape[1:]
        if abs(self.right) >= width or abs(self.down) >= height:
            raise UsageError(
                f"{self.identity()} moves a picture of {height} × {width} pixels out of sight",
                "shift by less than its sides",
            )
        return spec

    def frames(self, frames: Frames) -> Frames:
        height, width = frames.shape[-2:]
        shifted = np.zeros_like(frames)
        shifted[..., _stays(self.down, height), _stays(self.right, width)] = frames[
            ..., _stays(-self.down, height), _stays(-self.right, width)
        ]
        return shifted

    def identity(self) -> str:
        return f"shift:{self.right},{self.down}"


def _stays(shift: int, size: int) -> slice:
    """Where what stays of an axis lies after a shift; before it, where the shift is the reverse."""
    return slice(max(shift, 0), size + min(shift, 0))


@dataclass(frozen=True)
class Flip(View):
    """``flip:h`` mirrors left and right, ``flip:v`` top and bottom."""

    axis: str

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        if argument not in ("h", "v"):
            raise ValueError
        return cls(argument)

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind(IMAGE, spec, self.identity())
        return spec

    def frames(self, frames: Frames) -> Frames:
        return np.flip(frames, axis=-1 if self.axis == "h" else -2).copy()

    def identity(self) -> str:
        return f"flip:{self.axis}"


@dataclass(frozen=True)
class Invert(View):
    """``invert``: bright becomes dark."""

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        if argument:
            raise ValueError
        return cls()

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind(IMAGE, spec, self.identity())
        return spec

    def frames(self, frames: Frames) -> Frames:
        return 255 - frames

    def identity(self) -> str:
        return "invert"


@dataclass(frozen=True)
class Channels(View):
    """``channels:2,0,1``: channel i is what was channel ``order[i]`` of the picture or signal."""

    order: tuple[int, ...]

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        return cls(whole_numbers(argument))

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind((IMAGE, SIGNAL), spec, self.identity())
        if spec.frame_shape[0] == 1:
            things, advice = _SEVERAL_CHANNELS[spec.kind]
            raise UsageError(
                f"view {self.identity()!r} is for {things} of several channels, but those of this "
                "task have one",
                f"remove the view{advice}",
            )
        require_permutation(self.order, spec.frame_shape[0], "channels", self.identity())
        return spec

    def frames(self, frames: Frames) -> Frames:
        return np.ascontiguousarray(frames[:, self.order])

    def identity(self) -> str:
        return f"channels:{joined(self.order)}"


@dataclass(frozen=True)
class MosaicRotate(View):
    """``mosaic-rotate:DEG``: the authors' variant, in quarter turns.

    Their code tiles the K frames into one mosaic (2×2 for four) and rotates the mosaic. That turns
    every frame and also moves the frames about, so that the state no longer runs from old to new.
    Here each frame is turned as it comes, and the state's ``stack_order`` does the rest: the result
    is the same, pixel for pixel.
    """

    degrees: int

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        degrees = int(argument)
        if degrees % 90:
            raise ValueError
        return cls(degrees)

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind(IMAGE, spec, self.identity())
        side = math.isqrt(spec.stack)
        if side * side != spec.stack or side < 2:
            raise UsageError(
                f"mosaic-rotate tiles a square number of frames, but the stack is {spec.stack}",
                "stack 4 frames",
            )
        tiles = np.rot90(np.array(spec.stack_order).reshape(side, side), self.degrees // 90)
        turned = Rotate(self.degrees).spec(spec)
        return replace(turned, stack_order=tuple(int(frame) for frame in tiles.ravel()))

    def frames(self, frames: Frames) -> Frames:
        return Rotate(self.degrees).frames(frames)

    def identity(self) -> str:
        return f"mosaic-rotate:{self.degrees}"
