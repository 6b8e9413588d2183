"""What an agent computes as one network, and how a file's values are compared with it."""

from __future__ import annotations

import pytest
import torch
from support.agents import ACTION_MAP, AGENTS, raw_states, small_agent
from torch import Tensor, nn

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.play import TransferredQValues
from corrtool.errors import CorrtoolError
from corrtool.exchange.played_values import PlayedValues, compare
from corrtool.q_learning.network import LinearQ
from corrtool.states import StateSpec


@pytest.mark.parametrize("action_map", [None, ActionMap.identity(4), ACTION_MAP])
@pytest.mark.parametrize("name", AGENTS)
@torch.no_grad()
def test_it_is_what_plays(name: str, action_map: ActionMap | None) -> None:
    network, correspondence = small_agent(name, action_map)
    states = raw_states(network.spec)
    q_values = TransferredQValues(network.q_function, correspondence)
    torch.testing.assert_close(network(states), q_values(states))


@torch.no_grad()
def test_a_q_function_of_the_targets_actions_needs_no_map() -> None:
    network, correspondence = small_agent("linear", ACTION_MAP)
    direct = PlayedValues(network.q_function, network.spec, correspondence, "target")
    states = raw_states(network.spec)
    assert direct(states).shape == (8, 4)
    assert torch.equal(direct(states)[:, list(ACTION_MAP.source_of)], network(states))


@torch.no_grad()
def test_a_q_function_alone() -> None:
    q = LinearQ(2, 2)
    q.table.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    values = PlayedValues(q, StateSpec("vector", (2,)))(torch.tensor([[1.0, 10.0]]))
    assert values.tolist() == [[21.0, 43.0]]


def test_it_holds_nothing_of_the_other_generator() -> None:
    network, correspondence = small_agent("mlp")
    held = {id(parameter) for parameter in network.parameters()}
    assert not held & {id(p) for p in correspondence.source_to_target.parameters()}


class Doubled(nn.Module):
    def forward(self, states: Tensor) -> Tensor:
        return 2.0 * states


STATES = torch.arange(1.0, 9.0)[:, None]  # 8 of one number


def test_the_difference_is_the_largest_and_that_by_the_greatest_value() -> None:
    difference = compare(lambda states: 2.0 * states + 1e-3 * (states > 7.5), Doubled(), STATES)
    assert difference.largest == pytest.approx(1e-3, rel=1e-2)
    assert difference.relative == pytest.approx(1e-3 / 16.0, rel=1e-2)


def frozen(states: Tensor) -> Tensor:
    if len(states) != 1:
        raise ValueError("Got: 8 Expected: 1")
    return 2.0 * states


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (frozen, "cannot be run with a batch of 8: Got: 8 Expected: 1"),
        (lambda states: 2.0 * states[:1], r"shape \(1, 1\) for a batch of 8, not \(8, 1\)"),
        (lambda states: 2.01 * states, "differ by up to 0.08, 0.005 of the greatest"),
        (lambda states: states * float("nan"), "differ by up to nan"),
    ],
)
def test_what_is_not_the_same_is_an_error(run: object, message: str) -> None:
    with pytest.raises(CorrtoolError, match=message):
        compare(run, Doubled(), STATES)  # type: ignore[arg-type]
