"""Views that add noise, which looks random and yet depends on nothing but the frame.

A view is a function of the frame: it keeps no count and no generator, so that a run which is
killed resumes with the same noise, and a memory can be made again. The generator of each frame's
noise is seeded with a hash of the frame's bytes and of the view's text. *Equal frames have equal
noise*: where nothing moves the noise stands still, and a game that comes to a state again shows it
as it did before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from corrtool.errors import UsageError
from corrtool.states import MAX_FRAMES_OR_PIXELS, VECTOR, StateSpec
from corrtool.tasks.views.base import (
    MAX_NUMBER,
    Frames,
    View,
    require_kind,
    shortest,
    whole_number,
)


def normal_numbers(frames: Frames, text: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal numbers (N, *shape), which follow from each frame and the view's text."""
    return np.stack(
        [_generator(frame, text).standard_normal(shape, dtype=np.float32) for frame in frames]
    )


def _generator(frame: Frames, text: str) -> np.random.Generator:
    content = (frame + 0).tobytes()  # -0.0 + 0 is 0.0, so that equal numbers are equal bytes
    digest = hashlib.blake2b(text.encode() + b"\0" + content, digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


@dataclass(frozen=True)
class Noise(View):
    """``noise:SIGMA``: adds Gaussian noise to every pixel, coordinate of a vector, or sample.

    Of pictures σ is in grey levels of 255, each channel has noise of its own, and the sum is
    rounded and clipped to a byte; of vectors and signals it is in the task's units. Equal
    frames have equal noise.
    """

    sigma: float

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        sigma = float(argument)
        if not 0 < sigma <= MAX_NUMBER:
            raise ValueError
        return cls(sigma)

    def frames(self, frames: Frames) -> Frames:
        noise = normal_numbers(frames, self.identity(), frames.shape[1:])
        noisy: Frames = frames + np.float32(self.sigma) * noise
        if frames.dtype != np.uint8:
            return noisy
        return np.rint(noisy).clip(0, 255).astype(np.uint8)

    def identity(self) -> str:
        return f"noise:{shortest(self.sigma)}"


@dataclass(frozen=True)
class Pad(View):
    """``pad:N``: N more coordinates after those of the vector, of standard normal noise.

    They say nothing about the game, which a correspondence has to find out. Equal frames have equal
    noise.
    """

    count: int

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        return cls(whole_number(argument, 1))

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind(VECTOR, spec, self.identity())
        size = spec.frame_shape[0] + self.count
        if size > MAX_FRAMES_OR_PIXELS:
            raise UsageError(
                f"{self.identity()} makes more than {MAX_FRAMES_OR_PIXELS:,} coordinates",
                "add fewer",
            )
        return replace(spec, frame_shape=(size,))

    def frames(self, frames: Frames) -> Frames:
        return np.concatenate(
            [frames, normal_numbers(frames, self.identity(), (self.count,))], axis=1
        )

    def identity(self) -> str:
        return f"pad:{self.count}"
