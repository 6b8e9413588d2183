"""Starts of generators of signals: a pitch, a delay, and which channel is which, how loud.

Pitches from half to double and delays up to a quarter of the length are a grid of more than a
thousand, too many to ask F about. What is compared are those under which the target's memory
sounds on the average as the source's does: how loud it is at each time, and at each frequency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.appearance import (
    appearance_from_state,
    appearance_state,
    appearance_words,
    same_map,
)
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.signal_tones import ChannelSounds, candidate_signal_tones
from corrtool.correspondence.tones import Tone
from corrtool.memory import ReplayMemory
from corrtool.signal_layers import GainShiftLayer, resampled
from corrtool.state_scaling import StateScaling

PITCHES = tuple(2.0 ** (step / 24) for step in range(-24, 25))  # quarter tones, 3 % apart
SHIFTS = tuple(step / 64 for step in range(-16, 17))  # of the length
NEARBY_PITCHES = (0.99, 1.0, 1.01)  # by which the best start is retuned
NEARBY_SHIFTS = (-1 / 128, 0.0, 1 / 128)
SAMPLED_FRAMES = 512


@dataclass(frozen=True)
class SignalStart:
    """A gain-and-shift layer before it learns.

    Attributes:
        pitch: its scale of time: 2 is an octave higher.
        earlier: its shift, a share of the length.
        tone: which channel of the target each of the source's is made from, with which gain.
        action_map: the map of the actions that goes with it, where that is to be found too.
    """

    pitch: float = 1.0
    earlier: float = 0.0
    tone: Tone | None = None
    action_map: ActionMap | None = None

    def state(self) -> dict[str, Any]:
        """As the run keeps it until it has a checkpoint."""
        return {
            "kind": "signal",
            "pitch": self.pitch,
            "earlier": self.earlier,
            **appearance_state(self.tone, self.action_map),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> SignalStart:
        """The inverse of :meth:`state`; KeyError, TypeError or ValueError where it is none."""
        return cls(float(state["pitch"]), float(state["earlier"]), *appearance_from_state(state))

    def __str__(self) -> str:
        words = [f"pitch × {self.pitch:.3f}"]
        if self.earlier:
            words.append(f"{abs(self.earlier):.1%} {'earlier' if self.earlier > 0 else 'later'}")
        return ", ".join([*words, *appearance_words(self.tone, self.action_map)])

    def resembles(self, other: SignalStart) -> bool:
        """True if it has the same channels, and the same map of the actions."""
        channels = [None if s.tone is None else s.tone.channels for s in (self, other)]
        return channels[0] == channels[1] and same_map(self.action_map, other.action_map)

    def to_json(self) -> dict[str, Any]:
        """As the metrics hold the one that was taken."""
        return {
            "start_pitch": self.pitch,
            "start_earlier": self.earlier,
            "start_tone": None if self.tone is None else self.tone.to_json(),
            "start_action_map": None
            if self.action_map is None
            else list(self.action_map.source_of),
        }

    @staticmethod
    def columns(prefix: str, starts: Sequence[SignalStart]) -> dict[str, list[Any]]:
        """As the metrics hold several."""
        return {
            f"{prefix}pitches": [start.pitch for start in starts],
            f"{prefix}earlier": [start.earlier for start in starts],
            f"{prefix}channels": [None if s.tone is None else s.tone.channels for s in starts],
        }

    @staticmethod
    def nearby(worst_first: Sequence[SignalStart]) -> list[SignalStart]:
        """The best one retuned a little: the grid is coarser than what F hears."""
        best = worst_first[-1]
        return [
            SignalStart(best.pitch * pitch, best.earlier + shift, best.tone, best.action_map)
            for pitch, shift in product(NEARBY_PITCHES, NEARBY_SHIFTS)
        ]

    def layers(self, correspondence: Correspondence) -> nn.Module:
        """What G_T would be at this start, were it nothing but its gain-and-shift layer."""
        specs = correspondence.target_scaling.spec, correspondence.source_scaling.spec
        layer = GainShiftLayer(specs[0].frame_shape[0], specs[1].frame_shape[0])
        self._fill(layer)
        return layer

    def set(self, correspondence: Correspondence) -> None:
        """Set the layer of G_T to this start, that of G_S to its inverse, and the action map."""
        forward, backward = (
            gain_shift_layer(generator)
            for generator in (correspondence.target_to_source, correspondence.source_to_target)
        )
        if forward is None or backward is None:
            raise ValueError("the generators have no gain-and-shift layer to start from")
        self._fill(forward)
        backward.set_to_inverse_of(forward)
        if self.action_map is not None:
            correspondence.action_map = self.action_map

    @torch.no_grad()
    def _fill(self, layer: GainShiftLayer) -> None:
        layer.scale.fill_(self.pitch)
        layer.shift.fill_(self.earlier)
        if self.tone is not None:
            layer.matrix.copy_(self.tone.matrix(layer.matrix.shape[1]))
            layer.bias.copy_(torch.tensor(self.tone.offsets))


def gain_shift_layer(generator: nn.Module) -> GainShiftLayer | None:
    """The gain-and-shift layer that is, or is part of, a generator; None without one."""
    layers = (layer for layer in generator.modules() if isinstance(layer, GainShiftLayer))
    return next(layers, None)


def sampled_frames(
    memory: ReplayMemory, scaling: StateScaling, random: np.random.Generator
) -> Tensor:
    """Newest frames of a memory at random, (N, C, L) in the model range, on the host."""
    rows = memory.dynamics_rows()
    rows = random.choice(rows, size=min(SAMPLED_FRAMES, len(rows)), replace=False)
    return memory.spec.frames_of(scaling.raw_to_model(memory.states(rows)))[:, -1].cpu()


def candidate_signal_starts(source: Tensor, target: Tensor, count: int) -> list[SignalStart]:
    """``count`` pitches with delays, the most alike first, each with some tones of the channels.

    Args:
        source, target: frames (N, C, L) of both memories in the model range; the numbers of frames
            and of channels may differ.
    """
    source_loudness, target_loudness = _loudness(source), _loudness(target)
    places = sorted(
        product(PITCHES, SHIFTS),
        key=lambda place: _distance(source_loudness, target_loudness, *place),
    )
    identity = (1.0, 0.0)
    kept = [identity, *(place for place in places if place != identity)][:count]
    sounds = ChannelSounds.of(source)
    return [
        SignalStart(pitch, earlier, tone)
        for pitch, earlier in kept
        for tone in candidate_signal_tones(
            sounds, ChannelSounds.of(_resampled(target, pitch, earlier))
        )
    ]


def _loudness(frames: Tensor) -> tuple[Tensor, Tensor]:
    """How loud frames (N, C, L) are on the average: at each time (L,), and frequency (L/2 + 1,)."""
    return frames.abs().mean((0, 1)), torch.fft.rfft(frames).abs().mean((0, 1))


def _distance(
    source: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor], pitch: float, earlier: float
) -> float:
    """How unlike the loudness of both is with the target at a pitch, in [0, 4].

    A signal that goes ``pitch`` times as fast has its frequencies so many times as high.
    """
    moved = _resampled(target[0], pitch, earlier), _resampled(target[1], 1.0 / pitch, 0.0)
    return sum(
        (_share(mine) - _share(theirs)).abs().sum().item()
        for mine, theirs in zip(source, moved, strict=True)
    )


def _share(loudness: Tensor) -> Tensor:
    return loudness / loudness.sum().clamp(min=1e-9)


def _resampled(x: Tensor, scale: float, shift: float) -> Tensor:
    return resampled(x, torch.tensor(scale), torch.tensor(shift))
