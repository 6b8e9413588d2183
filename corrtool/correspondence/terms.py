"""The terms of eq. (12): each says which translations it needs, and computes its value from them.

A new term is a class here, a setting for its weight, and its line in :class:`GeneratorObjective`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from corrtool.correspondence.losses import (
    GanLoss,
    adversarial_loss,
    cycle_loss,
    model_loss,
    q_loss,
    relative_model_loss,
    surprise_weights,
)
from corrtool.correspondence.statistics import ElementStatistics
from corrtool.environment_model.network import ScaledModel
from corrtool.runtime.precision import Precision
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

Translation = Literal["reconstructed_source", "reconstructed_target", "translated_next"]
NOTHING: frozenset[Translation] = frozenset()


@dataclass(frozen=True)
class Translations:
    """Two mini-batches and what the generators made of them.

    (B, …) each, in the model range but for ``raw_source`` and ``source_actions``.

    Attributes:
        source, raw_source: s_S, twice.
        target, source_actions: s_{T,t} and m(a_{T,t}).
        generated_source, generated_target: G_T(s_{T,t}) and G_S(s_S), which both discriminators
            look at.
        on_demand: by name what the terms need besides: G_T(G_S(s_S)), G_S(G_T(s_{T,t})) and
            G_T(s_{T,t+1}).
    """

    source: Tensor
    raw_source: Tensor
    target: Tensor
    source_actions: Tensor
    generated_source: Tensor
    generated_target: Tensor
    on_demand: dict[Translation, Tensor]


class Term(Protocol):
    """A term of eq. (12): its name in the metrics, the translations it needs, and its value."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[Translation]]

    def __call__(self, translations: Translations) -> Tensor:
        """The value without its λ, a scalar."""


@dataclass(frozen=True)
class AdversarialTerm:
    """Eq. (8) for both generators."""

    name: ClassVar[str] = "gan"
    needs: ClassVar[frozenset[Translation]] = NOTHING

    source_discriminator: nn.Module
    target_discriminator: nn.Module
    kind: GanLoss
    compute: Precision

    def __call__(self, translations: Translations) -> Tensor:
        source_scores = self.compute(self.source_discriminator, translations.generated_source)
        source_loss = adversarial_loss(source_scores, self.kind)
        target_scores = self.compute(self.target_discriminator, translations.generated_target)
        return source_loss + adversarial_loss(target_scores, self.kind)


@dataclass(frozen=True)
class CycleTerm:
    """Eq. (9) in both directions, all elements of a state alike."""

    name: ClassVar[str] = "cycle"
    needs: ClassVar[frozenset[Translation]] = frozenset(
        {"reconstructed_source", "reconstructed_target"}
    )

    def __call__(self, translations: Translations) -> Tensor:
        t, made = translations, translations.on_demand
        return cycle_loss(made["reconstructed_source"], t.source) + cycle_loss(
            made["reconstructed_target"], t.target
        )


@dataclass(frozen=True)
class SurpriseCycleTerm:
    """Eq. (9) in both directions, weighted by :func:`surprise_weights`: half on what is unusual."""

    name: ClassVar[str] = "cycle"
    needs: ClassVar[frozenset[Translation]] = CycleTerm.needs

    source_statistics: ElementStatistics
    target_statistics: ElementStatistics

    def __call__(self, translations: Translations) -> Tensor:
        t, made = translations, translations.on_demand
        of_source = surprise_weights(
            t.source, self.source_statistics.mean, self.source_statistics.deviation
        )
        of_target = surprise_weights(
            t.target, self.target_statistics.mean, self.target_statistics.deviation
        )
        return cycle_loss(made["reconstructed_source"], t.source, of_source) + cycle_loss(
            made["reconstructed_target"], t.target, of_target
        )


@dataclass(frozen=True)
class QTerm:
    """Eq. (10), which reconstructs source states only.

    ``source_q`` may be whatever of the agent is to be compared: ``compared_outputs`` of
    ``q_learning/policy.py``.
    """

    name: ClassVar[str] = "q"
    needs: ClassVar[frozenset[Translation]] = frozenset({"reconstructed_source"})

    source_q: nn.Module
    scaling: StateScaling
    compute: Precision

    def __call__(self, translations: Translations) -> Tensor:
        with torch.no_grad():
            q_values = self.compute(self.source_q, self.scaling.raw_to_q(translations.raw_source))
        reconstructed = self.scaling.model_to_q(translations.on_demand["reconstructed_source"])
        return q_loss(self.compute(self.source_q, reconstructed), q_values)


@dataclass(frozen=True)
class ModelTerm:
    """Eq. (11), with F(C(s_T, a_T)): G_T of the state and m of the action."""

    name: ClassVar[str] = "model"
    needs: ClassVar[frozenset[Translation]] = frozenset({"translated_next"})

    environment_model: ScaledModel
    compute: Precision

    def __call__(self, translations: Translations) -> Tensor:
        predicted_next = self.compute(
            self.environment_model, translations.generated_source, translations.source_actions
        )
        return model_loss(predicted_next, translations.on_demand["translated_next"])


@dataclass(frozen=True)
class RelativeModelTerm:
    """Eq. (11) over what changes in the newest frame: :func:`relative_model_loss`."""

    name: ClassVar[str] = "model"
    needs: ClassVar[frozenset[Translation]] = ModelTerm.needs

    environment_model: ScaledModel
    source_states: StateSpec
    compute: Precision

    def __call__(self, translations: Translations) -> Tensor:
        translated, translated_next = (
            translations.generated_source,
            translations.on_demand["translated_next"],
        )
        predicted_next = self.compute(
            self.environment_model, translated, translations.source_actions
        )
        frames_of = self.source_states.frames_of
        return relative_model_loss(
            *(frames_of(states)[:, -1] for states in (predicted_next, translated, translated_next))
        )
