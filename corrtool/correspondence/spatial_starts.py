"""Starts of spatial generators: an angle, a mirror, a tone, and the action map with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.appearance import (
    appearance_from_state,
    appearance_state,
    appearance_words,
    same_map,
)
from corrtool.correspondence.generators import FramewiseGenerator
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.tone_layer import TonedGenerator, ToneLayer, inverse_tone, tone_layer
from corrtool.correspondence.tones import Tone
from corrtool.layers import AffineLayer, RotationLayer, inverse_affine

TURNS_DEGREES = (-1.0, 0.0, 1.0)  # of the best start of either hand, if both are finalists


@dataclass(frozen=True)
class Start:
    """A rotation by ``degrees`` counter-clockwise.

    For affine layers: of the mirror image, if ``mirrored``.

    Attributes:
        tone: where a tone layer starts; None for the identity, and where there is none.
        action_map: the map of the actions that goes with it, where that is to be found too.
    """

    degrees: float
    mirrored: bool = False
    tone: Tone | None = None
    action_map: ActionMap | None = None

    def state(self) -> dict[str, Any]:
        """As the run keeps it until it has a checkpoint."""
        return {
            "kind": "spatial",
            "degrees": self.degrees,
            "mirrored": self.mirrored,
            **appearance_state(self.tone, self.action_map),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Start:
        """The inverse of :meth:`state`; KeyError, TypeError or ValueError where it is none."""
        return cls(float(state["degrees"]), bool(state["mirrored"]), *appearance_from_state(state))

    def __str__(self) -> str:
        words = [f"{self.degrees:.1f}°"]
        if self.mirrored:
            words.append("mirrored")
        return ", ".join([*words, *appearance_words(self.tone, self.action_map)])

    def to_json(self) -> dict[str, Any]:
        """As the metrics hold the one that was taken."""
        return {"start_degrees": self.degrees, "start_mirrored": self.mirrored}

    @staticmethod
    def columns(prefix: str, starts: Sequence[Start]) -> dict[str, list[Any]]:
        """As the metrics hold several."""
        angles = {f"{prefix}angles_degrees": [start.degrees for start in starts]}
        return angles if prefix else {**angles, "mirrored": [start.mirrored for start in starts]}

    @staticmethod
    def nearby(worst_first: Sequence[Start]) -> list[Start]:
        """The best start of either hand turned a little, if both are there."""
        orientations = {start.mirrored: start for start in worst_first}
        if len(orientations) == 1:
            return []
        return [
            replace(best_of, degrees=best_of.degrees + turn)
            for best_of in orientations.values()
            for turn in TURNS_DEGREES
        ]

    def resembles(self, other: Start) -> bool:
        """True if it is of the same hand, and has the same map of the actions."""
        return self.mirrored == other.mirrored and same_map(self.action_map, other.action_map)

    def layers(self, correspondence: Correspondence) -> nn.Module:
        """What G_T would be at this start: see :func:`start_layers`."""
        return start_layers(correspondence, self)

    def set(self, correspondence: Correspondence) -> None:
        """Begin there: see :func:`set_start`."""
        set_start(correspondence, self)


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
def set_start(correspondence: Correspondence, start: Start) -> None:
    """Set the layers of G_T to a start, those of G_S to its inverse, and the action map to its."""
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
    tone, back = (
        tone_layer(generator)
        for generator in (correspondence.target_to_source, correspondence.source_to_target)
    )
    if tone is not None and back is not None and start.tone is not None:
        tone.load_state_dict(_tone_layer(correspondence, start.tone).state_dict())
        matrix, bias = inverse_tone(tone.matrix, tone.bias)
        back.matrix.copy_(matrix)
        back.bias.copy_(bias)
    if start.action_map is not None:
        correspondence.action_map = start.action_map


def _layer(correspondence: Correspondence, start: Start) -> nn.Module:
    """A layer of the kind that the generators begin with, at a start."""
    if isinstance(spatial_layer(correspondence.target_to_source), AffineLayer):
        _, height, width = correspondence.target_scaling.spec.state_shape
        return AffineLayer(start.degrees, start.mirrored, aspect=height / width)
    return RotationLayer(start.degrees)


@torch.no_grad()
def _tone_layer(correspondence: Correspondence, tone: Tone) -> ToneLayer:
    """A tone layer of whole states of the target, at a tone."""
    channels = correspondence.target_scaling.spec.frame_shape[0]
    layer = ToneLayer(channels, len(tone.channels))
    layer.matrix.copy_(tone.matrix(channels))
    layer.bias.copy_(torch.tensor(tone.offsets))
    return layer


def start_layers(correspondence: Correspondence, start: Start) -> nn.Module:
    """What G_T would be at a start, were it nothing but its tone and its spatial layer."""
    layer = _layer(correspondence, start)
    if start.tone is not None:
        layer = TonedGenerator(_tone_layer(correspondence, start.tone), layer, tone_first=True)
    if isinstance(correspondence.target_to_source, FramewiseGenerator):
        specs = correspondence.target_scaling.spec, correspondence.source_scaling.spec
        layer = FramewiseGenerator(layer, *specs)
    return layer
