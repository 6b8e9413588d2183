"""Policies that are no Q-functions, and what of an agent's outputs is a value or can be compared.

A policy's outputs are *action scores*, as Q-values are: the best action has the greatest. But they
are logits, which know no rewards and are defined up to a constant only. Whoever needs values asks
:func:`values_of`, whoever compares states by what an agent makes of them :func:`compared_outputs`.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from corrtool.q_learning.chain import Chain, build_layers

QLoss = Literal["q", "logits", "value"]


class PolicyNetwork(nn.Module):
    """A policy of other libraries: states in the q range → logits, (B, …) → (B, A).

    Attributes:
        critic: V(s), from the same features; None where the file has none.
    """

    def __init__(self, chain: Chain, actions: int) -> None:
        super().__init__()
        self.actions = actions
        self.features, self.logits = build_layers(chain.features), build_layers(chain.logits)
        self.critic = None if chain.critic is None else build_layers(chain.critic)

    def forward(self, states: Tensor) -> Tensor:
        logits: Tensor = self.logits(self.features(states))
        return logits


class CriticValues(nn.Module):
    """V(s) by a policy's critic, (B, 1)."""

    def __init__(self, features: nn.Module, critic: nn.Module) -> None:
        super().__init__()
        self.features, self.critic = features, critic

    def forward(self, states: Tensor) -> Tensor:
        values: Tensor = self.critic(self.features(states))
        return values


class ValuesForActions(nn.Module):
    """V(s) for each action alike, (B, A).

    Their maximum and each of them is V(s), so that the temporal difference of eq. (4) becomes
    r + γ V(s') − V(s), that of a critic. It should vanish for the policy's own actions only: of
    others it is their advantage. So whoever takes means of it weighs them by :func:`choices_of`.
    """

    def __init__(self, values: CriticValues, actions: int) -> None:
        super().__init__()
        self.values, self.actions = values, actions

    def forward(self, states: Tensor) -> Tensor:
        values: Tensor = self.values(states)
        return values.expand(-1, self.actions)


class CentredLogits(nn.Module):
    """Logits without their mean over the actions, (B, A).

    A constant added to all changes nothing of the policy, nor of these. They are linear in the
    logits, and unlike probabilities they still tell second choices apart where a policy is sure.
    """

    def __init__(self, policy: PolicyNetwork) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, states: Tensor) -> Tensor:
        logits: Tensor = self.policy(states)
        return logits - logits.mean(dim=1, keepdim=True)


class ActionProbabilities(nn.Module):
    """How probable a policy finds each action, (B, A)."""

    def __init__(self, policy: PolicyNetwork) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, states: Tensor) -> Tensor:
        logits: Tensor = self.policy(states)
        return logits.softmax(dim=1)


class BestValues(nn.Module):
    """V(s) of a Q-function: its greatest value, (B, 1)."""

    def __init__(self, q_function: nn.Module) -> None:
        super().__init__()
        self.q_function = q_function

    def forward(self, states: Tensor) -> Tensor:
        q_values: Tensor = self.q_function(states)
        return q_values.max(dim=1, keepdim=True).values


def values_of(agent: nn.Module) -> nn.Module | None:
    """The values of actions, (B, A), in the units of returns.

    A Q-function's own, of a policy V(s) for each action; None of a policy without a critic.
    """
    if not isinstance(agent, PolicyNetwork):
        return agent
    if agent.critic is None:
        return None
    return ValuesForActions(CriticValues(agent.features, agent.critic), agent.actions)


def choices_of(agent: nn.Module) -> nn.Module | None:
    """How probable a policy finds each action, (B, A); None of a Q-function.

    A V(s) says what its own policy's actions come to, so it obeys the Bellman equation for those
    alone; Q-values obey it for every action.
    """
    return ActionProbabilities(agent) if isinstance(agent, PolicyNetwork) else None


def settled_q_loss(agent: nn.Module, said: QLoss | Literal["auto"]) -> QLoss:
    """What ``--q-loss`` means for an agent: 'auto' is its own outputs."""
    if said != "auto":
        return said
    return "logits" if isinstance(agent, PolicyNetwork) else "q"


def compared_outputs(agent: nn.Module, q_loss: QLoss) -> nn.Module:
    """What L_Q compares of an agent.

    Raises:
        ValueError: the agent has no such outputs.
    """
    if not isinstance(agent, PolicyNetwork):
        if q_loss == "logits":
            raise ValueError("a Q-function has no logits")
        return agent if q_loss == "q" else BestValues(agent)
    if q_loss == "logits":
        return CentredLogits(agent)
    if q_loss == "q" or agent.critic is None:
        raise ValueError(f"this policy has no {'Q-values' if q_loss == 'q' else 'critic'}")
    return CriticValues(agent.features, agent.critic)
