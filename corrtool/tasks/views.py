"""Views: transforms of what the agent sees, which make a target task out of a known environment.

A view works on a batch of frames, before they are stacked, so that a memory holds each frame once.
Images are ``(N, C, H, W)`` uint8, vectors ``(N, n)`` float32. Each view is written as
``name:argument``.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from corrtool.errors import UsageError
from corrtool.files.atomic import regular_file
from corrtool.states import IMAGE, VECTOR, StateSpec

Frames = NDArray[Any]


class View(Protocol):
    """One transform of a task's observations."""

    def spec(self, spec: StateSpec) -> StateSpec:
        """The states after the view, or :class:`UsageError` where it cannot show such states."""

    def frames(self, frames: Frames) -> Frames:
        """A batch of frames as the agent sees it."""

    def identity(self) -> str:
        """Everything that defines the view, for comparing tasks."""


def _require(kind: str, spec: StateSpec, text: str) -> None:
    if spec.kind != kind:
        raise UsageError(
            f"view {text!r} is for {kind} states, but this task has {spec.kind} states",
            "remove the view",
        )


def _shortest(number: float) -> str:
    """A number as text that no other number has: 90.0 → 90, 33.3333333 as it is."""
    return repr(float(number)).removesuffix(".0")


@dataclass(frozen=True)
class Rotate:
    """``rotate:DEG``: counter-clockwise.

    Quarter turns are exact; other angles are sampled bilinearly about the centre.
    """

    degrees: float

    def spec(self, spec: StateSpec) -> StateSpec:
        _require(IMAGE, spec, self.identity())
        channels, height, width = spec.frame_shape
        return replace(
            spec,
            frame_shape=(channels, width, height) if self.degrees % 180 == 90 else spec.frame_shape,
        )

    def frames(self, frames: Frames) -> Frames:
        if self.degrees % 90 == 0:
            return np.rot90(frames, int(self.degrees // 90), axes=(-2, -1)).copy()
        height, width = frames.shape[-2:]
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), self.degrees, 1.0)
        turned = [
            cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=0)
            for picture in frames.reshape(-1, height, width)
        ]
        return np.stack(turned).reshape(frames.shape)

    def identity(self) -> str:
        return f"rotate:{_shortest(self.degrees)}"


@dataclass(frozen=True)
class Flip:
    """``flip:h`` mirrors left and right, ``flip:v`` top and bottom."""

    axis: str

    def spec(self, spec: StateSpec) -> StateSpec:
        _require(IMAGE, spec, self.identity())
        return spec

    def frames(self, frames: Frames) -> Frames:
        return np.flip(frames, axis=-1 if self.axis == "h" else -2).copy()

    def identity(self) -> str:
        return f"flip:{self.axis}"


@dataclass(frozen=True)
class Invert:
    """``invert``: bright becomes dark."""

    def spec(self, spec: StateSpec) -> StateSpec:
        _require(IMAGE, spec, self.identity())
        return spec

    def frames(self, frames: Frames) -> Frames:
        return 255 - frames

    def identity(self) -> str:
        return "invert"


@dataclass(frozen=True)
class MosaicRotate:
    """``mosaic-rotate:DEG``: the authors' variant, in quarter turns.

    Their code tiles the K frames into one mosaic (2×2 for four) and rotates the mosaic. That turns
    every frame and also moves the frames about, so that the state no longer runs from old to new.
    Here each frame is turned as it comes, and the state's ``stack_order`` does the rest: the result
    is the same, pixel for pixel.
    """

    degrees: int

    def spec(self, spec: StateSpec) -> StateSpec:
        _require(IMAGE, spec, self.identity())
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


@dataclass(frozen=True)
class Permute:
    """``permute:2,0,1``: coordinate i of the view is coordinate ``order[i]`` of the observation."""

    order: tuple[int, ...]

    def spec(self, spec: StateSpec) -> StateSpec:
        _require(VECTOR, spec, self.identity())
        if sorted(self.order) != list(range(spec.frame_shape[0])):
            raise UsageError(
                f"{self.identity()} is not a permutation of {spec.frame_shape[0]} coordinates",
                f"name each of 0 to {spec.frame_shape[0] - 1} once",
            )
        return spec

    def frames(self, frames: Frames) -> Frames:
        return np.ascontiguousarray(frames[:, self.order])

    def identity(self) -> str:
        return "permute:" + ",".join(map(str, self.order))


