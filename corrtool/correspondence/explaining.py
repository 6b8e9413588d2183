"""What :mod:`corrtool.workflows.explain` measures of a correspondence, on random transitions.

No game is played. The same transitions of M_S and of M_T serve every measurement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from corrtool.correspondence.action_matrix import ActionMatrix, action_matrix
from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.blind_spots import BlindSpots
from corrtool.correspondence.generators import LinearGenerator, translate_together
from corrtool.correspondence.knowledge import Knowledge
from corrtool.correspondence.linear_maps import raw_weight
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.moments import StateMoments
from corrtool.correspondence.temporal_differences import parts
from corrtool.memory import ReplayMemory
from corrtool.memory.rows import Rows
from corrtool.reporting.explanation import ActionsFound, MostUnlike
from corrtool.reporting.linear_map import MOST_COORDINATES, LinearMapKnown
from corrtool.state_scaling import StateScaling
from corrtool.states import IMAGE

Advance = Callable[[int], None]
TRANSITIONS = 1_000  # of each memory
PICTURE_TRANSITIONS = 128  # of large pictures, where each takes a tenth of a second


@dataclass(frozen=True)
class Sample:
    """Transitions of both memories that everything is measured on.

    Attributes:
        source_rows, target_rows: in ascending order, so that files are read in theirs.
    """

    source_rows: Rows
    target_rows: Rows

    @classmethod
    def of(cls, knowledge: Knowledge, random: np.random.Generator) -> Sample:
        """Random ones: fewer of large pictures."""
        pictures = knowledge.target.spec.settings_kind == IMAGE
        wanted = PICTURE_TRANSITIONS if pictures else TRANSITIONS
        rows = (
            np.sort(random.choice(held, size=min(wanted, len(held)), replace=False))
            for held in (knowledge.source.dynamics_rows(), knowledge.target.dynamics_rows())
        )
        source, target = rows
        return cls(source, target)

    def length(self, knowledge: Knowledge) -> int:
        """How many transitions ``advance`` is told of, a matrix counted once for each action."""
        model = knowledge.environment_model
        each = 1 if model is None else 1 + model.actions
        return len(self.source_rows) + each * len(self.target_rows)


@dataclass(frozen=True)
class Observed:
    """What one pass over the transitions of both memories found.

    Attributes:
        source_frames, translated_frames: (N, *frame_shape) newest frames of s_t in the model range.
        source, translated: where F is blind; nothing was added without F.
    """

    source_frames: Tensor
    translated_frames: Tensor
    source: BlindSpots
    translated: BlindSpots


@torch.no_grad()
def observe(
    correspondence: Correspondence,
    knowledge: Knowledge,
    sample: Sample,
    actions: tuple[int, int],
    advance: Advance = lambda transitions: None,
) -> Observed:
    """Look at every transition of a sample once, those of M_T as G_T translates them.

    Args:
        actions: how many the source and the target have.
    """
    c, model = correspondence, knowledge.environment_model
    spec, scaling = c.source_scaling.spec, c.source_scaling
    source, translated = (BlindSpots(spec, count) for count in actions)
    frames: dict[str, list[Tensor]] = {"source": [], "translated": []}
    for rows in parts(sample.source_rows, knowledge.source.spec):
        memory = knowledge.source
        here, following = (
            scaling.raw_to_model(states) for states in memory.consecutive_states(rows)
        )
        frames["source"].append(spec.frames_of(here)[:, -1])
        if model is not None:
            taken = memory.actions(rows)
            source.add(model(here, taken), here, following, taken)
        advance(len(rows))
    for rows in parts(sample.target_rows, knowledge.target.spec):
        memory = knowledge.target
        here, following = _translated(c, memory, rows)
        frames["translated"].append(spec.frames_of(here)[:, -1])
        if model is not None:
            taken = memory.actions(rows)
            predicted = model(here, c.source_actions(taken))
            translated.add(predicted, here, following, taken)
        advance(len(rows))
    return Observed(
        torch.cat(frames["source"]), torch.cat(frames["translated"]), source, translated
    )


def _translated(c: Correspondence, memory: ReplayMemory, rows: Rows) -> tuple[Tensor, Tensor]:
    """G_T(s_t) and G_T(s_{t+1}) at ``rows``, (B, …) in the model range."""
    raw = memory.consecutive_states(rows)
    states = (c.target_scaling.raw_to_model(part) for part in raw)
    here, following, _ = translate_together(c.target_to_source, *states)
    assert following is not None
    return here, following


def distances(source: Tensor, translated: Tensor) -> tuple[float, float]:
    """How far translated frames are from those of the source, and how far that is from itself.

    Of vectors (N, n) by their moments, of pictures (N, C, H, W) the mean absolute difference of the
    mean frames, of signals (N, C, L) the same of how loud they are. Every second frame of the
    source is what both are compared with; the rest says what chance alone makes. With a single
    frame there is no second half, and the same one serves.
    """
    if source.ndim == 3:
        source, translated = source.abs(), translated.abs()
    half, rest = source[::2], source[1::2] if len(source) > 1 else source
    if source.ndim == 2:
        if len(half) < 2:  # a covariance needs two
            half = rest = torch.cat([half, half])
        moments = StateMoments.of(half)
        far = [moments.distances(frames[None]).item() for frames in (translated, rest)]
    else:
        mean = half.mean(0)
        far = [(frames.mean(0) - mean).abs().mean().item() for frames in (translated, rest)]
    return far[0], far[1]


def distance_of_nothing(source: Tensor) -> float | None:
    """How far pictures with nothing in them are from those of the source, by the mean frames.

    Each channel is one value, the mean of the source's (N, C, H, W), of signals (N, C, L) of how
    loud they are. None for vectors.
    """
    if source.ndim == 2:
        return None
    mean = (source.abs() if source.ndim == 3 else source).mean(0).flatten(1)
    return (mean - mean.mean(1, keepdim=True)).abs().mean().item()


def most_unlike(source: Tensor, translated: Tensor, scaling: StateScaling) -> MostUnlike | None:
    """Which coordinate of vectors (N, n) in the model range differs most, as raw; None of others.

    By what it adds to :meth:`StateMoments.distances`, its covariances aside.
    """
    if source.ndim != 2:
        return None
    far = (source.mean(0) - translated.mean(0)).square()
    moments = StateMoments.of(torch.cat([source, source]))  # a covariance needs two
    far += moments.wasserstein(translated[None])[0].square()
    coordinate = int(far.argmax())
    # The newest frame of a state is the last of its stack, all of which have the same units.
    place = scaling.spec.stack_order.index(scaling.spec.stack - 1) * source.shape[1] + coordinate
    deviation, mean = scaling.deviation[place].item(), scaling.mean[place].item()
    by = [
        (
            mean + deviation * frames[:, coordinate].mean().item(),
            deviation * frames[:, coordinate].std(correction=0).item(),
        )
        for frames in (source, translated)
    ]
    return {
        "coordinate": coordinate,
        "source_mean": by[0][0],
        "source_deviation": by[0][1],
        "translated_mean": by[1][0],
        "translated_deviation": by[1][1],
    }


def find_actions(
    correspondence: Correspondence,
    knowledge: Knowledge,
    sample: Sample,
    actions: tuple[int, int],
    advance: Advance = lambda transitions: None,
) -> ActionsFound | None:
    """The action matrix on the transitions of M_T; None without F."""
    model = knowledge.environment_model
    if model is None:
        return None
    matrices = []
    for rows in parts(sample.target_rows, knowledge.target.spec):
        matrices.append(action_matrix(correspondence, model, knowledge.target, rows))
        advance(len(rows) * model.actions)
    in_use = correspondence.action_map or ActionMap.identity(actions[0])
    return actions_found(ActionMatrix.joined(matrices), in_use)


def actions_found(matrix: ActionMatrix, in_use: ActionMap) -> ActionsFound:
    """What a matrix says of the map in use."""
    best = matrix.in_order(matrix.best_map())
    described = matrix.to_json()
    return {
        "transitions": described["transitions"],
        "relative_model_losses": described["relative_model_losses"],
        "centred": described["centred"],
        "map_in_use": list(in_use.source_of),
        "best_map": list(best.source_of),
        "margin": matrix.loss(in_use) - matrix.loss(best),
        "best_is_better": in_use not in (best, matrix.better_map(in_use)),
    }


def known_map(correspondence: Correspondence) -> LinearMapKnown | None:
    """G_T of raw states, where it is linear and both tasks have few coordinates; else None.

    With s' = W s + b in the model range, σ_S s' + μ_S of (s_T − μ_T) / σ_T.
    """
    generator = correspondence.target_to_source
    if not isinstance(generator, LinearGenerator):
        return None
    weight, bias = generator.layer.weight.detach(), generator.layer.bias.detach()
    if max(weight.shape) > MOST_COORDINATES:
        return None
    source, target = correspondence.source_scaling, correspondence.target_scaling
    raw = raw_weight(weight, source, target)
    return {
        "weight": raw.tolist(),
        "shift": (source.model_to_raw(bias) - raw @ target.mean).tolist(),
        "source_deviations": source.deviation.tolist(),
        "target_deviations": target.deviation.tolist(),
    }
