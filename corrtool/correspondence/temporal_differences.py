"""Temporal differences of an agent, on the source and through a correspondence on the target."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from corrtool.correspondence.knowledge import Knowledge
from corrtool.correspondence.model import Correspondence
from corrtool.memory import ReplayMemory
from corrtool.memory.replay import TransitionBatch
from corrtool.memory.rows import Rows
from corrtool.q_learning.losses import temporal_difference_target
from corrtool.states import IMAGE, StateSpec

BATCH = 128  # transitions at a time, which bounds the memory
PICTURE_BATCH = 16  # of pictures: half the time on a CPU, and a fifth of the memory
LEAST_WEIGHT = 1e-12  # in the mean, of actions that a policy never takes


def temporal_differences(values: Tensor, next_values: Tensor, batch: TransitionBatch) -> Tensor:
    """What eq. (4) corrects, (B,): of values (B, A) in the states of a batch and in the next."""
    best = next_values.max(dim=1).values
    targets = temporal_difference_target(batch.returns, batch.terminated, best, batch.discounts)
    return targets - values.gather(1, batch.actions[:, None]).squeeze(1)


@torch.no_grad()
def target_differences(c: Correspondence, knowledge: Knowledge, rows: Rows) -> Tensor:
    """The temporal differences (B,) of Q_S ∘ G_T at ``rows`` of M_T.

    Those of a critic times the root of how much they count, whose mean is 1: so their squares are
    weighted.

    Raises:
        ValueError: there is neither.
    """
    q, choices = knowledge.source_values, knowledge.source_choices
    if q is None:
        raise ValueError("temporal differences need Q_S or a critic, and there is none")
    differences, weights = list[Tensor](), list[Tensor]()
    for batch in transition_batches(knowledge, knowledge.target, rows):
        here, following = (
            c.target_to_source(c.target_scaling.raw_to_model(states))
            for states in (batch.states, batch.next_states)
        )
        values, next_values = (target_outputs(c, q, states) for states in (here, following))
        differences.append(temporal_differences(values, next_values, batch))
        probabilities = None if choices is None else target_outputs(c, choices, here)
        weights.append(taken_action_weights(probabilities, batch.actions))
    weight = torch.cat(weights)
    return torch.cat(differences) * (weight / weight.mean().clamp(min=LEAST_WEIGHT)).sqrt()


def taken_action_weights(probabilities: Tensor | None, actions: Tensor) -> Tensor:
    """How much each transition counts, (B,): as its action is probable of (B, A); None: 1."""
    if probabilities is None:
        return torch.ones(len(actions), device=actions.device)
    return probabilities.gather(1, actions[:, None]).squeeze(1)


def transition_batches(
    knowledge: Knowledge, memory: ReplayMemory, rows: Rows
) -> Iterator[TransitionBatch]:
    """Transitions at ``rows`` with rewards as Q_S learnt from them, some at a time."""
    rewards = knowledge.rewards
    for part in parts(rows, memory.spec):
        yield memory.transitions(part, gamma=rewards.gamma, clip_rewards=rewards.clip_rewards)


def target_outputs(c: Correspondence, agent: nn.Module, translated: Tensor) -> Tensor:
    """What an agent makes of the target's actions, (B, A_T), in translated states (B, …)."""
    return c.target_values(agent(c.source_scaling.model_to_q(translated)))


def parts(rows: Rows, spec: StateSpec) -> list[Rows]:
    """``rows`` of states of this kind in batches, which bounds the memory."""
    batch = PICTURE_BATCH if spec.settings_kind == IMAGE else BATCH
    return [rows[start : start + batch] for start in range(0, len(rows), batch)]
