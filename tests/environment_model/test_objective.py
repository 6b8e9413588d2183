"""The loss of F, and how training gets its objective: in which precision, compiled, shared."""

from __future__ import annotations

from typing import Any, Literal, cast

import pytest
import torch
from torch import Tensor, nn

from corrtool.environment_model import objective as module
from corrtool.environment_model.network import ScaledModel
from corrtool.environment_model.objective import build_objective, environment_model_loss
from corrtool.runtime.ranks import ONE_PROCESS, Ranks
from corrtool.settings.stages import TrainModelSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

CPU = torch.device("cpu")
PICTURE = StateSpec("image", (1, 1, 2))
STATES = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)  # -1 and 1 for F
ACTION = torch.tensor([0])


class Times(nn.Module):
    """F: every number times a weight, by a layer that computes in the precision it is given."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)
        with torch.no_grad():
            self.layer.weight.fill_(weight)

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        moved: Tensor = self.layer(states[..., None])[..., 0]
        return moved


def built(weight: float = 0.5, ranks: Ranks = ONE_PROCESS, **values: Any) -> nn.Module:
    model = ScaledModel(Times(weight), StateScaling(PICTURE))
    return build_objective(model, TrainModelSettings(**values), CPU, ranks)


def test_the_loss_is_the_squared_error_unless_said() -> None:
    predicted, following = torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 2.0]])
    assert environment_model_loss(predicted, following).item() == 4.5
    assert environment_model_loss(predicted, following, "mse").item() == 4.5
    assert environment_model_loss(predicted, following, "l1").item() == 1.5


@pytest.mark.parametrize(("precision", "loss"), [("float32", 2.0**-10), ("bf16", 0.0)])
def test_it_is_computed_in_the_precision_of_the_settings(
    precision: Literal["float32", "bf16"], loss: float
) -> None:
    """F says 1 + 2⁻¹⁰ times what there is, of which bf16 keeps 1."""
    objective = built(1 + 2.0**-10, loss="l1", precision=precision)
    assert objective(STATES, ACTION, STATES).item() == loss


class Shared(Ranks):
    """Ranks that wrap what they share."""

    def parallel(self, objective: nn.Module) -> nn.Module:
        return nn.Sequential(objective)


@pytest.mark.parametrize("compiled", [False, True])
def test_it_is_compiled_if_asked_for_and_shared_by_the_ranks(
    monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(module, "compile_module", lambda *given: asked.append(given))
    shared = cast(nn.Sequential, built(ranks=Shared(), compile=compiled))
    assert asked == ([(shared[0], CPU)] if compiled else [])
