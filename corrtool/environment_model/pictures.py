"""Pictures of what the environment model predicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from corrtool.environment_model.network import ScaledModel
from corrtool.files.pictures import newest_frames, write_sheet


@torch.inference_mode()
def write_prediction_pictures(
    path: Path, model: ScaledModel, raw_states: Tensor, actions: Tensor, raw_next_states: Tensor
) -> None:
    """Write a PNG with four rows, from states (N, …), actions (N,) and next states.

    The rows are the newest frame of each s_t, of F(s_t, a_t), of s_{t+1}, and how far the latter
    two are apart.
    """
    was_training = model.training
    model.eval()
    predicted = model.scaling.model_to_raw(model(model.scaling.raw_to_model(raw_states), actions))
    model.train(was_training)
    rows = [
        newest_frames(states, model.scaling.spec)
        for states in (raw_states, predicted, raw_next_states)
    ]
    difference = np.abs(rows[1].astype(np.int16) - rows[2]).astype(np.uint8)
    write_sheet(
        path, [*rows, difference], ["state", "what F expects next", "what came next", "difference"]
    )
