"""What a correspondence is learnt from: Q_S, F, M_S and M_T, on the device."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from torch import nn

from corrtool.environment_model.network import ScaledModel
from corrtool.memory import ReplayMemory
from corrtool.q_learning.policy import choices_of, values_of
from corrtool.q_learning.saved import RewardsLearnt


@dataclass(frozen=True)
class Knowledge:
    """The inputs from which a correspondence is learnt, on the device.

    Attributes:
        source, target: M_S and M_T.
        source_q: Q_S, or a policy in its place; None where neither loss nor play tests need it.
        environment_model: F; None where there is no model loss.
        rewards: how Q_S sees them.
        held_out_loss: the relative model loss of F on records like those of M_S that it has not
            learnt from; None where it is not known.
    """

    source: ReplayMemory
    target: ReplayMemory
    source_q: nn.Module | None
    environment_model: ScaledModel | None
    rewards: RewardsLearnt = field(default_factory=RewardsLearnt)
    held_out_loss: float | None = None

    @functools.cached_property
    def source_values(self) -> nn.Module | None:
        """Values of actions (B, A) in the units of returns: Q_S, or V(s) of a policy's critic.

        None where there is neither.
        """
        return None if self.source_q is None else values_of(self.source_q)

    @functools.cached_property
    def source_choices(self) -> nn.Module | None:
        """Probabilities (B, A) by which transitions count for these values; None: all the same."""
        return None if self.source_q is None else choices_of(self.source_q)

    @property
    def same_shape(self) -> bool:
        """True if both tasks' states have one shape, so that each's networks take the other's."""
        return self.source.spec.state_shape == self.target.spec.state_shape
