"""Example pictures of states and their translations."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from corrtool.correspondence.model import Correspondence
from corrtool.environment_model.network import ScaledModel
from corrtool.files.pictures import newest_frames, write_sheet


@torch.inference_mode()
def write_example_pictures(
    path: Path, correspondence: Correspondence, raw_source_states: Tensor, raw_target_states: Tensor
) -> None:
    """Write a PNG of newest frames: target states (N, …), translated, and back, and source states.

    The last row is of others, (N, …) from M_S: what translations should look like.
    """
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
        newest_frames(raw_source_states, source.spec),
    ]
    write_sheet(path, rows, ["target", "translated to the source", "and back", "source"])


@torch.inference_mode()
def write_worst_pictures(
    path: Path,
    correspondence: Correspondence,
    environment_model: ScaledModel,
    raw_states: Tensor,
    actions: Tensor,
    raw_next_states: Tensor,
) -> None:
    """Write a PNG of transitions (N, …) of the target with what F makes of them.

    The rows are the newest frames of s_t, of G_T(s_t), of what F predicts from that, and of
    G_T(s_{t+1}), which came.
    """
    c, source = correspondence, correspondence.source_scaling
    translated = c.translate(raw_states)
    predicted = environment_model(translated, c.source_actions(actions))
    rows = [newest_frames(raw_states, c.target_scaling.spec)]
    rows += [
        newest_frames(source.model_to_raw(states), source.spec)
        for states in (translated, predicted, c.translate(raw_next_states))
    ]
    write_sheet(
        path, rows, ["target", "translated", "what F expects next", "what came, translated"]
    )
