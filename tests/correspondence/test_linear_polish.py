"""The last digits of a linear map."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from corrtool.correspondence.linear_maps import LinearMaps
from corrtool.correspondence.linear_polish import polished
from corrtool.environment_model.network import ScaledModel
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

DYNAMICS = torch.tensor([[0.8, 0.5], [-0.5, 0.6]])
PUSHES = torch.tensor([[0.5, 0.0], [-0.5, 0.25]])


class Exact(nn.Module):
    """F: s' = A s + b_a of two coordinates, with two actions."""

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        return states @ DYNAMICS.T + PUSHES[actions]


MODEL = ScaledModel(Exact(), StateScaling(StateSpec("vector", (2,))))
TURNED = torch.tensor([[0.0, 2.0], [-0.5, 0.0]])  # target to source
SHIFT = torch.tensor([0.25, -1.0])


def seen() -> tuple[Tensor, Tensor, Tensor]:
    """Transitions of the source as the target shows them: states, actions and next states."""
    random = torch.Generator().manual_seed(0)
    states, actions = torch.randn(200, 2, generator=random), torch.arange(200) % 2
    back = torch.linalg.inv(TURNED)
    following = MODEL(states, actions)
    return (states - SHIFT) @ back.T, actions, (following - SHIFT) @ back.T


def near(weight: Tensor, by: float = 0.05) -> LinearMaps:
    return LinearMaps(weight[None] * (1 + by), (SHIFT + by)[None])


def of_nonzero(maps: LinearMaps) -> LinearMaps:
    return LinearMaps((maps.weight != 0).float(), torch.ones_like(maps.bias))


def test_what_does_not_move_stays() -> None:
    states, actions, following = seen()
    given = near(TURNED)
    first = torch.tensor([[1.0, 0.0]])
    moving = LinearMaps(first[..., None].expand(1, 2, 2), first)
    found = polished(given, MODEL, states, actions, following, moving)
    assert torch.equal(found.weight[0, 1], given.weight[0, 1])
    assert torch.equal(found.bias[0, 1], given.bias[0, 1])
    assert (found.weight[0, 0] != given.weight[0, 0]).any()
    assert found.bias[0, 0] != given.bias[0, 0]


@pytest.mark.parametrize(("off", "by"), [(0.05, 0.05), (0.3, 0.3), (0.9, 0.5)])
def test_a_map_that_is_near_becomes_exact(off: float, by: float) -> None:
    """The farthest needs a line search, and more than twenty iterations."""
    states, actions, following = seen()
    found = polished(near(TURNED + off, by), MODEL, states, actions, following)
    torch.testing.assert_close(found.weight[0], TURNED, atol=5e-4, rtol=0)
    torch.testing.assert_close(found.bias[0], SHIFT, atol=1e-3, rtol=0)
    assert not (found.weight.requires_grad or found.bias.requires_grad)


@pytest.mark.parametrize("sparse", [True, False])
def test_a_sparse_one_stays_sparse(sparse: bool) -> None:
    states, actions, following = seen()
    following = following + 0.05 * states  # no map is exact
    given = near(TURNED)
    moving = of_nonzero(given) if sparse else None
    found = polished(given, MODEL, states, actions, following, moving)
    zero = TURNED == 0
    assert bool((found.weight[0][zero] == 0).all()) is sparse
    assert (found.weight[0][~zero] != given.weight[0][~zero]).all()
    assert torch.equal(given.weight[0], TURNED * 1.05)  # what is given is left alone


class Grows(nn.Module):
    """F: the first coordinate grows by 1, the second by half of itself."""

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        return states + torch.stack([torch.ones(len(states)), 0.5 * states[:, 1]], dim=1)


def test_a_coordinate_that_never_changes_is_put_where_f_keeps_it() -> None:
    """In the target the first grows by 4, so a quarter of it is right, and the second is 3."""
    model = ScaledModel(Grows(), StateScaling(StateSpec("vector", (2,))))
    states = torch.stack([torch.arange(10.0), torch.full((10,), 3.0)], dim=1)
    following = states + torch.tensor([4.0, 0.0])
    given = LinearMaps(torch.diag(torch.tensor([0.2, 0.1]))[None], torch.zeros(1, 2))
    actions = torch.zeros(10, dtype=torch.int64)
    found = polished(given, model, states, actions, following, of_nonzero(given))
    assert found.weight[0, 0, 0].item() == pytest.approx(0.25, abs=1e-3)
    assert found(states)[0][:, 1].abs().max() < 1e-2
