"""Observations as signals: samples in time of one or several channels, such as sounds.

A signal is a box of one axis, or of two of which one is time and the other the channels. Its values
become floating point numbers whose full scale is -1 to 1, as those of audio files do: silence is 0,
also of unsigned bytes, whose middle is 128. Where the box has no range they stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TransformObservation
from numpy.typing import NDArray

from corrtool.errors import UsageError

MIN_LENGTH = 32  # samples; of less no convolution makes anything
MAX_CHANNELS = 8  # of what looks like a signal; what is said to be one may have more


@dataclass(frozen=True)
class SignalLayout:
    """The layout of signals in a box.

    Attributes:
        time_axis: which axis the samples follow each other along; of one axis that.
        middle, half: what becomes 0, and how far from there 1 is.
    """

    time_axis: int
    middle: float
    half: float

    def to_floats(self, signal: NDArray[Any]) -> NDArray[np.float32]:
        """One observation → (channels, length)."""
        signal = np.asarray(signal, np.float32)
        signal = signal[None] if signal.ndim == 1 else np.moveaxis(signal, self.time_axis, 1)
        return np.ascontiguousarray((signal - self.middle) / self.half, np.float32)

    @property
    def is_as_it_was(self) -> bool:
        """True where values are not changed."""
        return (self.middle, self.half) == (0, 1)


def signal_layout(space: spaces.Box, time_axis: str | None = None) -> SignalLayout:
    """The layout of signals in ``space``.

    Args:
        time_axis: ``"first"`` or ``"last"``; by default the longer axis.

    Raises:
        UsageError: it holds none, or which axis is time cannot be told.
    """
    shape = space.shape
    if len(shape) not in (1, 2):
        raise UsageError(
            f"a box of the shape {shape} is no signal, which has samples and perhaps channels",
            "leave --signal out",
        )
    axis = _time_axis(shape, time_axis)
    if shape[axis] < MIN_LENGTH:
        raise UsageError(
            f"signals of {shape[axis]} samples are too short: it takes {MIN_LENGTH}",
            "leave --signal out, and they are taken as numbers",
        )
    return SignalLayout(axis, *_full_scale(space))


def looks_like_signal(shape: tuple[int, ...]) -> bool:
    """True for few rows or columns of many numbers, which may as well be a table, though."""
    return len(shape) == 2 and min(shape) <= MAX_CHANNELS and max(shape) >= MIN_LENGTH


def _time_axis(shape: tuple[int, ...], said: str | None) -> int:
    if len(shape) == 1:
        return 0
    if said is not None:
        return 0 if said == "first" else 1
    if shape[0] == shape[1]:
        raise UsageError(
            f"of signals of the shape {shape} time cannot be told from the channels",
            "say --time-axis first or --time-axis last",
        )
    return int(shape[1] > shape[0])


def _full_scale(space: spaces.Box) -> tuple[float, float]:
    """Middle and half of the range of its values; 0 and 1 where it has no single finite one."""
    low, high = float(space.low.min()), float(space.high.max())
    one_range = bool((space.low == low).all() and (space.high == high).all())
    if not one_range or not np.isfinite(high - low) or high <= low:
        return 0.0, 1.0
    if np.issubdtype(space.dtype, np.integer):
        high += 1  # the numbers below zero, or below the middle, are one more than those above
    return (low + high) / 2, (high - low) / 2


def as_signal(
    env: gymnasium.Env[Any, Any], identifier: str, time_axis: str | None
) -> tuple[gymnasium.Env[Any, Any], list[str]]:
    """``env`` wrapped to show signals (channels, length) float32, with notes.

    Raises:
        UsageError: it shows none.
    """
    space = env.observation_space
    if not isinstance(space, spaces.Box):
        keys = f" with one of {', '.join(space)}" if isinstance(space, spaces.Dict) else ""
        raise UsageError(
            f"{identifier} shows a {type(space).__name__}, which is no signal",
            f"give --observation-key{keys}" if keys else "leave --signal out",
        )
    layout = signal_layout(space, time_axis)
    channels, length = layout.to_floats(np.zeros(space.shape, np.float32)).shape
    shown = spaces.Box(-np.inf, np.inf, (channels, length), np.float32)
    notes = []
    if not layout.is_as_it_was:
        low, high = layout.middle - layout.half, layout.middle + layout.half
        notes = [f"its values, from {low:g} to {high:g}, are kept as -1 to 1"]
    return TransformObservation(env, layout.to_floats, shown), notes
