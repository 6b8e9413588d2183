"""State kinds and value ranges: the only place where the range or the layout of a state changes.

Three ranges exist, and every tensor of states is in exactly one of them:

=====  ==================  =========================  =============================
range  image               vector, signal             who works in it
=====  ==================  =========================  =============================
raw    uint8 in [0, 255]   float32, the task's units  memories, environments
model  float32 in [-1, 1]  standardised: (x - μ) / σ  generators, discriminators, F
q      float32 in [0, 1]   float32, the task's units  Q-functions
=====  ==================  =========================  =============================

Each coordinate of a vector has a μ and a σ of its own, of a signal each channel. The units of a
signal whose full scale is known are -1 to 1 (:mod:`corrtool.tasks.signals`).

The paper's authors train F on [-1, 1] and feed it [0, 1] inside the model loss, which no test could
see. Here a stage never scales anything itself: it asks the :class:`StateScaling` of the task.
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

IMAGE = "image"
VECTOR = "vector"
SIGNAL = "signal"
FRAME_AXES = {IMAGE: 3, SIGNAL: 2, VECTOR: 1}  # of each kind of states
GRID = "grid"  # not a kind of states, but of settings: those of small pictures
GRID_SIDE = 32  # pixels; pictures with a shorter side get networks that look at every pixel
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


class StateScaling(nn.Module):
    """Convert states of one task between the three ranges (see the module's table).

    For images the conversion is fixed. For vectors it standardises with the mean and the standard
    deviation of the task's own memory, because a coordinate's unit says nothing about its
    importance; both are buffers, so they travel with the weights of F and of the correspondence.
    For signals it does so channel by channel, over all samples and frames, so that single frames
    (…, C, L) can be converted as well as states, as those of images can.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, spec: StateSpec, mean: Tensor | None = None, deviation: Tensor | None = None
    ) -> None:
        super().__init__()
        self.spec = spec
        if spec.kind != IMAGE:
            shape = spec.state_shape if spec.kind == VECTOR else (spec.frame_shape[0], 1)
            self.register_buffer("mean", torch.zeros(shape) if mean is None else mean.float())
            self.register_buffer(
                "deviation", torch.ones(shape) if deviation is None else deviation.float()
            )

    @classmethod
    def from_states(cls, spec: StateSpec, states: Tensor) -> StateScaling:
        """Scaling with the statistics of raw ``states`` (N, *state_shape).

        Coordinates, or channels, that never change get σ = 1.
        """
        if spec.kind == IMAGE:
            return cls(spec)
        if spec.kind == SIGNAL:
            return cls(spec, *_of_channels(spec, states.float()))
        deviation = states.float().std(dim=0, unbiased=False)
        return cls(spec, states.float().mean(dim=0), torch.where(deviation > 1e-6, deviation, 1.0))

    def raw_to_model(self, raw: Tensor) -> Tensor:
        """uint8 [0, 255] → [-1, 1]; a vector or a signal is standardised."""
        if self.spec.kind == IMAGE:
            return raw.float().mul_(2.0 / 255.0).sub_(1.0)
        return (raw - self._for(raw, self.mean)) / self._for(raw, self.deviation)

    def model_to_raw(self, model: Tensor) -> Tensor:
        """The inverse of :meth:`raw_to_model`; images are rounded to uint8."""
        if self.spec.kind == IMAGE:
            return ((model + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return model * self._for(model, self.deviation) + self._for(model, self.mean)

    def model_to_q(self, model: Tensor) -> Tensor:
        """[-1, 1] → [0, 1]; all but an image goes back to the task's units. Differentiable."""
        if self.spec.kind == IMAGE:
            return (model + 1.0) * 0.5
        return model * self._for(model, self.deviation) + self._for(model, self.mean)

    def _for(self, states: Tensor, statistic: Tensor) -> Tensor:
        """A statistic as states need it: that of a signal's channels once for each frame."""
        if self.spec.kind == VECTOR:
            return statistic
        return statistic.repeat(states.shape[-2] // len(statistic), 1)

    def raw_to_q(self, raw: Tensor) -> Tensor:
        """uint8 [0, 255] → [0, 1]; all but an image stays as it is."""
        return raw_to_q(self.spec, raw)


def raw_to_q(spec: StateSpec, raw: Tensor) -> Tensor:
    """Raw states to the range of a Q-function: uint8 [0, 255] → [0, 1]; others stay as they are."""
    if spec.kind == IMAGE:
        return raw.float().mul_(1.0 / 255.0)
    return raw


def _of_channels(spec: StateSpec, states: Tensor) -> tuple[Tensor, Tensor]:
    """μ and σ of each channel of signals (N, K·c, L), as (c, 1): the same for all K frames."""
    frames = spec.frames_of(states)
    mean, deviation = frames.mean((0, 1, 3)), frames.std((0, 1, 3), unbiased=False)
    return mean[:, None], torch.where(deviation > 1e-6, deviation, 1.0)[:, None]
