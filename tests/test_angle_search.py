"""The search for the angle at which a rotation generator starts."""

import pytest
import torch

from corrtool.angle_search import evenly_spaced, model_loss_by_angle, start_at
from corrtool.config import LearnCorrSettings
from corrtool.correspondence import Correspondence, ScaledModel
from corrtool.errors import UsageError
from corrtool.states import StateScaling, StateSpec

SPEC = StateSpec("image", (1, 32, 32), 1)


class BallFalls(torch.nn.Module):
    """An exact environment model: everything moves down by two pixels, whatever the action."""

    def forward(self, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return torch.roll(states, 2, dims=2)


def test_the_model_loss_is_least_where_the_turned_task_obeys_the_model() -> None:
    states = torch.zeros(4, 1, 32, 32, dtype=torch.uint8)
    for k in range(4):
        states[k, 0, 8 + 3 * k : 12 + 3 * k, 13:17] = 255
    following = torch.roll(states, 2, dims=2)
    turned, turned_following = (torch.rot90(x, 1, (2, 3)) for x in (states, following))  # counter-clockwise
    scaling = StateScaling(SPEC)
    correspondence = Correspondence(scaling, StateScaling(SPEC), {"kind": "rotation"})
    model = ScaledModel(BallFalls(), scaling)
    angles = evenly_spaced(0.0, 12)
    losses = model_loss_by_angle(correspondence, model, turned, torch.zeros(4), turned_following, angles)
    assert angles[losses.index(min(losses))] == pytest.approx(-90)
    assert min(losses) == pytest.approx(0, abs=1e-5)

    start_at(correspondence, -90.0)
    assert torch.allclose(correspondence.translate(turned), scaling.raw_to_model(states), atol=1e-4)
    back = correspondence.source_to_target(scaling.raw_to_model(states))
    assert torch.allclose(back, scaling.raw_to_model(turned), atol=1e-4)


def test_angles_all_around() -> None:
    assert evenly_spaced(0, 4) == pytest.approx([0, 90, 180, -90])
    assert evenly_spaced(30, 2) == pytest.approx([30, -150])
    assert evenly_spaced(-90, 1) == pytest.approx([-90])


@pytest.mark.parametrize("given", [{"generator": "resnet"}, {"generator": "rotation", "lambda_m": 0.0}])
def test_a_search_that_cannot_be_made_is_refused(given: dict) -> None:
    with pytest.raises(UsageError, match="--angle-starts"):
        LearnCorrSettings(angle_starts=36, **given)
    LearnCorrSettings(angle_starts=1, **given)
