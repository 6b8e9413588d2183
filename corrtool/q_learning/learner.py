"""One update of Algorithm 2 (DQN).

Algorithm 1 is its special case without replay memory and target network.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from corrtool.layers import load_optimizer_state
from corrtool.memory import TransitionBatch
from corrtool.q_learning.losses import temporal_difference_loss, temporal_difference_target
from corrtool.q_learning.schedules import learning_rate, plays_greedily
from corrtool.runtime.optimizers import SGD, Adam, RMSprop
from corrtool.runtime.precision import Precision, begin_step, compile_module, compute_dtype
from corrtool.settings.stages import DqnSettings
from corrtool.state_scaling import q_input
from corrtool.states import IMAGE, StateSpec


class TemporalDifferenceObjective(nn.Module):
    """Lines 9–16 of Algorithm 2: from a mini-batch to its loss.

    A module, so that torch.compile can take it whole.
    """

    def __init__(
        self,
        q_function: nn.Module,
        target: nn.Module,
        spec: StateSpec,
        settings: DqnSettings,
        precision: Precision,
    ) -> None:
        super().__init__()
        self.q_function, self.target = q_function, target
        self._spec, self._settings, self._precision = spec, settings, precision

    def forward(
        self,
        states: Tensor,
        actions: Tensor,
        returns: Tensor,
        next_states: Tensor,
        discounts: Tensor,
        terminated: Tensor,
        weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Fields of a :class:`TransitionBatch` → loss, and temporal differences (B,), detached."""
        settings, compute = self._settings, self._precision
        with torch.no_grad():
            following = q_input(self.target, self._spec, next_states)
            next_values = compute(self.target, following)
            if settings.double_q:
                best = compute(self.q_function, following).argmax(dim=1, keepdim=True)
                next_best = next_values.gather(1, best).squeeze(1)
            else:
                next_best = next_values.max(dim=1).values
            targets = temporal_difference_target(returns, terminated, next_best, discounts)
        now = q_input(self.q_function, self._spec, states)
        q_values = compute(self.q_function, now).gather(1, actions[:, None]).squeeze(1)
        loss = temporal_difference_loss(q_values, targets, settings.loss, weights)
        return loss, (targets - q_values).detach()


class DqnLearner:
    """The learning network, its target network, the average of its weights and the optimizer.

    Attributes:
        ema: the network that is tested and kept: an exponential average of the weights on the way,
            which plays more steadily than the weights of any one moment; the learning network
            itself where ``weight_ema`` is 0.
    """

    def __init__(
        self, q_function: nn.Module, spec: StateSpec, settings: DqnSettings, device: torch.device
    ) -> None:
        q_function = q_function.to(device).train()
        if spec.kind == IMAGE:  # a quarter less time per update on a CPU
            q_function = q_function.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.q_function = q_function
        self.target = (
            copy.deepcopy(q_function).requires_grad_(False)
            if settings.target_network
            else q_function
        )
        self.ema = (
            copy.deepcopy(q_function).requires_grad_(False)
            if settings.weight_ema > 0
            else q_function
        )
        self.settings, self._device = settings, device
        precision = Precision(compute_dtype(settings.precision, device), device)
        self._objective = TemporalDifferenceObjective(
            self.q_function, self.target, spec, settings, precision
        )
        if settings.compile:
            compile_module(self._objective, device)
        # Collected once: to walk through the modules takes some per cent of a small update.
        self._weights: list[Tensor] = list(self.q_function.parameters())
        self._ema_weights: list[Tensor] = list(self.ema.parameters())
        self.optimizer = _optimizer(q_function, settings)
        self.gradient_steps = 0

    def update(self, batch: TransitionBatch, env_steps: int = 0) -> tuple[Tensor, Tensor]:
        """Lines 9–17 of Algorithm 2 on one mini-batch.

        Returns:
            The loss, and the temporal differences (B,); detached, still on the device.
        """
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(settings, env_steps)
        begin_step(settings.compile, self._device)
        loss, errors = self._objective(
            batch.states,
            batch.actions,
            batch.returns,
            batch.next_states,
            batch.discounts,
            batch.terminated,
            batch.weights,
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if settings.max_gradient_norm > 0:
            nn.utils.clip_grad_norm_(self._weights, settings.max_gradient_norm)
        self.optimizer.step()
        if self.ema is not self.q_function:
            with torch.no_grad():
                torch._foreach_lerp_(self._ema_weights, self._weights, 1.0 - self._ema_decay())
        self.gradient_steps += 1
        if settings.target_network and self.gradient_steps % settings.target_sync_every == 0:
            self.target.load_state_dict(self.q_function.state_dict())
        return loss.detach(), errors

    def acting_network(self, env_steps: int) -> nn.Module:
        """The network that plays the training games after ``env_steps``.

        That is the learning one, whose mistakes are news, and in the greedy part the average.
        """
        return self.ema if plays_greedily(self.settings, env_steps) else self.q_function

    def _ema_decay(self) -> float:
        """The share of the average that a gradient step keeps.

        It is less at first, so that a short run's average is not that of its first weights.
        """
        return min(self.settings.weight_ema, (1 + self.gradient_steps) / (10 + self.gradient_steps))

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "q_function": self.q_function.state_dict(),
            "target": self.target.state_dict(),
            "average": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "gradient_steps": self.gradient_steps,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self.q_function.load_state_dict(state["q_function"])
        self.target.load_state_dict(state["target"])
        self.ema.load_state_dict(state["average"])
        load_optimizer_state(self.optimizer, state["optimizer"])
        self.gradient_steps = int(state["gradient_steps"])


def _optimizer(network: nn.Module, settings: DqnSettings) -> torch.optim.Optimizer:
    parameters = list(network.parameters())
    match settings.optimizer:
        case "adam":
            return Adam(
                parameters, lr=settings.learning_rate, eps=settings.optimizer_epsilon, fused=True
            )
        case "rmsprop":
            return RMSprop(parameters, lr=settings.learning_rate, eps=settings.optimizer_epsilon)
        case "sgd":
            return SGD(parameters, lr=settings.learning_rate)
