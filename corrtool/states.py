"""The form of a task's states: what they are, their shape and how frames are stacked.

Their value ranges are the matter of :mod:`corrtool.state_scaling`. Nothing here imports torch, so
that commands that only read manifests start quickly.
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

IMAGE = "image"
VECTOR = "vector"
SIGNAL = "signal"
FRAME_AXES = {IMAGE: 3, SIGNAL: 2, VECTOR: 1}  # of each kind of states
GRID = "grid"  # not a kind of states, but of settings: those of small pictures
GRID_SIDE = 32  # pixels; pictures with a shorter side get networks that look at every pixel
FOLDED_SIDE = 16  # pixels; from here on F and Q of such pictures do not, unless they are told to
MAX_FRAMES_OR_PIXELS = 1 << 20  # along one axis; more is the lie of a hostile file


@dataclass(frozen=True)
class StateSpec:
    """The form of a task's states.

    A *frame* is what the environment shows in one time step, a *state* the last ``stack`` frames.

    Attributes:
        kind: ``"image"``, ``"signal"`` or ``"vector"``.
        frame_shape: ``(channels, height, width)`` of an image frame, ``(channels, length)`` of a
            signal, whose samples follow each other in time, ``(size,)`` of a vector.
        stack: how many frames make a state (K); 4 for Atari as in Mnih et al. 2013.
        stack_order: the order in which the K frames, oldest first, appear in the state. Only the
            ``mosaic-rotate`` view, which moves whole frames about, changes it.
    """

    kind: str
    frame_shape: tuple[int, ...]
    stack: int = 1
    stack_order: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in FRAME_AXES:
            raise ValueError(f"unknown state kind {self.kind!r}")
        sizes = [self.stack, *self.frame_shape]
        if len(self.frame_shape) != FRAME_AXES[self.kind] or not all(
            0 < size <= MAX_FRAMES_OR_PIXELS for size in sizes
        ):
            raise ValueError(f"a state of {self.stack} frames of the shape {self.frame_shape}")
        if not self.stack_order:
            object.__setattr__(self, "stack_order", tuple(range(self.stack)))
        if sorted(self.stack_order) != list(range(self.stack)):
            raise ValueError(
                f"stack_order {self.stack_order} is not a permutation of {self.stack} frames"
            )

    @functools.cached_property
    def state_shape(self) -> tuple[int, ...]:
        """Shape of one state: ``(K·channels, …)``, of a vector ``(K·size,)``."""
        return (self.stack * self.frame_shape[0], *self.frame_shape[1:])

    @property
    def frame_dtype(self) -> torch.dtype:
        """``uint8`` for images, ``float32`` for vectors and signals."""
        import torch

        return torch.uint8 if self.kind == IMAGE else torch.float32

    @property
    def is_grid(self) -> bool:
        """True for small pictures, such as the 10×10 of MinAtar.

        Halving them would leave next to nothing.
        """
        return self.kind == IMAGE and min(self.frame_shape[1:]) < GRID_SIDE

    @property
    def settings_kind(self) -> str:
        """The table of a preset for such states: its kind, or ``"grid"``."""
        return GRID if self.is_grid else self.kind

    @functools.cached_property
    def _in_order(self) -> bool:
        return self.stack_order == tuple(range(self.stack))

    def stack_frames(self, frames: Tensor) -> Tensor:
        """Frames ``(B, K, *frame_shape)``, oldest first, to states ``(B, *state_shape)``."""
        if not self._in_order:
            frames = frames[:, list(self.stack_order)]
        return frames.reshape(frames.shape[0], *self.state_shape)

    def frames_of(self, states: Tensor) -> Tensor:
        """The inverse of :meth:`stack_frames`.

        States ``(B, *state_shape)`` to frames ``(B, K, *frame_shape)``, oldest first.
        """
        frames = states.reshape(states.shape[0], self.stack, *self.frame_shape)
        if not self._in_order:
            frames = frames[:, [self.stack_order.index(frame) for frame in range(self.stack)]]
        return frames

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, for manifests."""
        return asdict(self) | {
            "frame_shape": list(self.frame_shape),
            "stack_order": list(self.stack_order),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> StateSpec:
        """The inverse of :meth:`to_json`. Raises ValueError when a field does not fit."""
        try:
            return cls(
                kind=value["kind"],
                frame_shape=tuple(int(n) for n in value["frame_shape"]),
                stack=int(value["stack"]),
                stack_order=tuple(int(n) for n in value["stack_order"]),
            )
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(
                f"its states are described in a way this version cannot read ({error})"
            ) from None

    def __str__(self) -> str:
        if self.kind == VECTOR:
            return f"{self.frame_shape[0]} numbers, {self.stack} stacked"
        channels, *sides = self.frame_shape
        plural = "s" * (channels > 1)
        if self.kind == SIGNAL:
            return f"{sides[0]:,} samples, {channels} channel{plural}, {self.stack} stacked"
        height, width = sides
        return f"{height} × {width} pixels, {channels} channel{plural}, {self.stack} stacked"
