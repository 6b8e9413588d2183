"""One step of learning the correspondence: eq. (8)–(12) put together."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corrtool.config import LearnCorrSettings
from corrtool.correspondence import Correspondence, ScaledModel
from corrtool.losses import (
    adversarial_loss,
    correspondence_loss,
    cycle_loss,
    discriminator_loss,
    model_loss,
    q_loss,
    relative_model_loss,
    surprise_weights,
)
from corrtool.memory import ReplayMemory
from corrtool.networks.discriminators import build_discriminator
from corrtool.networks.generators import translate_together
from corrtool.networks.layers import AffineLayer, RotationLayer
from corrtool.project.checkpoints import load_optimizer_state
from corrtool.states import StateScaling

Usual = tuple[Tensor, Tensor]  # mean and standard deviation of each element of a task's states, in the model range
LEAST_DEVIATION = 0.02


class StatePool:
    """The last generated states, so that a discriminator does not forget (CycleGAN's image pool of 50).

    While the pool fills, states pass through. Afterwards each is, with probability one half, swapped for a random one
    of the pool. Size 0 lets everything through.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._states: Tensor | None = None
        self._count = 0

    def exchange(self, states: Tensor, random: np.random.Generator) -> Tensor:
        """(B, …) generated states in, (B, …) states for the discriminator out."""
        if self._size == 0:
            return states
        if self._states is None:
            self._states = torch.zeros((self._size, *states.shape[1:]), dtype=states.dtype, device=states.device)
        out = []
        for state in states:
            if self._count < self._size:
                self._states[self._count] = state
                self._count += 1
                out.append(state)
            elif random.random() < 0.5:
                index = int(random.integers(self._size))
                out.append(self._states[index].clone())
                self._states[index] = state
            else:
                out.append(state)
        return torch.stack(out)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"states": self._states, "count": self._count}

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        """The inverse of :meth:`state`."""
        self._states = None if state["states"] is None else state["states"].to(device)
        self._count = int(state["count"])


def learning_rate_share(step: int, total: int, constant_share: float) -> float:
    """Linear decay to zero over ``total`` steps, constant for the first ``constant_share`` of them."""
    constant = constant_share * total
    return 1.0 if step < constant else max(0.0, (total - step) / max(1.0, total - constant))


def usual_state(memory: ReplayMemory, rows: Any, scaling: StateScaling) -> Usual:
    """Mean and standard deviation of each element of a state over (at most 2,000 of) ``rows``, in the model range.

    A deviation is at least a hundredth of the range of pictures, so that what never changed is not infinitely surprising.
    """
    chosen = np.linspace(0, len(rows) - 1, min(2_000, len(rows))).round().astype(int)
    states = memory.states(rows[chosen])
    total = squares = torch.zeros((), dtype=torch.float64)
    for chunk in torch.split(states, 100):  # as floating point numbers they would take a gigabyte
        elements = scaling.raw_to_model(chunk).cpu().double()  # which MPS does not have
        total, squares = total + elements.sum(dim=0), squares + elements.square().sum(dim=0)
    mean = total / len(states)
    deviation = (squares / len(states) - mean.square()).clamp(min=0.0).sqrt()
    usual = mean.float(), deviation.float().clamp(min=LEAST_DEVIATION)
    return usual[0].to(states.device), usual[1].to(states.device)


