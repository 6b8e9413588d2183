"""Observations as frames: pictures, uint8 with the channels last, signals, or vectors of numbers.

A picture is a box of two or three axes with one finite range of values for all of it: bytes,
numbers from 0 to 1, booleans such as the grids of MinAtar. Its values are spread over 0 to 255, so
that memories hold a byte for each. A signal is what is said to be one (:mod:`.signals`). Everything
else becomes a vector.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import (
    FlattenObservation,
    GrayscaleObservation,
    ResizeObservation,
    TransformObservation,
)
from numpy.typing import NDArray

from corrtool.errors import UsageError
from corrtool.settings.preprocessing import Preprocessing
from corrtool.tasks.signals import as_signal, looks_like_signal

MIN_SIDE = 5  # pixels; what is smaller is a table of numbers
CHANNEL_AXES = ("first", "last")
_MAX_LEVELS = 255  # a byte holds no more


@dataclass(frozen=True)
class PictureLayout:
    """The layout of pictures in a box.

    Attributes:
        channels_axis: which of three axes the channels are; None where there are two axes.
        low, high: the range of its values.
    """

    channels_axis: int | None
    low: float
    high: float

    def to_bytes(self, picture: NDArray[Any]) -> NDArray[np.uint8]:
        """One observation → (height, width, channels), from 0 to 255."""
        picture = np.asarray(picture)
        picture = (
            picture[..., None]
            if self.channels_axis is None
            else np.moveaxis(picture, self.channels_axis, -1)
        )
        if picture.dtype != np.uint8 or (self.low, self.high) != (0, 255):
            share = (picture.astype(np.float32) - self.low) / (self.high - self.low)
            if not np.isfinite(share).all():
                raise ValueError("an observation that is not a number")
            picture = np.rint(255 * share.clip(0, 1)).astype(np.uint8)
        return np.ascontiguousarray(picture)


def picture_layout(space: spaces.Box, channels_axis: str | None = None) -> PictureLayout | None:
    """The layout of pictures in ``space``; None if it holds none.

    Args:
        channels_axis: ``"first"`` or ``"last"``; by default the shortest axis, if that is the first
            or the last.

    Raises:
        UsageError: which axis the channels are cannot be told.
    """
    low, high = float(space.low.min(initial=0)), float(space.high.max(initial=0))
    one_range = bool(
        (space.low == space.low.flat[0]).all() and (space.high == space.high.flat[0]).all()
    )
    if (
        len(space.shape) not in (2, 3)
        or not one_range
        or not _spread_over_bytes(space.dtype, low, high)
    ):
        return None
    axis = None if len(space.shape) == 2 else _channels_axis(space.shape, channels_axis)
    sides = [size for at, size in enumerate(space.shape) if at != axis]
    return PictureLayout(axis, low, high) if min(sides) >= MIN_SIDE else None


def _spread_over_bytes(dtype: Any, low: float, high: float) -> bool:
    """True if a byte can tell apart the values from ``low`` to ``high``."""
    if dtype == np.bool_ or dtype == np.uint8:
        return high > low
    return low in (-1, 0) and 0 < high <= _MAX_LEVELS


def _channels_axis(shape: tuple[int, ...], said: str | None) -> int:
    if said is not None:
        return 0 if said == "first" else 2
    shortest = [axis for axis, size in enumerate(shape) if size == min(shape)]
    if shortest not in ([0], [2]):
        raise UsageError(
            f"of pictures of the shape {shape} the channels cannot be told from height and width",
            "say --channels-axis first or --channels-axis last",
        )
    return shortest[0]


def as_frames(
    env: gymnasium.Env[Any, Any], identifier: str, wanted: Preprocessing
) -> tuple[gymnasium.Env[Any, Any], list[str]]:
    """``env`` wrapped to show uint8 pictures (height, width, channels), a signal or a vector.

    With notes.

    Raises:
        UsageError: it shows none of them, or what is asked of its pictures cannot be done.
    """
    if wanted.observation_key is not None:
        env = _part(env, identifier, wanted.observation_key)
    space = env.observation_space
    if isinstance(space, spaces.Box) and 0 in space.shape:
        raise UsageError(
            f"{identifier} shows a box of the shape {space.shape}, which is empty",
            "fix the environment",
        )
    if wanted.signal:
        _refuse_picture_options(identifier, wanted)
        return as_signal(env, identifier, wanted.time_axis)
    if not isinstance(space, spaces.Box):
        env, note = _flattened(env, identifier)
        layout, notes = None, [note]
    else:
        layout, notes = picture_layout(space, wanted.channels_axis), []
        if len(space.shape) > 3:
            raise UsageError(
                f"{identifier} shows a box of the shape {space.shape}, which is neither a picture "
                "nor a vector",
                "leave out the wrapper that stacks its frames, and give --stack instead",
            )
    if layout is None:
        _refuse_picture_options(identifier, wanted)
        if isinstance(space, spaces.Box) and len(space.shape) > 1:
            env = FlattenObservation(env)  # three axes would be taken for a picture
            signal = "; if these are samples in time, give --signal"
            notes = [
                f"a box of the shape {space.shape} is taken as {int(np.prod(space.shape))} numbers"
                + (signal if looks_like_signal(space.shape) else "")
            ]
        return env, notes
    height, width, channels = layout.to_bytes(np.zeros(space.shape, space.dtype)).shape  # type: ignore[arg-type]
    shown = spaces.Box(0, 255, (height, width, channels), np.uint8)
    env = TransformObservation(env, layout.to_bytes, shown)
    if (layout.low, layout.high) != (0, 255):
        notes = [f"its values, from {layout.low:g} to {layout.high:g}, are kept as bytes"]
    if wanted.grayscale:
        if channels != 3:
            raise UsageError(
                f"{identifier} shows {channels} channels, not three colours",
                "leave --grayscale out",
            )
        env = GrayscaleObservation(env, keep_dim=True)
    if wanted.screen_size is not None:
        env = ResizeObservation(env, (wanted.screen_size, wanted.screen_size))
    return env, notes


def _part(env: gymnasium.Env[Any, Any], identifier: str, key: str) -> gymnasium.Env[Any, Any]:
    """``env`` showing one part of its dictionary. Raises :class:`UsageError`."""
    space = env.observation_space
    if not isinstance(space, spaces.Dict):
        raise UsageError(f"{identifier} shows no dictionary", "leave --observation-key out")
    if key not in space.spaces:
        raise UsageError(
            f"{identifier} shows no {key!r}", f"give --observation-key one of {', '.join(space)}"
        )
    return TransformObservation(env, operator.itemgetter(key), space[key])


def _flattened(
    env: gymnasium.Env[Any, Any], identifier: str
) -> tuple[gymnasium.Env[Any, Any], str]:
    space = env.observation_space
    try:
        flat = FlattenObservation(env) if space.is_np_flattenable else None
    except (NotImplementedError, TypeError, ValueError):  # a space that only its author knows
        flat = None
    if flat is None:
        raise UsageError(
            f"{identifier} has the observation space {_short(space)}, of which there is no fixed "
            "number of numbers",
            "wrap the environment so that it shows a Box",
        )
    size = int(np.prod(flat.observation_space.shape or (1,)))
    note = f"the observation space {_short(space)} is flattened into {size} numbers"
    parts = space.items() if isinstance(space, spaces.Dict) else ()
    if shaped := [str(key) for key, part in parts if len(part.shape or ()) > 1]:
        note += f"; --observation-key shows one part alone, such as {' or '.join(shaped)}"
    return flat, note


def _short(space: spaces.Space[Any]) -> str:
    text = " ".join(str(space).split())
    return text if len(text) <= 120 else text[:117] + "..."


def _refuse_picture_options(identifier: str, wanted: Preprocessing) -> None:
    if wanted.grayscale or wanted.screen_size is not None or wanted.channels_axis is not None:
        raise UsageError(
            f"{identifier} shows no pictures",
            "leave --screen-size, --grayscale and --channels-axis out",
        )


class StickyActions(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Sticky actions (Machado et al. 2018) for any environment: the last one is sometimes repeated.

    Gymnasium's own wrapper draws from the environment's generator, which not all of them seed.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], probability: float) -> None:
        super().__init__(env)
        self._probability, self._random = probability, np.random.default_rng()
        self._last: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._random = np.random.default_rng(seed)
        self._last = None
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self._last is None or self._random.random() >= self._probability:
            self._last = action
        return self.env.step(self._last)
