"""One gradient step of both generators and both discriminators on eq. (8)–(12)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corrtool.correspondence.discriminators import build_discriminator
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.objectives import DiscriminatorObjective, GeneratorObjective
from corrtool.correspondence.pool import StatePool
from corrtool.correspondence.statistics import ElementStatistics
from corrtool.correspondence.tone_layer import ToneLayer
from corrtool.environment_model.network import ScaledModel
from corrtool.layers import AffineLayer, RotationLayer, load_optimizer_state
from corrtool.runs.steps import learning_rate_share
from corrtool.runtime.optimizers import Adam
from corrtool.runtime.precision import Precision, begin_step, compile_module, compute_dtype
from corrtool.runtime.ranks import ONE_PROCESS, Ranks
from corrtool.settings.stages import LearnCorrSettings
from corrtool.signal_layers import GainShiftLayer


class CorrespondenceLearner:
    """Generators, discriminators, their optimizers, and the pools of generated states.

    Q_S and F are frozen, gradients only flow through them.

    Args:
        source_q: Q_S; may be None when λ_Q is 0.
        environment_model: F; may be None when λ_M is 0.
        total_steps: gradient steps over which the learning rate falls.
        random: what the pools draw from, and nobody else.
        statistics: of the elements of source and of target states, for the cycle loss by surprise;
            None for the printed one.
        ranks: the processes that share each mini-batch.

    Attributes:
        needs: what the loss needs to have translated besides what the discriminators look at.
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
        statistics: tuple[ElementStatistics, ElementStatistics] | None = None,
        ranks: Ranks = ONE_PROCESS,
    ) -> None:
        self.settings, self._total, self._random, self._device = (
            settings,
            total_steps,
            random,
            device,
        )
        self._ranks = ranks
        self.correspondence = correspondence.to(device).train()
        filters, norm = settings.discriminator_filters, settings.norm
        self.source_discriminator = build_discriminator(
            correspondence.source_scaling.spec, filters, norm
        ).to(device)
        self.target_discriminator = build_discriminator(
            correspondence.target_scaling.spec, filters, norm
        ).to(device)
        self._discriminators = nn.ModuleList([self.source_discriminator, self.target_discriminator])
        self._make_objectives(source_q, environment_model, statistics)
        rate, betas = settings.learning_rate, (0.5, 0.999)  # β as in [33]
        own_rate = RotationLayer | AffineLayer | ToneLayer | GainShiftLayer
        layers = [m for m in correspondence.modules() if isinstance(m, own_rate)]
        spatial = [p for layer in layers for p in layer.parameters()]
        others = [p for p in correspondence.parameters() if all(p is not own for own in spatial)]
        groups = [
            {"params": others, "lr": rate},
            {"params": spatial, "lr": settings.spatial_learning_rate},
        ]
        self._generator_optimizer = Adam(
            [g for g in groups if g["params"]], rate, betas, fused=True
        )
        self._discriminator_optimizer = Adam(
            self._discriminators.parameters(), rate, betas, fused=True
        )
        self._source_pool, self._target_pool = (
            StatePool(settings.pool_size),
            StatePool(settings.pool_size),
        )
        for optimizer in (self._generator_optimizer, self._discriminator_optimizer):
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
        self.gradient_steps = 0

    def update(
        self,
        raw_source: Tensor,
        raw_target: Tensor,
        target_actions: Tensor,
        raw_next_target: Tensor | None,
    ) -> dict[str, Tensor]:
        """One step of both generators and both discriminators.

        Args:
            raw_source: s_S, (B, *state_shape) from M_S.
            raw_target, target_actions, raw_next_target: s_{T,t}, a_{T,t} and s_{T,t+1} from M_T;
                the last is only read where ``translated_next`` is among the needs, and all its
                frames but the newest are those of s_{T,t}.

        Returns:
            Each loss term that was computed, unweighted, detached, still on the device.
        """
        self._set_learning_rate()
        begin_step(self.settings.compile, self._device)
        self._discriminators.requires_grad_(False)
        loss, terms, generated_source, generated_target = self._generator_objective(
            raw_source, raw_target, target_actions, raw_next_target
        )
        _step(self._generator_optimizer, loss)

        self._discriminators.requires_grad_(True)
        loss, more = self._discriminator_objective(
            raw_source, raw_target, self._exchange(self._source_pool, generated_source),
            self._exchange(self._target_pool, generated_target),
        )  # fmt: skip
        _step(self._discriminator_optimizer, loss)
        self.gradient_steps += 1
        return {name: term.detach() for name, term in (terms | more).items()}

    def _make_objectives(
        self,
        source_q: nn.Module | None,
        environment_model: ScaledModel | None,
        statistics: tuple[ElementStatistics, ElementStatistics] | None,
    ) -> None:
        settings, device = self.settings, self._device
        precision = Precision(compute_dtype(settings.precision, device), device)
        networks = self.correspondence, self.source_discriminator, self.target_discriminator
        generators = GeneratorObjective(
            *networks, source_q, environment_model, settings, precision, statistics
        )
        self.needs = generators.needs
        discriminators = DiscriminatorObjective(*networks, settings, precision)
        if settings.compile:
            compile_module(generators, device)
            compile_module(discriminators, device)
        self._discriminators.requires_grad_(False)  # the generators' step leaves them alone
        self._generator_objective = self._ranks.parallel(generators)
        self._discriminators.requires_grad_(True)
        self._discriminator_objective = self._ranks.parallel(discriminators)

    def _exchange(self, pool: StatePool, generated: Tensor) -> Tensor:
        """The states that a discriminator sees in place of this rank's ``generated`` ones.

        All ranks draw and remember the same.
        """
        exchanged: Tensor = self._ranks.shard(
            pool.exchange(self._ranks.gather(generated.detach()), self._random)
        )
        return exchanged

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
            "random": self._random.bit_generator.state,
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
        if (
            "random" in state
        ):  # else it is from before the learner had one of its own, which then begins
            self._random.bit_generator.state = state["random"]


class RunningMeans:
    """Means of loss terms since the last log line.

    They are summed on the device, so that no step waits for the host.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, terms: dict[str, Tensor]) -> None:
        """Count the terms of one step."""
        for name, term in terms.items():
            self._sums[name] = self._sums[name] + term if name in self._sums else term.clone()
        self._count += 1

    def take(self) -> dict[str, Any]:
        """The mean of each term, over all ranks; begins anew."""
        means = {
            name: float(self._ranks.mean(value).item()) / self._count
            for name, value in self._sums.items()
        }
        self._sums, self._count = {}, 0
        return means

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"sums": self._sums, "count": self._count}

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        """The inverse of :meth:`state`."""
        self._sums = {name: value.to(device) for name, value in state["sums"].items()}
        self._count = int(state["count"])


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
