"""The objective of the environment model F (appendix 6.2)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corrtool.environment_model.network import ScaledModel
from corrtool.runtime.precision import Precision, compile_module, compute_dtype
from corrtool.runtime.ranks import Ranks
from corrtool.settings.stages import TrainModelSettings


def environment_model_loss(
    predicted_next: Tensor, next_states: Tensor, kind: Literal["mse", "l1"] = "mse"
) -> Tensor:
    """The loss of F, of predicted and true next states (B, …).

    The paper leaves it open; the authors' code uses the squared error.
    """
    return (
        F.mse_loss(predicted_next, next_states)
        if kind == "mse"
        else F.l1_loss(predicted_next, next_states)
    )


class ModelObjective(nn.Module):
    """The objective of F, from raw states.

    A module, so that torch.compile and DistributedDataParallel can each take it whole.
    """

    def __init__(
        self, model: ScaledModel, settings: TrainModelSettings, precision: Precision
    ) -> None:
        super().__init__()
        self.model, self._loss, self._precision = model, settings.loss, precision

    def forward(self, raw_states: Tensor, actions: Tensor, raw_next_states: Tensor) -> Tensor:
        scaling = self.model.scaling
        predicted_next = self._precision(self.model, scaling.raw_to_model(raw_states), actions)
        return environment_model_loss(
            predicted_next, scaling.raw_to_model(raw_next_states), self._loss
        )


def build_objective(
    model: ScaledModel, settings: TrainModelSettings, device: torch.device, ranks: Ranks
) -> nn.Module:
    """The objective as training calls it: compiled if the settings say so, shared by the ranks."""
    objective = ModelObjective(
        model, settings, Precision(compute_dtype(settings.precision, device), device)
    )
    if settings.compile:
        compile_module(objective, device)
    return ranks.parallel(objective)
