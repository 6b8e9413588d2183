"""Example pictures of a correspondence: target states, their translations, and the way back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corrtool.correspondence import Correspondence
from corrtool.project.files import write_atomic
from corrtool.states import StateSpec

_SCALE, _GAP = 2, 4


@torch.inference_mode()
def write_example_pictures(path: Path, correspondence: Correspondence, raw_target_states: Tensor) -> None:
    """A PNG with three rows: the newest frame of each state (N, …), of its translation, of its reconstruction."""
    was_training = correspondence.training
    correspondence.eval()
    source, target = correspondence.source_scaling, correspondence.target_scaling
    translated = correspondence.translate(raw_target_states)
    reconstructed = correspondence.source_to_target(translated)
    correspondence.train(was_training)
    rows = [
        newest_frames(raw_target_states, target.spec),
        newest_frames(source.model_to_raw(translated), source.spec),
        newest_frames(target.model_to_raw(reconstructed), target.spec),
    ]
    height, width = (
        max(r.shape[1] for r in rows) * _SCALE + _GAP,
        max(r.shape[2] for r in rows) * _SCALE + _GAP,
    )
    sheet = np.full((_GAP + 3 * height, _GAP + len(raw_target_states) * width, 3), 128, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            big = picture.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)
            top, left = _GAP + y * height, _GAP + x * width
            sheet[top : top + big.shape[0], left : left + big.shape[1]] = big
    _, encoded = cv2.imencode(".png", sheet[..., ::-1])  # OpenCV writes blue first
    write_atomic(path, encoded.tobytes())


def newest_frames(raw_states: Tensor, spec: StateSpec) -> NDArray[np.uint8]:
    """The newest frame of raw image states (N, *state_shape) as pictures (N, height, width, 3), RGB."""
    channels = spec.frame_shape[0]
    place = spec.stack_order.index(spec.stack - 1)
    frames = raw_states[:, place * channels : (place + 1) * channels].permute(0, 2, 3, 1).cpu().numpy()
    if channels == 3:
        return np.ascontiguousarray(frames)
    return np.repeat(frames[..., :1], 3, axis=-1)
