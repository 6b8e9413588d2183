r"""The paper's losses, equations (4) and (8)–(12), as pure functions.

Names follow ``docs/paper_map.md``: the printed :math:`G_T` is ``target_to_source``, :math:`G_S` is
``source_to_target``. Every norm is a mean over elements, so that a λ means the same at any state
size. Shapes: B batch, A actions.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from corrtool.environment_model.validation import CHANGE

GanLoss = Literal["lsgan", "log"]
T = TypeVar("T", float, Tensor)


def discriminator_loss(
    real_scores: Tensor, generated_scores: Tensor, kind: GanLoss = "lsgan"
) -> Tensor:
    r"""Eq. (8) for one discriminator, to be minimised.

    ``log``: :math:`-\tfrac12(\mathbb{E}\log D(s) + \mathbb{E}\log(1 - D(G(s))))`, scores are
    logits. ``lsgan``: :math:`\tfrac12(\mathbb{E}(D(s)-1)^2 + \mathbb{E} D(G(s))^2)`, what CycleGAN
    [33] uses. The half slows the discriminator relative to the generators, as in [33].

    Args:
        real_scores: scores of real states, any shape.
        generated_scores: scores of generated states, any shape, detached from the generator.
    """
    if kind == "lsgan":
        real, generated = (real_scores - 1.0).square().mean(), generated_scores.square().mean()
    else:
        real, generated = F.softplus(-real_scores).mean(), F.softplus(generated_scores).mean()
    return 0.5 * (real + generated)


def adversarial_loss(generated_scores: Tensor, kind: GanLoss = "lsgan") -> Tensor:
    r"""A generator's part of eq. (8): the discriminator should take G(s) for real.

    ``log`` is the non-saturating form :math:`-\mathbb{E}\log D(G(s))` of [10]: the printed
    :math:`\mathbb{E}\log(1 - D(G(s)))` has no gradient while the discriminator wins.
    ``lsgan``: :math:`\mathbb{E}(D(G(s))-1)^2`.
    """
    if kind == "lsgan":
        return (generated_scores - 1.0).square().mean()
    return F.softplus(-generated_scores).mean()


def cycle_loss(reconstructed: Tensor, states: Tensor, weights: Tensor | float = 1.0) -> Tensor:
    r"""One direction of eq. (9): :math:`\mathbb{E}\,\|G_T(G_S(s_S)) - s_S\|_1`.

    Both are (B, ...) in the model range. ``weights``, of the states' shape and 1 in the mean, say
    how much each element counts.
    """
    return ((reconstructed - states).abs() * weights).mean()


def surprise_weights(states: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    r"""Weights for :func:`cycle_loss` that give half of it to what is unusual in a state.

    :math:`\tfrac12 + \tfrac12 z / \bar z` with :math:`z = |s - \mu| / \sigma` and its mean over the
    state, :math:`\bar z`.

    In Pong the bright pixels of the ball, one or two of 7,056, have 0.014 % of the weight in (9),
    and by this 1.4 %: measured on play by a trained agent. The other half keeps the usual in place.

    Args:
        states: (B, ...) in the model range.
        mean, deviation: (...) μ and σ > 0 of each element over the task's memory.

    Returns:
        (B, ...), 1 in the mean of each state; all 1 for a state that is exactly the mean.
    """
    surprise = (states - mean).abs() / deviation
    average = surprise.flatten(1).mean(dim=1).view(-1, *[1] * (states.dim() - 1))
    return torch.where(average > 0, 0.5 + 0.5 * surprise / average.clamp(min=1e-12), 1.0)


def q_loss(reconstructed_q_values: Tensor, q_values: Tensor) -> Tensor:
    r"""Eq. (10) over all A actions: :math:`\mathbb{E}\,\|Q_S(G_T(G_S(s_S))) - Q_S(s_S)\|_1`.

    Both are (B, A).
    """
    return F.l1_loss(reconstructed_q_values, q_values)


def model_loss(predicted_next: Tensor, translated_next: Tensor) -> Tensor:
    r"""Eq. (11): :math:`\mathbb{E}\,\|F(G_T(s_{T,t}), a_{T,t}) - G_T(s_{T,t+1})\|_1`.

    Both are (B, ...) in the model range.
    """
    return F.l1_loss(predicted_next, translated_next)


def relative_model_loss(
    predicted_next: Tensor, translated: Tensor, translated_next: Tensor
) -> Tensor:
    r"""Eq. (11) over what changes, as a share of what persistence (s_{t+1} = s_t) gets wrong there:

    :math:`\sum_{i \in C} |F(G_T(s_t), a_t) - G_T(s_{t+1})|_i \,/\,
    \sum_{i \in C} |G_T(s_t) - G_T(s_{t+1})|_i`.

    0 where F explains every change, 1 where it predicts none or where there is none. All (B, ...)
    in the model range: the newest frame of each state, the only one that is news. C are the
    elements that change by more than 0.02, a hundredth of the range of pictures. Hardly any does,
    so that in (11) itself the noise of F on all the others can outweigh what happens; and unlike
    (11) this is no smaller for a generator that dims what moves.
    """
    return share_of_change(*errors_and_changes(predicted_next, translated, translated_next))


def errors_and_changes(
    predicted_next: Tensor, translated: Tensor, translated_next: Tensor
) -> tuple[Tensor, Tensor]:
    """The sums of :func:`relative_model_loss` over a batch: errors of F, and changes."""
    error, change = elements_of_errors_and_changes(predicted_next, translated, translated_next)
    return error.sum(), change.sum()


def elements_of_errors_and_changes(
    predicted_next: Tensor, translated: Tensor, translated_next: Tensor
) -> tuple[Tensor, Tensor]:
    """What :func:`errors_and_changes` sums, (B, …) each; 0 where an element does not change."""
    change = (translated_next - translated).abs()
    changing = (change > CHANGE).detach()
    return (predicted_next - translated_next).abs() * changing, change * changing


def share_of_change(error: T, change: T) -> T:
    """The relative model loss of its two sums; 1 where nothing changes."""
    none = 1e-6
    return (error + none) / (change + none)


def correspondence_loss(terms: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    r"""Eq. (12): :math:`L_{GAN} + \lambda_{Cyc} L_{Cyc} + \lambda_Q L_Q + \lambda_M L_M`.

    Of the ``terms`` that were computed, each with its weight of ``weights``.
    """
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()
