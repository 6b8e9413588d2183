"""Views of vectors: frames (N, n) float32."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from corrtool.errors import UsageError
from corrtool.files.atomic import regular_file
from corrtool.states import VECTOR, StateSpec
from corrtool.tasks.views.base import (
    MAX_NUMBER,
    Frames,
    View,
    factors_of,
    joined,
    require_kind,
    require_permutation,
    shortest,
    whole_number,
    whole_numbers,
)

MAX_ORTHOGONAL = 2048  # coordinates; the matrix of so many takes some seconds to draw


@dataclass(frozen=True)
class Permute(View):
    """``permute:2,0,1``: coordinate i of the view is coordinate ``order[i]`` of the observation."""

    order: tuple[int, ...]

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        return cls(whole_numbers(argument))

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind(VECTOR, spec, self.identity())
        require_permutation(self.order, spec.frame_shape[0], "coordinates", self.identity())
        return spec

    def frames(self, frames: Frames) -> Frames:
        return np.ascontiguousarray(frames[:, self.order])

    def identity(self) -> str:
        return f"permute:{joined(self.order)}"


@dataclass(frozen=True)
class Scale(View):
    """``scale:-1,1,2``: multiplies each coordinate by its factor; one number multiplies all."""

    factors: tuple[float, ...]

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        return cls(factors_of(argument))

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind(VECTOR, spec, self.identity())
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
        return "scale:" + ",".join(map(shortest, self.factors))


@dataclass(frozen=True)
class Orthogonal(View):
    """``orthogonal:SEED``: s ↦ Q s with a random orthogonal matrix Q, drawn from the seed.

    Every coordinate of the view is a mixture of all of the observation's, and lengths and angles
    stay as they are. Q is drawn uniformly (from the Haar measure): Mezzadri 2007, arXiv
    math-ph/0609050.
    """

    seed: int

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        return cls(whole_number(argument, 0))

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind(VECTOR, spec, self.identity())
        if spec.frame_shape[0] > MAX_ORTHOGONAL:
            raise UsageError(
                f"{self.identity()} is for at most {MAX_ORTHOGONAL:,} coordinates, but this task "
                f"has {spec.frame_shape[0]:,}",
                "remove the view",
            )
        return spec

    def frames(self, frames: Frames) -> Frames:
        matrix = orthogonal_matrix(self.seed, frames.shape[1])
        # One by one: BLAS adds in another order for another number of frames, and a frame is to
        # look the same whatever is beside it.
        return np.stack([matrix @ frame for frame in frames]).astype(np.float32)

    def identity(self) -> str:
        return f"orthogonal:{self.seed}"


@functools.lru_cache(maxsize=8)
def orthogonal_matrix(seed: int, size: int) -> NDArray[np.float64]:
    """A random orthogonal matrix (size, size), uniform: the Q of a Gaussian matrix's QR.

    A QR decomposition is unique only once the signs of R's diagonal are positive; with those that
    LAPACK chooses Q would not be uniform.
    """
    gaussian = np.random.default_rng(seed).standard_normal((size, size))
    q, r = np.linalg.qr(gaussian)
    return q * np.where(np.diag(r) < 0, -1.0, 1.0)


@dataclass(frozen=True)
class Affine(View):
    """``affine:FILE``: s ↦ M s + b with ``{"matrix": [[…]], "offset": […]}`` from a JSON file.

    M may change the size.
    """

    matrix: tuple[tuple[float, ...], ...]
    offset: tuple[float, ...]

    @classmethod
    def parse(cls, argument: str, directory: Path) -> Self:
        if not argument:
            raise ValueError
        return cls.from_file(directory / argument)

    def spec(self, spec: StateSpec) -> StateSpec:
        require_kind(VECTOR, spec, "affine")
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
    def from_file(cls, path: Path) -> Self:
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
        if not all(abs(x) <= MAX_NUMBER for row in (*matrix, offset) for x in row):
            raise UsageError(
                f"{path}: every number must be finite, and at most {MAX_NUMBER:g} in size"
            )
        return cls(matrix, offset)
