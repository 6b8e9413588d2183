r"""A model of the source's rewards, :math:`\hat r(s, a, s')`, for vectors.

It tells how parts of a state lie to each other, which F cannot where they do not move each other.
The temporal differences of Q_S say so too, but with the noise of its values. Of a spotlight that
follows a dancer, the true map and its mirror image had 2.64 and 2.68 in the mean square, and the
errors of such a model 0.0002 and 0.078.

Of a ferry that is paid a little for every step nearer to its pier, and once as much as for a
thousand of them for docking, the dockings are two thirds of the variance, and a square error hears
nothing else. So rewards far from the usual ones are drawn in, on both sides alike, as long as such
a model explains something.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, one_hot

from corrtool.correspondence.model import Correspondence
from corrtool.layers import mlp
from corrtool.memory import ReplayMemory
from corrtool.memory.replay import TransitionBatch
from corrtool.memory.rows import Rows
from corrtool.runtime.optimizers import Adam
from corrtool.state_scaling import StateScaling

WIDTHS = (64, 64)
GRADIENT_STEPS, BATCH, STEP_SIZE = 1_500, 256, 1e-3
HELD_OUT = 0.1  # of the transitions, to say how much is explained
ENOUGH = 0.3  # of the variance of rewards: below it the model says nothing
LEAST_DEVIATION = 1e-6  # of rewards that are not all equal
RARE = 0.01  # of the transitions, on either side, have rewards that are not usual
MOST_DEVIATIONS = 4.0  # of usual rewards, beyond which others are drawn in
EVERY_REWARD = (-float("inf"), float("inf"))


class RewardModel(nn.Module):
    """Rewards by states in the model range, in units of their deviation on the source."""

    def __init__(self, size: int, actions: int) -> None:
        super().__init__()
        self.actions = actions
        self.layers = mlp(2 * size + actions, WIDTHS, 1)

    def forward(self, states: Tensor, actions: Tensor, next_states: Tensor) -> Tensor:
        """(B, m), (B,) and (B, m) → (B,)."""
        taken = one_hot(actions, self.actions).float()
        rewards: Tensor = self.layers(torch.cat([states, taken, next_states], 1)).squeeze(1)
        return rewards


@dataclass(frozen=True)
class LearntRewards:
    """A model of a memory's rewards.

    Attributes:
        limits: the least and the greatest that it knows; others are taken for these.
        mean, deviation: of the rewards, once they are.
    """

    model: RewardModel
    limits: tuple[float, float]
    mean: float
    deviation: float

    @torch.no_grad()
    def errors(self, c: Correspondence, target: ReplayMemory, rows: Rows) -> Tensor:
        """How far the target's rewards at ``rows`` are from those of translated transitions (B,).

        In deviations of the source's rewards.
        """
        batch = target.transitions(rows, gamma=0.0, clip_rewards=False)
        here, following = (
            c.target_to_source(c.target_scaling.raw_to_model(raw))
            for raw in (batch.states, batch.next_states)
        )
        expected: Tensor = self.model(here, c.source_actions(batch.actions), following)
        return (batch.returns.clamp(*self.limits) - self.mean) / self.deviation - expected


def learn_rewards(
    memory: ReplayMemory, scaling: StateScaling, actions: int, random: np.random.Generator
) -> LearntRewards | None:
    """A model of a memory's rewards; None where it explains little.

    Such as where all rewards are equal, or there are hardly any. Of usual rewards first, then,
    where those are little but noise, of all.
    """
    rows = random.permutation(memory.transition_rows())
    if round(HELD_OUT * len(rows)) < 2:
        return None
    batch = memory.transitions(rows, gamma=0.0, clip_rewards=False)
    for limits in dict.fromkeys([usual_rewards(batch.returns), EVERY_REWARD]):
        learnt = _learn(batch, scaling, actions, limits, random)
        if learnt is not None:
            return learnt
    return None


def usual_rewards(rewards: Tensor) -> tuple[float, float]:
    """Between what rewards (B,) usually are; without bounds where all of those are equal."""
    # Not torch's own quantile, which takes no more than 16 million numbers.
    least, greatest = np.quantile(rewards.cpu().numpy(), (RARE, 1 - RARE))
    usual = rewards[(rewards >= least) & (rewards <= greatest)]
    mean, deviation = usual.mean().item(), usual.std(correction=0).item()
    if deviation < LEAST_DEVIATION:
        return EVERY_REWARD
    return mean - MOST_DEVIATIONS * deviation, mean + MOST_DEVIATIONS * deviation


def _learn(
    batch: TransitionBatch,
    scaling: StateScaling,
    actions: int,
    limits: tuple[float, float],
    random: np.random.Generator,
) -> LearntRewards | None:
    """A model of all rewards but the first ones, which say how much it explains."""
    held_out = round(HELD_OUT * len(batch.rows))
    returns = batch.returns.clamp(*limits)
    mean, deviation = returns.mean().item(), returns.std().item()
    if deviation < LEAST_DEVIATION:
        return None
    rewards = (returns - mean) / deviation
    states, next_states = (scaling.raw_to_model(raw) for raw in (batch.states, batch.next_states))
    with torch.random.fork_rng(devices=[]):  # what is drawn after it is what was drawn before
        torch.manual_seed(int(random.integers(2**31)))
        model = RewardModel(states.shape[1], actions).to(states.device)
    optimizer = Adam(model.parameters(), lr=STEP_SIZE)
    for _ in range(GRADIENT_STEPS):
        at = torch.from_numpy(random.integers(held_out, len(batch.rows), BATCH)).to(states.device)
        loss = mse_loss(model(states[at], batch.actions[at], next_states[at]), rewards[at])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    with torch.no_grad():
        kept = slice(held_out)
        predicted = model(states[kept], batch.actions[kept], next_states[kept])
        error = mse_loss(predicted, rewards[kept])
    if error > (1 - ENOUGH) * rewards[kept].var(unbiased=False):
        return None
    return LearntRewards(model.requires_grad_(False), limits, mean, deviation)
