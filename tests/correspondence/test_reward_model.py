"""A model of the source's rewards, and what a correspondence gets wrong of the target's."""

from __future__ import annotations

import numpy as np
import torch

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.linear_start import LinearStart
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.reward_model import (
    EVERY_REWARD,
    RARE,
    LearntRewards,
    learn_rewards,
    usual_rewards,
)
from corrtool.correspondence.starts import set_linear_start
from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.memory.rows import FIELDS
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

PLACES = StateSpec("vector", (2,))
SCALING = StateScaling(PLACES)
ACTION_MAP = ActionMap((1, 0), 2)


def played(
    seed: int, rewards: str = "apart", count: int = 1_500, *, bonus: bool = False
) -> ReplayMemory:
    """A basket and a fruit anywhere; the reward is how near they were, or is always the same.

    With a ``bonus`` every 300 steps, which nothing tells before.
    """
    random = np.random.default_rng(seed)
    frames = random.uniform(-1, 1, (count + 1, 2)).astype(np.float32)
    fields: dict[str, np.ndarray] = {
        name: np.zeros(count + 1, dtype) for name, dtype in FIELDS.items()
    }
    fields["valid"][:-1], fields["episode_steps"][:] = True, np.arange(count + 1)
    fields["actions"][:] = random.integers(2, size=count + 1)
    if rewards == "apart":
        fields["rewards"][:-1] = 5.0 - np.abs(frames[1:, 0] - frames[1:, 1])
        if bonus:
            fields["rewards"][:count:300] += 1_000.0
    elif rewards == "rare":
        fields["rewards"][:-1] = random.normal(scale=1e-3, size=count)
        fields["rewards"][:-1][frames[1:].min(axis=1) > 0.84] = 1.0
    elif rewards == "by action":
        fields["rewards"][:] = fields["actions"]
    elif rewards == "noise":
        fields["rewards"][:] = random.normal(size=count + 1)
    else:
        fields["rewards"][:] = 1.0
    return ReplayMemory.from_rows(MemoryRows(PLACES, 1, frames, fields), torch.device("cpu"))


def learnt(rewards: str) -> LearntRewards | None:
    return learn_rewards(played(0, rewards), SCALING, 2, np.random.default_rng(0))


def errors(found: LearntRewards, target: ReplayMemory, *signs: float, swapped: bool) -> float:
    """The mean square with a map of these signs, and of actions that are exchanged or not."""
    c = Correspondence(SCALING, SCALING, GeneratorDescription("linear"), None)
    actions = ACTION_MAP if swapped else ActionMap.identity(2)
    weight = torch.diag(torch.tensor(signs, dtype=torch.float32))
    set_linear_start(c, LinearStart(weight, torch.zeros(2), actions, 0.0, signed_permutation=True))
    missed = found.errors(c, target, target.transition_rows())
    assert missed.shape == (1_500,)
    return missed.square().mean().item()


def test_a_basket_that_is_mirrored_alone_gets_the_rewards_wrong() -> None:
    found = learnt("apart")
    assert found is not None
    target = played(1)
    right, both = (
        errors(found, target, 1, 1, swapped=False),
        errors(found, target, -1, -1, swapped=True),
    )
    alone = errors(found, target, -1, 1, swapped=False)
    assert max(right, both) < 0.05 < 0.5 < alone  # of the variance


def test_a_rare_bonus_does_not_drown_what_is_usual() -> None:
    """It is the whole of the variance, and its model would explain nothing."""
    found = learn_rewards(played(0, bonus=True), SCALING, 2, np.random.default_rng(0))
    assert found is not None and found.limits[1] < 10.0 and found.deviation < 1.0
    target = played(1, bonus=True)
    assert errors(found, target, 1, 1, swapped=False) < 0.2
    assert errors(found, target, -1, 1, swapped=False) > 0.5


def test_where_what_is_usual_is_noise_the_rare_rewards_are_learnt() -> None:
    memory = played(0, "rare", 8_000)
    returns = memory.transitions(memory.transition_rows(), gamma=0.0, clip_rewards=False).returns
    assert 0.003 < (returns > 0.5).float().mean() < RARE
    found = learn_rewards(memory, SCALING, 2, np.random.default_rng(0))
    assert found is not None and found.limits == EVERY_REWARD


def test_usual_rewards_by_hand() -> None:
    """Of 0 and 2, as often, the mean is 1 and the deviation 1, whatever else is rare."""
    mostly = torch.tensor([0.0, 2.0]).repeat(500)
    assert usual_rewards(torch.cat([mostly, torch.tensor([99.0, -99.0])])) == (-3.0, 5.0)
    assert usual_rewards(torch.cat([torch.ones(1_000), torch.tensor([99.0])])) == EVERY_REWARD


def test_actions_may_be_what_is_rewarded() -> None:
    found = learnt("by action")
    assert found is not None
    target = played(1, "by action")
    assert errors(found, target, 1, 1, swapped=False) < 0.05
    assert errors(found, target, 1, 1, swapped=True) > 1.0


def test_rewards_that_are_all_equal_or_noise_are_not_learnt() -> None:
    assert learnt("none") is None
    assert learnt("noise") is None
    assert learn_rewards(played(0, count=10), SCALING, 2, np.random.default_rng(0)) is None


def test_it_draws_nothing_from_torchs_own_generator_and_is_the_same_again() -> None:
    torch.manual_seed(0)
    first = learnt("apart")
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), drawn)
    again = learnt("apart")
    assert first is not None and again is not None
    weights = first.model.state_dict()
    assert all(torch.equal(weights[name], w) for name, w in again.model.state_dict().items())