class CorrespondenceLearner:
    """Generators, discriminators and their optimizers; Q_S and F are frozen, gradients only flow through them.

    Args:
        source_q: Q_S; may be None when λ_Q is 0.
        environment_model: F; may be None when λ_M is 0.
        total_steps: gradient steps over which the learning rate falls.
        usual: for the surprise cycle loss, mean and deviation of each element of a source and of a target state, model range.
    """

    def __init__(
        self,
        correspondence: Correspondence,
        source_q: nn.Module | None,
        environment_model: ScaledModel | None,
        settings: LearnCorrSettings,
        total_steps: int,
        random: np.random.Generator,
        device: torch.device,
        usual: tuple[Usual, Usual] | None = None,
    ) -> None:
        self._usual = usual
        self.settings, self._total, self._random, self._device = settings, total_steps, random, device
        self.correspondence = correspondence.to(device).train()
        self._source_q, self._model = source_q, environment_model
        filters, norm = settings.discriminator_filters, settings.norm
        self.source_discriminator = build_discriminator(correspondence.source_scaling.spec, filters, norm).to(device)
        self.target_discriminator = build_discriminator(correspondence.target_scaling.spec, filters, norm).to(device)
        self._discriminators = nn.ModuleList([self.source_discriminator, self.target_discriminator])
        rate, betas = settings.learning_rate, (0.5, 0.999)  # β as in [33]
        layers = [m for m in correspondence.modules() if isinstance(m, RotationLayer | AffineLayer)]
        spatial = [p for layer in layers for p in layer.parameters()]
        others = [p for p in correspondence.parameters() if all(p is not own for own in spatial)]
        groups = [{"params": others, "lr": rate}, {"params": spatial, "lr": settings.spatial_learning_rate}]
        self._generator_optimizer = torch.optim.Adam([g for g in groups if g["params"]], rate, betas, fused=True)
        self._discriminator_optimizer = torch.optim.Adam(self._discriminators.parameters(), rate, betas, fused=True)
        self._source_pool, self._target_pool = StatePool(settings.pool_size), StatePool(settings.pool_size)
        for optimizer in (self._generator_optimizer, self._discriminator_optimizer):
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
        self.gradient_steps = 0

    def update(
        self, raw_source: Tensor, raw_target: Tensor, target_actions: Tensor, raw_next_target: Tensor | None
    ) -> dict[str, Tensor]:
        """One step of both generators and both discriminators.

        Args:
            raw_source: s_S, (B, *state_shape) from M_S.
            raw_target, target_actions, raw_next_target: s_{T,t}, a_{T,t} and s_{T,t+1} from M_T; the last is only read
                when λ_M > 0, and all its frames but the newest are those of s_{T,t}.

        Returns:
            Each loss term that was computed, unweighted, detached, still on the device.
        """
        self._set_learning_rate()
        source = self.correspondence.source_scaling.raw_to_model(raw_source)
        target = self.correspondence.target_scaling.raw_to_model(raw_target)
        self._discriminators.requires_grad_(False)
        terms, generated_source, generated_target = self._generator_terms(
            source, target, raw_source, target_actions, raw_next_target
        )
        s = self.settings
        loss = correspondence_loss(terms, lambda_cyc=s.lambda_cyc, lambda_q=s.lambda_q, lambda_m=s.lambda_m)
        _step(self._generator_optimizer, loss)

        self._discriminators.requires_grad_(True)
        pooled_source = self._source_pool.exchange(generated_source.detach(), self._random)
        pooled_target = self._target_pool.exchange(generated_target.detach(), self._random)
        terms["source_discriminator"] = self._real_and_generated(self.source_discriminator, source, pooled_source)
        terms["target_discriminator"] = self._real_and_generated(self.target_discriminator, target, pooled_target)
        _step(self._discriminator_optimizer, terms["source_discriminator"] + terms["target_discriminator"])
        self.gradient_steps += 1
        return {name: term.detach() for name, term in terms.items()}

    def _generator_terms(
        self,
        source: Tensor,
        target: Tensor,
        raw_source: Tensor,
        actions: Tensor,
        raw_next_target: Tensor | None,
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """The terms of eq. (12) whose λ is not zero, and both batches of generated states.

        A λ of 0 costs nothing: neither the term nor a forward pass that only it needs is computed.
        """
        s, c = self.settings, self.correspondence
        next_target = None
        if s.lambda_m > 0:
            assert raw_next_target is not None
            next_target = c.target_scaling.raw_to_model(raw_next_target)
        generated_target = c.source_to_target(source)
        generated_source, translated_next, reconstructed_source = self._to_source(
            target, next_target, generated_target if s.lambda_cyc > 0 or s.lambda_q > 0 else None
        )
        terms = {
            "gan": adversarial_loss(self.source_discriminator(generated_source), s.gan_loss)
            + adversarial_loss(self.target_discriminator(generated_target), s.gan_loss)
        }
        if s.lambda_cyc > 0:
            assert reconstructed_source is not None
            reconstructed_target = c.source_to_target(generated_source)
            weights: list[Tensor | float] = [1.0, 1.0]
            if self._usual is not None:
                pairs = zip((source, target), self._usual, strict=True)
                weights = [surprise_weights(states, *usual) for states, usual in pairs]
            terms["cycle"] = cycle_loss(reconstructed_source, source, weights[0]) + cycle_loss(
                reconstructed_target, target, weights[1]
            )
        if s.lambda_q > 0:
            assert self._source_q is not None and reconstructed_source is not None
            with torch.no_grad():
                q_values = self._source_q(c.source_scaling.raw_to_q(raw_source))
            terms["q"] = q_loss(self._source_q(c.source_scaling.model_to_q(reconstructed_source)), q_values)
        if s.lambda_m > 0:
            assert self._model is not None and translated_next is not None
            predicted_next = self._model(generated_source, actions)
            if s.model_loss == "relative":
                frames_of = c.source_scaling.spec.frames_of
                newest = [frames_of(states)[:, -1] for states in (predicted_next, generated_source, translated_next)]
                terms["model"] = relative_model_loss(*newest)
            else:
                terms["model"] = model_loss(predicted_next, translated_next)
        return terms, generated_source, generated_target

    def _to_source(
        self, target: Tensor, next_target: Tensor | None, generated_target: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """G_T of each, at once where no BatchNorm would mix real and generated states."""
        generator = self.correspondence.target_to_source
        if self.settings.norm == "batch":
            following, back = (None if batch is None else generator(batch) for batch in (next_target, generated_target))
            return generator(target), following, back
        return translate_together(generator, target, next_target, generated_target)

    def _real_and_generated(self, discriminator: nn.Module, real: Tensor, generated: Tensor) -> Tensor:
        """The discriminator's loss, eq. (8), on detached generated states; at once where no BatchNorm would mix them."""
        if self.settings.norm == "batch":
            scores = discriminator(real), discriminator(generated)
        else:
            scores = discriminator(torch.cat([real, generated])).split([len(real), len(generated)])
        return discriminator_loss(*scores, self.settings.gan_loss)

    def _set_learning_rate(self) -> None:
        share = learning_rate_share(self.gradient_steps, self._total, self.settings.constant_share)
        for optimizer in (self._generator_optimizer, self._discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * share

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "correspondence": self.correspondence.state_dict(),
            "discriminators": self._discriminators.state_dict(),
            "generator_optimizer": self._generator_optimizer.state_dict(),
            "discriminator_optimizer": self._discriminator_optimizer.state_dict(),
            "source_pool": self._source_pool.state(),
            "target_pool": self._target_pool.state(),
            "gradient_steps": self.gradient_steps,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state`."""
        self.correspondence.load_state_dict(state["correspondence"])
        self._discriminators.load_state_dict(state["discriminators"])
        load_optimizer_state(self._generator_optimizer, state["generator_optimizer"])
        load_optimizer_state(self._discriminator_optimizer, state["discriminator_optimizer"])
        self._source_pool.load_state(state["source_pool"], self._device)
        self._target_pool.load_state(state["target_pool"], self._device)
        self.gradient_steps = int(state["gradient_steps"])


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
