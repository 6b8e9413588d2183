"""Tones that may turn the target's pictures into the source's, proposed before anything is learnt.

What a channel shows is described by what a rotation leaves alone: how its values are distributed,
how those of their changes are, and how much of a frame changes at a time. Channels that are alike
may be one another; which are is for the model loss to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corrtool.correspondence.assignment import assign
from corrtool.memory import ReplayMemory

SAMPLED_TRANSITIONS = 512
QUANTILES = 1_000  # of which a pixel in a thousand still moves one
MOST_TONES = 12
LEAST = 1e-3  # deviation: of a channel that never changes there is no gain to tell
UNLIKE = 0.1  # mean distance of two channels' values in [-1, 1]: more is a matter of gain, offset


class ToneDescription(TypedDict):
    """A :class:`Tone` as the metrics hold it."""

    channels: list[int]
    gains: list[float]
    offsets: list[float]


@dataclass(frozen=True)
class Tone:
    """A tone without mixtures: channel o becomes gains[o] · v[channels[o]] + offsets[o].

    Values v of the target's c_T channels and those of the source's c_S, all in [-1, 1].

    Attributes:
        channels: of each of the c_S channels the one of the target that it is made from.
        gains, offsets: of each of them.
    """

    channels: tuple[int, ...]
    gains: tuple[float, ...]
    offsets: tuple[float, ...]

    @classmethod
    def plain(cls, channels: tuple[int, ...], gain: float = 1.0) -> Tone:
        """Channels in another order, or inverted with a ``gain`` of -1."""
        return cls(channels, (gain,) * len(channels), (0.0,) * len(channels))

    def matrix(self, in_channels: int) -> Tensor:
        """The (c_S, ``in_channels``) matrix of a tone layer."""
        matrix = torch.zeros(len(self.channels), in_channels)
        matrix[torch.arange(len(self.channels)), list(self.channels)] = torch.tensor(self.gains)
        return matrix

    def to_json(self) -> ToneDescription:
        """As the metrics hold it."""
        return {
            "channels": list(self.channels),
            "gains": list(self.gains),
            "offsets": list(self.offsets),
        }

    @classmethod
    def from_json(cls, tone: ToneDescription) -> Tone:
        """The inverse of :meth:`to_json`; KeyError or TypeError where it is none."""
        return cls(tuple(tone["channels"]), tuple(tone["gains"]), tuple(tone["offsets"]))

    def __str__(self) -> str:
        """What is unusual about it: '' for the identity."""
        words = []
        if self.channels != tuple(range(len(self.channels))):
            words.append("channels " + ",".join(map(str, self.channels)))
        if set(self.gains) == {-1.0} and not any(self.offsets):
            words.append("inverted")
        elif set(self.gains) != {1.0} or any(self.offsets):
            words.append("gains " + ",".join(f"{gain:.2f}" for gain in self.gains))
            words.append("offsets " + ",".join(f"{offset:.2f}" for offset in self.offsets))
        return ", ".join(words)


@dataclass(frozen=True)
class ChannelFeatures:
    """What a rotation leaves alone of each of c channels: sorted values, (c, QUANTILES) each.

    Attributes:
        values: in [-1, 1].
        changes: of a pixel from frame to frame, absolute.
        moved: the mean change of a frame, which tells what moves now and then from what always
            does.
    """

    values: NDArray[np.float64]
    changes: NDArray[np.float64]
    moved: NDArray[np.float64]

    @classmethod
    def of(cls, frames: Tensor, next_frames: Tensor) -> ChannelFeatures:
        """Of frames (N, c, H, W) in [-1, 1] and the frames after them."""
        change = (next_frames - frames).abs()
        return cls(*(_quantiles(part) for part in (frames, change, change.mean((2, 3)))))

    @classmethod
    def of_memory(cls, memory: ReplayMemory, random: np.random.Generator) -> ChannelFeatures:
        """Of a sample of a memory of pictures."""
        rows = memory.dynamics_rows()
        rows = random.choice(rows, size=min(SAMPLED_TRANSITIONS, len(rows)), replace=False)
        here, following = (
            memory.spec.frames_of(memory.states(at))[:, -1].cpu().float() * (2.0 / 255.0) - 1.0
            for at in (rows, memory.next_rows(rows))
        )
        return cls.of(here, following)

    def distance(self, other: ChannelFeatures, gain: float, offset: float) -> NDArray[np.float64]:
        """How unlike each channel is each of the ``other`` in another tone: (c, c_other).

        The distances in transport (Wasserstein-1) of the three distributions, added.
        """
        values = gain * other.values + offset
        pairs = [
            (self.values, values if gain > 0 else values[:, ::-1]),
            (self.changes, abs(gain) * other.changes),
            (self.moved, abs(gain) * other.moved),
        ]
        return sum(
            (np.abs(mine[:, None] - theirs[None]).mean(2) for mine, theirs in pairs),
            np.zeros((len(self.values), len(values))),
        )


def _quantiles(values: Tensor) -> NDArray[np.float64]:
    """Of each channel of (N, c, …), in increasing order: (c, QUANTILES)."""
    ordered = values.transpose(0, 1).flatten(1).double().sort(1).values
    at = torch.linspace(0, ordered.shape[1] - 1, QUANTILES).round().long()
    quantiles: NDArray[np.float64] = ordered[:, at].numpy()
    return quantiles


def candidate_tones(source: ChannelFeatures, target: ChannelFeatures) -> list[Tone]:
    """Tones from the target's channels to the source's, at most 12, the best match first.

    As they are and inverted, channels exchanged as they match best and with two of them the other
    way round; where values match in no such way, with the gains and offsets that make mean and
    deviation equal.
    """
    plain, inverted = (source.distance(target, gain, 0.0) for gain in (1.0, -1.0))
    costs = np.minimum(plain, inverted)
    gains = np.where(inverted < plain, -1.0, 1.0)
    tones: dict[Tone, float] = {}
    count = len(source.values)
    every = np.arange(count)
    if count == len(target.values):
        same = tuple(range(count))
        tones[Tone.plain(same)] = float(plain[every, every].sum())
        tones[Tone.plain(same, -1.0)] = float(inverted[every, every].sum())
    best = assign(costs)
    for order in [best, *_exchanged(best, costs)]:
        at = every, list(order)
        tone = Tone(order, tuple(gains[at].tolist()), (0.0,) * count)
        tones.setdefault(tone, float(costs[at].sum()))
    if costs[every, list(best)].max() > UNLIKE:
        tones |= _matched(source, target)
    ranked = sorted(tones, key=lambda tone: tones[tone])
    return ranked[:MOST_TONES]


def _exchanged(order: tuple[int, ...], costs: NDArray[np.float64]) -> Iterator[tuple[int, ...]]:
    """The orders with two channels exchanged that cost least, the cheapest first."""
    changed = []
    for i, j in combinations(range(len(order)), 2):
        other = list(order)
        other[i], other[j] = order[j], order[i]
        changed.append(tuple(other))
    rows = np.arange(len(order))
    yield from sorted(changed, key=lambda o: float(costs[rows, list(o)].sum()))[:MOST_TONES]


def _matched(source: ChannelFeatures, target: ChannelFeatures) -> dict[Tone, float]:
    """A tone of either sign with gains and offsets that make mean and deviation equal.

    Each with its distance; channels as they match best then.
    """
    tones = {}
    for sign in (1.0, -1.0):
        costs = np.zeros((len(source.values), len(target.values)))
        gains, offsets = costs.copy(), costs.copy()
        for o, i in np.ndindex(costs.shape):
            mine, theirs = source.values[o], target.values[i]
            gain = sign * max(float(mine.std()), LEAST) / max(float(theirs.std()), LEAST)
            offset = float(mine.mean()) - gain * float(theirs.mean())
            apart = _channel(source, o).distance(_channel(target, i), gain, offset)
            gains[o, i], offsets[o, i], costs[o, i] = gain, offset, apart[0, 0]
        order = assign(costs)
        at = np.arange(len(order)), list(order)
        tone = Tone(order, tuple(gains[at].tolist()), tuple(offsets[at].tolist()))
        tones[tone] = float(costs[at].sum())
    return tones


def _channel(features: ChannelFeatures, channel: int) -> ChannelFeatures:
    """One channel alone."""
    at = slice(channel, channel + 1)
    return ChannelFeatures(features.values[at], features.changes[at], features.moved[at])