@dataclass(frozen=True)
class Scale:
    """``scale:-1,1,2``: multiplies each coordinate by its factor; one number multiplies all."""

    factors: tuple[float, ...]

    def spec(self, spec: StateSpec) -> StateSpec:
        _require(VECTOR, spec, self.identity())
        if len(self.factors) not in (1, spec.frame_shape[0]):
            raise UsageError(
                f"{self.identity()} has {len(self.factors)} factors for {spec.frame_shape[0]} "
                "coordinates"
            )
        return spec

    def frames(self, frames: Frames) -> Frames:
        scaled: Frames = frames * np.asarray(self.factors, dtype=np.float32)
        return scaled

    def identity(self) -> str:
        return "scale:" + ",".join(map(_shortest, self.factors))


@dataclass(frozen=True)
class Affine:
    """``affine:FILE``: s ↦ M s + b with ``{"matrix": [[…]], "offset": […]}`` from a JSON file.

    M may change the size.
    """

    matrix: tuple[tuple[float, ...], ...]
    offset: tuple[float, ...]

    def spec(self, spec: StateSpec) -> StateSpec:
        _require(VECTOR, spec, "affine")
        if len(self.matrix[0]) != spec.frame_shape[0]:
            raise UsageError(
                f"the affine view's matrix has {len(self.matrix[0])} columns for "
                f"{spec.frame_shape[0]} coordinates"
            )
        return replace(spec, frame_shape=(len(self.matrix),))

    def frames(self, frames: Frames) -> Frames:
        matrix, offset = (np.asarray(part, dtype=np.float32) for part in (self.matrix, self.offset))
        moved: Frames = frames @ matrix.T + offset
        return moved

    def identity(self) -> str:
        return "affine:" + json.dumps([self.matrix, self.offset])

    @classmethod
    def from_file(cls, path: Path) -> Affine:
        """Read and check the JSON file. Raises :class:`UsageError`."""
        try:
            content = json.loads(regular_file(path).read_text(encoding="utf-8-sig"))
            matrix = tuple(tuple(float(x) for x in row) for row in content["matrix"])
            offset = tuple(float(x) for x in content.get("offset", [0.0] * len(matrix)))
        except OSError as error:
            raise UsageError(f"the affine view cannot read {path}: {error.strerror}") from None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            raise UsageError(
                f"{path} is not an affine view", 'write {"matrix": [[…], …], "offset": […]} into it'
            ) from None
        if (
            not matrix
            or not matrix[0]
            or len({len(row) for row in matrix}) != 1
            or len(offset) != len(matrix)
        ):
            raise UsageError(
                f"{path}: the matrix needs rows of one length and the offset one number per row"
            )
        if not all(abs(x) <= _MAX_NUMBER for row in (*matrix, offset) for x in row):
            raise UsageError(
                f"{path}: every number must be finite, and at most {_MAX_NUMBER:g} in size"
            )
        return cls(matrix, offset)


_MAX_NUMBER = 1e30  # a float32 has no more than 3e38


def parse_view(text: str, directory: Path) -> View:
    """A view from its text, such as ``rotate:90``; files are looked up in ``directory``.

    Raises :class:`UsageError`.
    """
    name, _, argument = text.partition(":")
    try:
        match name:
            case "rotate":
                degrees = float(argument)
                if not math.isfinite(degrees):
                    raise ValueError
                return Rotate(degrees)
            case "flip" if argument in ("h", "v"):
                return Flip(argument)
            case "invert" if not argument:
                return Invert()
            case "mosaic-rotate":
                quarter = int(argument)
                if quarter % 90:
                    raise ValueError
                return MosaicRotate(quarter)
            case "permute":
                return Permute(tuple(int(part) for part in argument.split(",")))
            case "scale":
                factors = tuple(float(part) for part in argument.split(","))
                if not all(0 < abs(factor) <= _MAX_NUMBER for factor in factors):
                    raise ValueError
                return Scale(factors)
            case "affine" if argument:
                return Affine.from_file(directory / argument)
    except ValueError:
        pass
    raise UsageError(
        f"unknown view {text!r}",
        "write rotate:DEG, flip:h, flip:v, invert, mosaic-rotate:DEG (quarter turns), "
        "permute:1,0,…, scale:-1,… or affine:FILE",
    )
