"""Objectives of generators and discriminators: two mini-batches of raw states → eq. (8)–(12).

Modules, so that torch.compile and DistributedDataParallel can each take one whole.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from corrtool.correspondence.generators import translate_together
from corrtool.correspondence.losses import correspondence_loss, discriminator_loss
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.statistics import ElementStatistics
from corrtool.correspondence.terms import (
    NOTHING,
    AdversarialTerm,
    CycleTerm,
    ModelTerm,
    QTerm,
    RelativeModelTerm,
    SurpriseCycleTerm,
    Term,
    Translation,
    Translations,
)
from corrtool.environment_model.network import ScaledModel
from corrtool.q_learning.policy import compared_outputs, settled_q_loss
from corrtool.runtime.precision import Precision
from corrtool.settings.stages import LearnCorrSettings

N = TypeVar("N", bound=nn.Module)


class GeneratorObjective(nn.Module):
    """Eq. (12) for both generators.

    Discriminators, Q_S and F are frozen, gradients only flow through them. A term whose λ is 0 is
    not in the list, so neither it nor a forward pass that only it needs is computed.

    Args:
        source_q: Q_S; may be None when λ_Q is 0.
        environment_model: F; may be None when λ_M is 0.
        statistics: of the elements of source and of target states, for the cycle loss by surprise;
            None for the printed one.

    Attributes:
        terms: those with a weight, in the order of the passes and so of the sums of gradients.
        needs: what at least one of them needs to have translated.
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
        statistics: tuple[ElementStatistics, ElementStatistics] | None = None,
    ) -> None:
        super().__init__()
        self.correspondence = (
            correspondence  # these are named so that all weights are this module's own
        )
        self.source_discriminator, self.target_discriminator = (
            source_discriminator,
            target_discriminator,
        )
        self.source_q, self.environment_model = source_q, environment_model
        self.settings, self._precision = settings, precision
        self.weights, scaling = settings.loss_weights, correspondence.source_scaling
        terms: list[Term] = [
            AdversarialTerm(
                source_discriminator, target_discriminator, settings.gan_loss, precision
            )
        ]
        if "cycle" in self.weights:
            terms.append(CycleTerm() if statistics is None else SurpriseCycleTerm(*statistics))
        if "q" in self.weights:
            agent = _required(source_q, "Q_S")
            outputs = compared_outputs(agent, settled_q_loss(agent, settings.q_loss))
            terms.append(QTerm(outputs, scaling, precision))
        if "model" in self.weights and settings.model_loss == "relative":
            terms.append(
                RelativeModelTerm(_required(environment_model, "F"), scaling.spec, precision)
            )
        elif "model" in self.weights:
            terms.append(ModelTerm(_required(environment_model, "F"), precision))
        self.terms = tuple(terms)
        self.needs = NOTHING.union(*(term.needs for term in terms))

    def forward(
        self,
        raw_source: Tensor,
        raw_target: Tensor,
        actions: Tensor,
        raw_next_target: Tensor | None,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor, Tensor]:
        """See :meth:`CorrespondenceLearner.update`.

        Returns:
            The loss (12), each of its terms, unweighted, and both batches of generated states,
            source and target.
        """
        translations = self._translate(raw_source, raw_target, actions, raw_next_target)
        values: dict[str, Tensor] = {}
        for term in self.terms:
            self._reconstruct_target(translations, term.needs)
            values[term.name] = term(translations)
        loss = correspondence_loss(values, self.weights)
        return loss, values, translations.generated_source, translations.generated_target

    def _translate(
        self,
        raw_source: Tensor,
        raw_target: Tensor,
        actions: Tensor,
        raw_next_target: Tensor | None,
    ) -> Translations:
        """G_S of the source states, in one pass G_T of all that any term needs, and m(a_T)."""
        c = self.correspondence
        source, target = (
            c.source_scaling.raw_to_model(raw_source),
            c.target_scaling.raw_to_model(raw_target),
        )
        next_target = None
        if "translated_next" in self.needs and raw_next_target is not None:
            next_target = c.target_scaling.raw_to_model(raw_next_target)
        generated_target = self._precision(c.source_to_target, source)
        back = generated_target if "reconstructed_source" in self.needs else None
        generated_source, translated_next, reconstructed_source = self._to_source(
            target, next_target, back
        )
        made: dict[Translation, Tensor] = {}
        if translated_next is not None:
            made["translated_next"] = translated_next
        if reconstructed_source is not None:
            made["reconstructed_source"] = reconstructed_source
        return Translations(
            source,
            raw_source,
            target,
            c.source_actions(actions),
            generated_source,
            generated_target,
            made,
        )

    def _reconstruct_target(
        self, translations: Translations, needs: frozenset[Translation]
    ) -> None:
        """Add G_S(G_T(s_T)) for the first term that needs it.

        Not earlier, since gradients are summed in the order of the passes.
        """
        made = translations.on_demand
        if "reconstructed_target" in needs and "reconstructed_target" not in made:
            made["reconstructed_target"] = self._precision(
                self.correspondence.source_to_target, translations.generated_source
            )

    def _to_source(
        self, target: Tensor, next_target: Tensor | None, generated_target: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """G_T of each, at once where no BatchNorm would mix real and generated states."""
        generator, compute = self.correspondence.target_to_source, self._precision
        if self.settings.norm == "batch":
            following, back = (
                None if batch is None else compute(generator, batch)
                for batch in (next_target, generated_target)
            )
            return compute(generator, target), following, back
        with compute.autocast():
            here, following, back = translate_together(
                generator, target, next_target, generated_target
            )
        following, back = (None if batch is None else batch.float() for batch in (following, back))
        return here.float(), following, back


class DiscriminatorObjective(nn.Module):
    """Eq. (8) for both discriminators, on real states and on detached generated ones."""

    def __init__(
        self,
        correspondence: Correspondence,
        source_discriminator: nn.Module,
        target_discriminator: nn.Module,
        settings: LearnCorrSettings,
        precision: Precision,
    ) -> None:
        super().__init__()
        self.source_scaling, self.target_scaling = (
            correspondence.source_scaling,
            correspondence.target_scaling,
        )
        self.source_discriminator, self.target_discriminator = (
            source_discriminator,
            target_discriminator,
        )
        self.settings, self._precision = settings, precision

    def forward(
        self,
        raw_source: Tensor,
        raw_target: Tensor,
        generated_source: Tensor,
        generated_target: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of both losses, and each of them.

        Of raw real states, and of generated ones in the model range, detached.
        """
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


def _required(network: N | None, symbol: str) -> N:
    """The network that a term is about. Raises ValueError where there is none."""
    if network is None:
        raise ValueError(f"a term of the loss needs {symbol}, and there is none")
    return network
