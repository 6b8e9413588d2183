"""Which channel of a signal is which, and of which sign: tones that are proposed to a search.

The gain of a channel is known, since both tasks are to have one deviation; its sign and its place
are not. Channels are alike by when they are loud and at which frequencies, whatever their gain, and
signs by which way the values lean. Often nothing tells them apart, as the left ear from the right,
or a tone from its negative. So what is as likely is proposed as well, the most usual first, and
which it is the model loss says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from corrtool.correspondence.assignment import assign
from corrtool.correspondence.tones import Tone

MOST_ORDERS = 8  # of the channels: of four all exchanges of two
MOST_TONES = 16
UNUSUAL = 0.05  # of a distance, for each channel that is moved or inverted: no more than chance

Order = tuple[int, ...]
Signs = tuple[float, ...]


@dataclass(frozen=True)
class ChannelSounds:
    """How each of c channels sounds.

    Attributes:
        times: how loud it is at each time, as shares, (c, L).
        frequencies: how loud it is at each frequency, as shares, (c, L / 2 + 1).
        lean: the skewness of its values, in [-1, 1], (c,): 0 for a sine, which has no sign.
        means, deviations: of its values, (c,).
    """

    times: Tensor
    frequencies: Tensor
    lean: Tensor
    means: Tensor
    deviations: Tensor

    @classmethod
    def of(cls, frames: Tensor) -> ChannelSounds:
        """Of frames (N, c, L)."""
        means, deviations = frames.mean((0, 2)), frames.std((0, 2)).clamp(min=1e-3)
        lean = (((frames - means[:, None]) / deviations[:, None]) ** 3).mean((0, 2)).clamp(-1, 1)
        times, frequencies = frames.abs().mean(0), torch.fft.rfft(frames).abs().mean(0)
        return cls(_shares(times), _shares(frequencies), lean, means, deviations)

    def distance(self, other: ChannelSounds, sign: float) -> NDArray[np.float64]:
        """How unlike each channel is each of the ``other`` with a sign: (c, c_other), in [0, 5]."""
        sounds = (self.times, other.times), (self.frequencies, other.frequencies)
        apart = sum(
            ((mine[:, None] - theirs).abs().sum(2) for mine, theirs in sounds),
            (self.lean[:, None] - sign * other.lean).abs() / 2,
        )
        distances: NDArray[np.float64] = apart.double().numpy()
        return distances


def _shares(loudness: Tensor) -> Tensor:
    return loudness / loudness.sum(1, keepdim=True).clamp(min=1e-9)


def candidate_signal_tones(source: ChannelSounds, target: ChannelSounds) -> list[Tone]:
    """Tones from the target's channels to the source's, at most 16, the likeliest first.

    Channels as they are and as they match best, with two of them exchanged, each with a sign of its
    own, and so loud that they have one deviation. All that there are of two channels and two.
    """
    costs = np.stack([source.distance(target, sign) for sign in (1.0, -1.0)])
    costs[1] += UNUSUAL
    ranked = dict[tuple[Order, Signs], float]()
    for order in _orders(costs.min(0)):
        of_each = costs[:, np.arange(len(order)), list(order)]
        likely = np.where(of_each[1] < of_each[0], -1.0, 1.0)
        for signs in _signs(likely):
            negative = np.array(signs) < 0
            cost = float(np.where(negative, of_each[1], of_each[0]).sum()) + _moved(order)
            if negative.all():  # which is as usual as a single one
                cost -= UNUSUAL * (len(signs) - 1)
            ranked[order, signs] = cost
    best = sorted(ranked, key=lambda choice: ranked[choice])[:MOST_TONES]
    return [_tone(source, target, order, signs) for order, signs in best]


def _moved(order: Order) -> float:
    """What it costs that channels are not where they were."""
    return UNUSUAL * sum(channel != place for place, channel in enumerate(order))


def _orders(costs: NDArray[np.float64]) -> list[Order]:
    """Which channel of the target each of the source's may be, the cheapest first.

    Args:
        costs: (c_S, c_T), for each pair of them.
    """
    source, target = costs.shape
    bases = [assign(costs)]
    if source == target:
        bases.append(tuple(range(source)))
    orders = {order for base in bases for order in (base, *_changed(base, target))}
    rows = np.arange(source)

    def cost(order: Order) -> tuple[float, Order]:
        return float(costs[rows, list(order)].sum()) + _moved(order), order

    return sorted(orders, key=cost)[:MOST_ORDERS]


def _changed(order: Order, target: int) -> Iterator[Order]:
    """Two channels exchanged or, where the tasks have different numbers of them, one replaced."""
    for i, j in combinations(range(len(order)), 2):
        exchanged = list(order)
        exchanged[i], exchanged[j] = order[j], order[i]
        yield tuple(exchanged)
    if len(order) != target:
        for place, channel in np.ndindex(len(order), target):
            yield (*order[:place], channel, *order[place + 1 :])


def _signs(likely: NDArray[np.float64]) -> Iterator[Signs]:
    """Signs: the likely ones, all positive, the negatives of both, and one changed of each."""
    flipped = 1.0 - 2.0 * np.vstack([np.zeros(len(likely)), np.eye(len(likely))])
    for base in (np.ones(len(likely)), likely):
        for signs in np.concatenate([base * flipped, -base * flipped]):
            yield tuple(signs.tolist())


def _tone(source: ChannelSounds, target: ChannelSounds, order: Order, signs: Signs) -> Tone:
    at = list(order)
    gains = torch.tensor(signs) * source.deviations / target.deviations[at]
    offsets = source.means - gains * target.means[at]
    return Tone(order, tuple(gains.tolist()), tuple(offsets.tolist()))
