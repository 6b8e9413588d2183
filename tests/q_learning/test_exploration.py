"""Random actions of the training: step by step in some lanes, lasting in others."""

from __future__ import annotations

from itertools import groupby
from math import pi
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from corrtool.play.games import choose_actions
from corrtool.q_learning.exploration import Exploration

ACTIONS = 50  # so that two random actions in a row are seldom the same
GREEDY = 7


def played(
    exploration: Exploration, epsilon: float, steps: int, lanes: int = 4
) -> NDArray[np.int64]:
    """The actions (steps, N) of an agent whose best action is always the same."""
    values = torch.zeros(lanes, ACTIONS)
    values[:, GREEDY] = 1.0
    epsilons = np.full(lanes, epsilon)
    return np.stack([exploration.choose(values, epsilons) for _ in range(steps)])


def exploring(share: float, seed: int = 0, lanes: int = 4) -> Exploration:
    return Exploration(lanes, ACTIONS, share, np.random.default_rng(seed))


def durations(actions: NDArray[np.int64]) -> list[int]:
    """How often each action is repeated."""
    return [len(list(run)) for _, run in groupby(actions)]


def test_without_lasting_lanes_it_draws_what_epsilon_greedy_draws() -> None:
    random = np.random.default_rng(3)
    values = torch.rand(4, ACTIONS, generator=torch.Generator().manual_seed(0))
    exploration = Exploration(4, ACTIONS, 0.0, np.random.default_rng(3))
    for _ in range(50):
        expected = choose_actions(values, 4, ACTIONS, 0.5, random)
        assert (exploration.choose(values, np.full(4, 0.5)) == expected).all()


def test_each_lane_explores_by_its_own_epsilon() -> None:
    values = torch.zeros(4, ACTIONS)
    values[:, GREEDY] = 1.0
    epsilons = np.array([0.0, 1.0, 0.0, 0.5])
    exploration = exploring(0.5)  # in the first two lanes random actions last
    actions = np.stack([exploration.choose(values, epsilons) for _ in range(2_000)])
    shares = (actions != GREEDY).mean(0)
    assert shares == pytest.approx([0.0, 1.0, 0.0, 0.5], abs=0.05)


def test_is_greedy_where_epsilon_is_zero() -> None:
    assert (played(exploring(0.5), 0.0, 200) == GREEDY).all()


@pytest.mark.parametrize("share, lasting", [(0.0, 0), (0.1, 1), (0.25, 1), (0.5, 2), (1.0, 4)])
def test_actions_last_in_the_share_of_the_lanes_rounded_up(share: float, lasting: int) -> None:
    actions = played(exploring(share), 1.0, 2_000)
    means = np.array([np.mean(durations(lane)) for lane in actions.T])
    assert (means[:lasting] > 2.0).all()
    assert (means[lasting:] < 1.1).all()


def test_durations_are_drawn_from_a_zeta_distribution() -> None:
    """P(1) = 6 / π² and P(2) = P(1) / 4; neighbours are the same action in one case of fifty."""
    lengths = np.array(durations(played(exploring(1.0, lanes=1), 1.0, 60_000, lanes=1)[:, 0]))
    assert len(lengths) > 3_000
    assert (lengths == 1).mean() == pytest.approx(6 / pi**2, abs=0.03)
    assert (lengths == 2).mean() == pytest.approx(1.5 / pi**2, abs=0.03)


def test_no_action_lasts_longer_than_the_longest_duration() -> None:
    class AlwaysHuge(np.random.Generator):
        def zipf(self, a: Any, size: Any = None) -> Any:  # numpy has overloads of it
            return np.full(size, 2**40, np.int64)

    exploration = Exploration(1, ACTIONS, 1.0, AlwaysHuge(np.random.PCG64(0)))
    actions = played(exploration, 1.0, 10_001, lanes=1)[:, 0]
    assert (actions[:10_000] == actions[0]).all()
    assert actions[10_000] != actions[0]


def test_goes_on_in_the_middle_of_a_held_action() -> None:
    random = np.random.default_rng(5)
    whole = Exploration(4, ACTIONS, 0.5, random)
    played(whole, 0.3, 50)
    state, position = whole.state(), random.bit_generator.state
    state = {name: value.copy() for name, value in state.items()}
    expected = played(whole, 0.3, 50)
    resumed = Exploration(4, ACTIONS, 0.5, random)
    resumed.load_state(state)
    random.bit_generator.state = position
    assert (played(resumed, 0.3, 50) == expected).all()


def test_refuses_the_state_of_other_lanes() -> None:
    with pytest.raises(ValueError):
        exploring(0.5).load_state(exploring(1.0).state())
