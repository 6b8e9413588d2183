"""The start of a generator's spatial layer: the best of many angles.

The model loss is flat but near the right angle, so the search looks all around. The printed loss
(11) has a basin some ten degrees wide, 0° is a ridge of it, and descent goes either way; the paper
needed 39,000 steps. Starts are compared by the relative model loss: on Pong turned by 37°, whose
corners are black, F is so noisy that the printed one is least 70° from the answer. The relative one
is sharper: on Pong turned by 94° it is 0.58 within a degree of the answer, and 0.66 to 0.72 three
degrees from it. Where F sees the game upside down it is 0.60: less than at the answer missed by two
degrees. So an affine layer's best start of either hand is first turned to where it fits best, and
the two are compared then, on more transitions: on Pong turned by 85° they differ by 0.013, with a
standard deviation of 0.006 over samples of 128.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corrtool.correspondence.generators import FramewiseGenerator
from corrtool.correspondence.losses import relative_model_loss
from corrtool.correspondence.model import Correspondence
from corrtool.environment_model.network import ScaledModel
from corrtool.layers import AffineLayer, RotationLayer, inverse_affine
from corrtool.memory import ReplayMemory
from corrtool.memory.rows import Rows

ANGLE_STARTS = 120  # three degrees apart: one of them is within 1.5 degrees of the answer
FIRST_TRANSITIONS = 16  # of the target, on which all starts are compared
FINALISTS = 8  # those with the least loss, compared once more on other transitions
FINAL_TRANSITIONS = 64
TURNS_DEGREES = (-1.0, 0.0, 1.0)  # of the best start of either hand, if both are finalists
TURNED_TRANSITIONS = 512
BATCH = 128  # transitions at a time, which bounds the memory


@dataclass(frozen=True)
class Start:
    """A rotation by ``degrees`` counter-clockwise.

    For affine layers: of the mirror image, if ``mirrored``.
    """

    degrees: float
    mirrored: bool = False

    def __str__(self) -> str:
        return f"{self.degrees:.1f}°" + (", mirrored" if self.mirrored else "")


def spatial_layer(generator: nn.Module) -> RotationLayer | AffineLayer | None:
    """The spatial layer that is, or is part of, a generator; None without one."""
    return next(
        (layer for layer in generator.modules() if isinstance(layer, RotationLayer | AffineLayer)),
        None,
    )


def candidate_starts(
    correspondence: Correspondence, first_degrees: float, count: int
) -> list[Start]:
    """``count`` angles, evenly spaced from ``first_degrees``.

    If several, for affine layers each with and without a mirror.
    """
    degrees = [180.0 - (180.0 - first_degrees - 360.0 * k / count) % 360.0 for k in range(count)]
    affine = isinstance(spatial_layer(correspondence.target_to_source), AffineLayer)
    mirrors = [False, True] if affine and count > 1 else [False]
    return [Start(angle, mirrored) for mirrored in mirrors for angle in degrees]


@torch.no_grad()
def model_loss_by_start(
    correspondence: Correspondence,
    environment_model: ScaledModel,
    raw_states: Tensor,
    actions: Tensor,
    raw_next_states: Tensor,
    starts: list[Start],
) -> list[float]:
    """The relative model loss of each start on transitions (B, …) of the target task, raw.

    It is that of the spatial layer alone, as if the rest of a generator did nothing. The states of
    both tasks must have one shape.
    """
    scaling, spec = correspondence.target_scaling, correspondence.source_scaling.spec
    source_actions = correspondence.source_actions(actions)
    states, next_states = scaling.raw_to_model(raw_states), scaling.raw_to_model(raw_next_states)
    losses = []
    for start in starts:
        layer: nn.Module = _layer(correspondence, start).to(states.device)
        if isinstance(correspondence.target_to_source, FramewiseGenerator):
            layer = FramewiseGenerator(layer, scaling.spec, spec)
        translated = layer(states)
        predicted_next = environment_model(translated, source_actions)
        newest = (
            spec.frames_of(states)[:, -1]
            for states in (predicted_next, translated, layer(next_states))
        )
        losses.append(relative_model_loss(*newest).item())
    return losses


@dataclass(frozen=True)
class _Comparison:
    """The comparison of starts.

    ``advance`` is called with the number of transitions that are done.
    """

    correspondence: Correspondence
    environment_model: ScaledModel
    target: ReplayMemory
    advance: Callable[[int], None]

    def losses(self, rows: Rows, starts: list[Start]) -> list[float]:
        """The mean model loss of each start on the transitions at ``rows``."""
        batches = np.array_split(rows, -(-len(rows) // BATCH))
        return [float(np.mean([self._loss(batch, start) for batch in batches])) for start in starts]

    def _loss(self, rows: Rows, start: Start) -> float:
        target = self.target
        (loss,) = model_loss_by_start(
            self.correspondence,
            self.environment_model,
            target.states(rows),
            target.actions(rows),
            target.states(target.next_rows(rows)),
            [start],
        )
        self.advance(len(rows))
        return loss


def search_length(target: ReplayMemory, starts: list[Start]) -> int:
    """The most transitions that :func:`search_start` looks at, counted once for each start."""
    available, orientations = len(target.dynamics_rows()), len({start.mirrored for start in starts})
    first, final = (
        len(starts) * min(FIRST_TRANSITIONS, available),
        min(FINALISTS, len(starts)) * min(FINAL_TRANSITIONS, available),
    )
    turned = orientations * len(TURNS_DEGREES) * min(TURNED_TRANSITIONS, available)
    return first + final + (turned if orientations > 1 else 0)


def search_start(
    correspondence: Correspondence,
    environment_model: ScaledModel,
    target: ReplayMemory,
    starts: list[Start],
    random: np.random.Generator,
    advance: Callable[[int], None] = lambda transitions: None,
) -> dict[str, Any]:
    """Set the spatial layers to the start with the least loss on random transitions of M_T.

    Returns all that was compared.

    Args:
        advance: called with so many more of the :func:`search_length`.
    """
    rows = target.dynamics_rows()
    rows = random.choice(
        rows, size=min(FIRST_TRANSITIONS + FINAL_TRANSITIONS, len(rows)), replace=False
    )
    losses = _Comparison(correspondence, environment_model, target, advance).losses
    first = losses(rows[:FIRST_TRANSITIONS], starts)
    finalists = [starts[index] for index in np.argsort(first)[:FINALISTS]]
    final = losses(rows[-FINAL_TRANSITIONS:], finalists)
    best = finalists[int(np.argmin(final))]
    orientations = {
        start.mirrored: start
        for _, start in sorted(zip(final, finalists, strict=True), key=lambda pair: -pair[0])
    }
    turned: list[Start] = []
    turned_losses: list[float] = []
    if len(orientations) > 1:
        turned = [
            Start(best_of.degrees + turn, best_of.mirrored)
            for best_of in orientations.values()
            for turn in TURNS_DEGREES
        ]
        rows = target.dynamics_rows()
        turned_losses = losses(
            random.choice(rows, size=min(TURNED_TRANSITIONS, len(rows)), replace=False), turned
        )
        best = turned[int(np.argmin(turned_losses))]
    else:
        done = len(starts) * min(FIRST_TRANSITIONS, len(rows)) + len(finalists) * min(
            FINAL_TRANSITIONS, len(rows)
        )
        advance(search_length(target, starts) - done)
    set_start(correspondence, best)
    return {
        "angles_degrees": [start.degrees for start in starts],
        "mirrored": [start.mirrored for start in starts],
        "model_losses": first,
        "finalist_angles_degrees": [start.degrees for start in finalists],
        "finalist_model_losses": final,
        "turned_angles_degrees": [start.degrees for start in turned],
        "turned_model_losses": turned_losses,
        "start_degrees": best.degrees,
        "start_mirrored": best.mirrored,
    }


@torch.no_grad()
def set_start(correspondence: Correspondence, start: Start) -> None:
    """Set the spatial layer of G_T to a start, and that of G_S to its inverse."""
    forward, backward = (
        spatial_layer(correspondence.target_to_source),
        spatial_layer(correspondence.source_to_target),
    )
    if isinstance(forward, AffineLayer) and isinstance(backward, AffineLayer):
        forward.load_state_dict(_layer(correspondence, start).state_dict())
        backward.matrix.copy_(inverse_affine(forward.matrix))
    elif isinstance(forward, RotationLayer) and isinstance(backward, RotationLayer):
        forward.load_state_dict(_layer(correspondence, start).state_dict())
        backward.angle.copy_(-forward.angle)
    else:
        raise ValueError("the generators have no spatial layer to start from")


def _layer(correspondence: Correspondence, start: Start) -> nn.Module:
    """A layer of the kind that the generators begin with, at a start."""
    if isinstance(spatial_layer(correspondence.target_to_source), AffineLayer):
        _, height, width = correspondence.target_scaling.spec.state_shape
        return AffineLayer(start.degrees, start.mirrored, aspect=height / width)
    return RotationLayer(start.degrees)
