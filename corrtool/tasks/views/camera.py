"""A view of the screen as a camera in front of it sees it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from corrtool.states import IMAGE, StateSpec
from corrtool.tasks.views.base import Frames, View, require_kind, whole_number

_USUAL_SIDE = 84  # pixels, for which the blur is given


@dataclass(frozen=True)
class Lens:
    """One camera in front of a screen.

    Attributes:
        corners: how far the screen's corners (top left, top right, bottom left, bottom right) lie
            inside the picture, right and down, as shares of its width and height: perspective.
        barrel: by which share a corner of the picture looks further out than it would without
            distortion; the excess grows with the third power of the distance from the centre.
        vignette: by which share the corners are darker than the centre.
        blur: σ in pixels of a picture of 84 × 84.
        gains, offsets: of each channel, level ↦ gain · level + offset: the cast, and the grey of a
            black screen.
    """

    corners: tuple[tuple[float, float], ...] = ((0.0, 0.0),) * 4
    barrel: float = 0.0
    vignette: float = 0.0
    blur: float = 0.0
    gains: tuple[float, ...] = (1.0,)
    offsets: tuple[float, ...] = (0.0,)

    @classmethod
    def drawn(cls, seed: int, channels: int) -> Self:
        """A mild one from a seed: the whole screen stays in sight, and things keep their shape."""
        random = np.random.default_rng(seed)
        inwards = random.uniform(0.0, 0.06, (4, 2)) * [(1, 1), (-1, 1), (1, -1), (-1, -1)]
        return cls(
            corners=tuple((float(right), float(down)) for right, down in inwards),
            barrel=float(random.uniform(0.02, 0.08)),
            vignette=float(random.uniform(0.1, 0.3)),
            blur=float(random.uniform(0.3, 0.7)),
            gains=tuple(random.uniform(0.8, 1.0, channels).tolist()),
            offsets=tuple(random.uniform(0.0, 16.0, channels).tolist()),
        )


class Optics:
    """A lens for pictures of one size; what does not depend on a picture is computed once.

    Attributes:
        columns, rows: (H, W) float32, where on the screen each pixel of the view looks.
        light: (H, W) float32, how much of the light arrives there.
    """

    def __init__(self, lens: Lens, height: int, width: int) -> None:
        self._blur = lens.blur * min(height, width) / _USUAL_SIDE
        self._gains, self._offsets = (
            np.asarray(part, dtype=np.float32)[:, None, None] for part in (lens.gains, lens.offsets)
        )
        far = np.array([width - 1, height - 1], dtype=np.float64)
        pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)  # (H, W, 2)
        from_centre = pixels - far / 2
        squared = (from_centre**2).sum(axis=-1) / (
            (far / 2) ** 2
        ).sum()  # of the distance; 1: a corner
        unbent = far / 2 + from_centre * (1 + lens.barrel * squared[..., None])
        screen = np.array([(0, 0), (1, 0), (0, 1), (1, 1)]) * far
        seen = screen + np.array(lens.corners) * far
        flat = cv2.getPerspectiveTransform(seen.astype(np.float32), screen.astype(np.float32))
        looks_at = cv2.perspectiveTransform(unbent.reshape(1, -1, 2), flat)
        looks_at = looks_at.reshape(height, width, 2).astype(np.float32)
        self.columns, self.rows = (np.ascontiguousarray(looks_at[..., axis]) for axis in (0, 1))
        self.light: NDArray[np.float32] = (1 - lens.vignette * squared).astype(np.float32)

    def photograph(self, pictures: Frames) -> Frames:
        """Pictures (N, C, H, W) uint8 as the camera shows them."""
        height, width = pictures.shape[-2:]
        seen = np.stack([self._seen(picture) for picture in pictures.reshape(-1, height, width)])
        levels = self.light * (self._gains * seen.reshape(pictures.shape) + self._offsets)
        shown: Frames = np.rint(levels).clip(0, 255).astype(np.uint8)
        return shown

    def _seen(self, picture: Frames) -> Frames:
        """One channel (H, W), before light and cast; black beside the screen."""
        bent = cv2.remap(picture, self.columns, self.rows, cv2.INTER_LINEAR, borderValue=0)
        if self._blur == 0:
            return np.asarray(bent)
        return np.asarray(cv2.GaussianBlur(bent, (0, 0), self._blur))


@functools.lru_cache(maxsize=8)
def _optics(seed: int, channels: int, height: int, width: int) -> Optics:
    return Optics(Lens.drawn(seed, channels), height, width)


@dataclass(frozen=True)
class Camera(View):
    """``camera:SEED``: the screen as a camera sees it, all of it drawn from the seed.

    The screen stands a little askew (perspective) and bends outwards (barrel distortion), is
    blurred, darker at the corners (vignette), and has a cast: each channel loses some contrast, and
    black is grey. Lens and place are the same for every frame.
    """

    seed: int

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        return cls(whole_number(argument, 0))

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind(IMAGE, spec, self.identity())
        return spec

    def frames(self, frames: Frames) -> Frames:
        return _optics(self.seed, *frames.shape[1:]).photograph(frames)

    def identity(self) -> str:
        return f"camera:{self.seed}"
