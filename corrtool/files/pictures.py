"""Example pictures of a correspondence (target states, translated, and back) and of F.

Signals are drawn as waveforms, each channel in a band of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from corrtool.files.atomic import write_atomic
from corrtool.states import SIGNAL, StateSpec

EXAMPLES = 6  # states on a sheet of learn-corr
# Pixels of a picture's longer side, at least; each of its own is a whole number of them, over one.
_SHOWN_SIDE = 160
_GAP = 4
_BETWEEN = 8  # between a state and its translation
_LABEL = 16
_GREY = 128  # sheets without labels, of earlier versions, begin with grey
_PAPER = 255
_WAVE_WIDTH = 128  # pixels of a drawn signal, a column for each stretch of time
_WAVE_BAND = 32  # pixels of each of its channels


def target_and_translation(sheet: NDArray[Any], examples: int = EXAMPLES) -> NDArray[Any]:
    """One of the ``examples`` of :func:`write_example_pictures`: its first two rows, side by side.

    With paper between them, so that the border of each is seen. It is one of the middle: the first
    is from the start of a game.
    """
    label = _LABEL if sheet[0, 0].min() == _PAPER else 0
    height = (sheet.shape[0] - _GAP) // 3
    width = (sheet.shape[1] - _GAP) // examples  # with the gap, as the height
    left = examples // 2 * width
    column = sheet[:, left + _GAP : left + width]
    target, translated = (
        column[row * height + label + _GAP : (row + 1) * height] for row in range(2)
    )
    paper = np.full((len(target), _BETWEEN, sheet.shape[2]), _PAPER, sheet.dtype)
    return np.concatenate([target, paper, translated], axis=1)


def write_sheet(path: Path, rows: list[NDArray[np.uint8]], labels: list[str]) -> None:
    """One PNG of rows of pictures (N, height, width, 3), RGB, each below its label."""
    longest = max(max(row.shape[1:3]) for row in rows)
    scale = max(2, -(-_SHOWN_SIDE // longest))
    height, width = (max(row.shape[axis] for row in rows) * scale + _GAP for axis in (1, 2))
    height += _LABEL
    sheet = np.full((_GAP + len(rows) * height, _GAP + len(rows[0]) * width, 3), _GREY, np.uint8)
    for y, (row, label) in enumerate(zip(rows, labels, strict=True)):
        sheet[y * height : y * height + _LABEL] = _PAPER
        place = (_GAP, y * height + _LABEL - 4)
        cv2.putText(sheet, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        for x, picture in enumerate(row):
            big = picture.repeat(scale, axis=0).repeat(scale, axis=1)
            top, left = _GAP + _LABEL + y * height, _GAP + x * width
            sheet[top : top + big.shape[0], left : left + big.shape[1]] = big
    _, encoded = cv2.imencode(".png", sheet[..., ::-1])  # OpenCV writes blue first
    write_atomic(path, encoded.tobytes())


def newest_frames(raw_states: Tensor, spec: StateSpec) -> NDArray[np.uint8]:
    """The newest frames of raw states (N, *state_shape) as RGB (N, height, width, 3).

    Of images, or of signals as waveforms.
    """
    if spec.kind == SIGNAL:
        return waveforms(spec.frames_of(raw_states)[:, -1])
    channels = spec.frame_shape[0]
    place = spec.stack_order.index(spec.stack - 1)
    frames = (
        raw_states[:, place * channels : (place + 1) * channels].permute(0, 2, 3, 1).cpu().numpy()
    )
    if channels == 3:
        return np.ascontiguousarray(frames)
    return np.repeat(frames[..., :1], 3, axis=-1)


def waveforms(frames: Tensor) -> NDArray[np.uint8]:
    """Signals (N, C, L) drawn as RGB (N, C · 32, 128, 3): from least to most of each stretch.

    The loudest sample of all of them reaches the edge of its channel's band.
    """
    values = frames.detach().cpu().float().numpy()
    count, channels, length = values.shape
    width = min(_WAVE_WIDTH, length)
    loudest = max(float(np.abs(values).max(initial=0)), 1e-9)
    starts = np.arange(width) * length // width
    low, high = (
        np.rint((0.5 - 0.5 * reduce(values, starts, axis=-1) / loudest) * (_WAVE_BAND - 1))
        for reduce in (np.maximum.reduceat, np.minimum.reduceat)  # rows are counted downwards
    )
    row = np.arange(_WAVE_BAND)[:, None]
    drawn = (row >= low[..., None, :]) & (row <= high[..., None, :])
    grey = np.where(drawn, 255, 0).astype(np.uint8).reshape(count, channels * _WAVE_BAND, width)
    return np.repeat(grey[..., None], 3, axis=-1)
