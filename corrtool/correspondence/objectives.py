"""What the generators and the discriminators minimise: from two mini-batches of raw states to the loss terms of eq. (8)–(12).

Modules, so that torch.compile and DistributedDataParallel can each take one whole.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from corrtool.correspondence.generators import translate_together
from corrtool.correspondence.losses import (
    adversarial_loss,
    correspondence_loss,
    cycle_loss,
    discriminator_loss,
    model_loss,
    q_loss,
    relative_model_loss,
    surprise_weights,
)
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.surprise import Usual
from corrtool.environment_model.network import ScaledModel
from corrtool.runtime.precision import Precision
from corrtool.settings.stages import LearnCorrSettings


class GeneratorObjective(nn.Module):
    """Eq. (12) for both generators: discriminators, Q_S and F are frozen, gradients only flow through them.

    A λ of 0 costs nothing: neither the term nor a forward pass that only it needs is computed.

    Args:
        source_q: Q_S; may be None when λ_Q is 0.
        environment_model: F; may be None when λ_M is 0.
        usual: for the surprise cycle loss, mean and deviation of each element of a source and of a target state, model range.
    """

    def __init__(
        self,
        correspondence: Correspondence,
        source_discriminator: nn.Module,
        target_discriminator: nn.Module,
        source_q: nn.Module | None,
        environment_model: ScaledModel | None,
        settings: LearnCorrSettings,
        precision: Precision,
        usual: tuple[Usual, Usual] | None = None,
    ) -> None:
        super().__init__()
        self.correspondence = correspondence
        self.source_discriminator, self.target_discriminator = source_discriminator, target_discriminator
        self.source_q, self.environment_model = source_q, environment_model
        self.settings, self._precision, self._usual = settings, precision, usual

    def forward(
        self, raw_source: Tensor, raw_target: Tensor, actions: Tensor, raw_next_target: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor]:
        """See :meth:`CorrespondenceLearner.update`.

        Returns:
            The loss (12), each of its terms that was computed, unweighted, and both batches of generated states, source and target.
        """
        s, c, compute = self.settings, self.correspondence, self._precision
        source, target = c.source_scaling.raw_to_model(raw_source), c.target_scaling.raw_to_model(raw_target)
        next_target = None
        if s.lambda_m > 0:
            assert raw_next_target is not None
            next_target = c.target_scaling.raw_to_model(raw_next_target)
        generated_target = compute(c.source_to_target, source)
        generated_source, translated_next, reconstructed_source = self._to_source(
            target, next_target, generated_target if s.lambda_cyc > 0 or s.lambda_q > 0 else None
        )
        terms = {
            "gan": adversarial_loss(compute(self.source_discriminator, generated_source), s.gan_loss)
            + adversarial_loss(compute(self.target_discriminator, generated_target), s.gan_loss)
        }
        if s.lambda_cyc > 0:
            assert reconstructed_source is not None
            reconstructed_target = compute(c.source_to_target, generated_source)
            weights: list[Tensor | float] = [1.0, 1.0]
            if self._usual is not None:
                pairs = zip((source, target), self._usual, strict=True)
                weights = [surprise_weights(states, *usual) for states, usual in pairs]
            terms["cycle"] = cycle_loss(reconstructed_source, source, weights[0]) + cycle_loss(
                reconstructed_target, target, weights[1]
            )
        if s.lambda_q > 0:
            assert self.source_q is not None and reconstructed_source is not None
            with torch.no_grad():
                q_values = compute(self.source_q, c.source_scaling.raw_to_q(raw_source))
            terms["q"] = q_loss(compute(self.source_q, c.source_scaling.model_to_q(reconstructed_source)), q_values)
        if s.lambda_m > 0:
            assert self.environment_model is not None and translated_next is not None
            predicted_next = compute(self.environment_model, generated_source, actions)
            if s.model_loss == "relative":
                frames_of = c.source_scaling.spec.frames_of
                newest = [frames_of(states)[:, -1] for states in (predicted_next, generated_source, translated_next)]
                terms["model"] = relative_model_loss(*newest)
            else:
                terms["model"] = model_loss(predicted_next, translated_next)
        loss = correspondence_loss(terms, lambda_cyc=s.lambda_cyc, lambda_q=s.lambda_q, lambda_m=s.lambda_m)
        return loss, terms, generated_source, generated_target

    def _to_source(
        self, target: Tensor, next_target: Tensor | None, generated_target: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """G_T of each, at once where no BatchNorm would mix real and generated states."""
        generator, compute = self.correspondence.target_to_source, self._precision
        if self.settings.norm == "batch":
            following, back = (
                None if batch is None else compute(generator, batch) for batch in (next_target, generated_target)
            )
            return compute(generator, target), following, back
        with compute.autocast():
            here, following, back = translate_together(generator, target, next_target, generated_target)
        following, back = (None if batch is None else batch.float() for batch in (following, back))
        return here.float(), following, back


class DiscriminatorObjective(nn.Module):
    """Eq. (8) for both discriminators, on real states and on generated ones without their history."""

    def __init__(
        self,
        correspondence: Correspondence,
        source_discriminator: nn.Module,
        target_discriminator: nn.Module,
        settings: LearnCorrSettings,
        precision: Precision,
    ) -> None:
        super().__init__()
        self.source_scaling, self.target_scaling = correspondence.source_scaling, correspondence.target_scaling
        self.source_discriminator, self.target_discriminator = source_discriminator, target_discriminator
        self.settings, self._precision = settings, precision

    def forward(
        self, raw_source: Tensor, raw_target: Tensor, generated_source: Tensor, generated_target: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Raw real states and detached generated ones in the model range → the sum of both losses, and each of them."""
        source = self.source_scaling.raw_to_model(raw_source)
        target = self.target_scaling.raw_to_model(raw_target)
        terms = {
            "source_discriminator": self._loss(self.source_discriminator, source, generated_source),
            "target_discriminator": self._loss(self.target_discriminator, target, generated_target),
        }
        return terms["source_discriminator"] + terms["target_discriminator"], terms

    def _loss(self, discriminator: nn.Module, real: Tensor, generated: Tensor) -> Tensor:
        """At once where no BatchNorm would mix real and generated states."""
        compute = self._precision
        if self.settings.norm == "batch":
            scores = compute(discriminator, real), compute(discriminator, generated)
        else:
            both = compute(discriminator, torch.cat([real, generated]))
            scores = both[: len(real)], both[len(real) :]
        return discriminator_loss(*scores, self.settings.gan_loss)
