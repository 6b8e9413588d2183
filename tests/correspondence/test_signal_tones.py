"""Which tones of signals are proposed: orders by likeness, and a sign for each channel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from corrtool.correspondence.signal_tones import (
    MOST_TONES,
    ChannelSounds,
    candidate_signal_tones,
)
from corrtool.correspondence.tones import Tone


def sines(*cycles: float) -> Tensor:
    """One frame (1, c, 96) with a sine in each channel, of so many cycles."""
    time = torch.arange(96) / 96
    return torch.stack([torch.sin(2 * torch.pi * n * time) for n in cycles])[None]


def proposed(source: Tensor, target: Tensor) -> list[Tone]:
    return candidate_signal_tones(ChannelSounds.of(source), ChannelSounds.of(target))


def orders(tones: Iterable[Tone]) -> list[tuple[int, ...]]:
    """Each once, in the order of the tones."""
    return list(dict.fromkeys(tone.channels for tone in tones))


def signs(tones: Iterable[Tone]) -> list[tuple[int, ...]]:
    return [tuple(1 if gain > 0 else -1 for gain in tone.gains) for tone in tones]


def test_sounds_by_hand() -> None:
    sounds = ChannelSounds.of(torch.tensor([[[0.0, 0.0, 0.0, 4.0], [2.0, -2.0, 2.0, -2.0]]]))
    assert sounds.times.tolist() == [[0, 0, 0, 1], [0.25] * 4]
    torch.testing.assert_close(sounds.frequencies, torch.tensor([[1, 1, 1], [0, 0, 3]]) / 3)
    assert sounds.means.tolist() == [1, 0]
    torch.testing.assert_close(sounds.deviations, torch.tensor([2.0, 4 / 3**0.5]))
    # Standardised -1/2 three times and 3/2: the mean cube is (3³ - 3) / 8 / 4.
    assert sounds.lean.tolist() == pytest.approx([0.75, 0])
    distances = sounds.distance(sounds, -1.0)
    # Itself inverted differs by its lean alone; the other by 1.5 in time and 4/3 in frequency.
    assert distances.tolist() == [
        pytest.approx([0.75, 1.5 + 4 / 3 + 0.375]),
        pytest.approx([1.5 + 4 / 3 + 0.375, 0]),
    ]


@pytest.mark.parametrize("cycles", [(5, 5), (3, 11)], ids=["alike", "unlike"])
def test_of_two_channels_all_are_tried_the_usual_first(cycles: tuple[int, int]) -> None:
    tones = proposed(sines(*cycles), sines(*cycles))
    assert orders(tones) == [(0, 1), (1, 0)]
    assert len(set(tones)) == len(tones) == 8
    assert signs(tones)[0] == (1, 1)
    assert {(1, -1), (-1, 1), (-1, -1)} <= set(signs(tones)[1:4])


def test_of_one_channel_either_sign_is_tried() -> None:
    assert signs(proposed(sines(5), 3 * sines(5))) == [(1,), (-1,)]


def test_a_sign_that_the_values_tell_comes_first() -> None:
    pulses = torch.zeros(1, 2, 96)
    pulses[:, :, ::12] = 1.0
    tones = proposed(pulses, pulses * torch.tensor([0.5, -1.0])[:, None])
    assert tones[0].channels == (0, 1)
    assert tones[0].gains == pytest.approx((2.0, -1.0))
    assert tones[0].offsets == pytest.approx((0.0, 0.0), abs=1e-6)


@pytest.mark.parametrize("exchanged", [(1, 0, 2, 3), (0, 3, 2, 1), (2, 3, 0, 1), (3, 2, 1, 0)])
def test_of_four_channels_those_that_are_alike_come_first(exchanged: tuple[int, ...]) -> None:
    source = sines(2, 7, 15, 30)
    tones = proposed(source, source[:, list(exchanged)])
    back = tuple(exchanged.index(channel) for channel in range(4))
    assert tones[0].channels == back and signs(tones)[0] == (1, 1, 1, 1)
    assert {sign for tone, sign in zip(tones, signs(tones), strict=True)
            if tone.channels == back} >= {(-1, 1, 1, 1), (1, 1, 1, -1)}  # fmt: skip


def test_of_four_channels_that_sound_alike_each_exchange_and_each_sign_is_tried() -> None:
    tones = proposed(sines(5, 5, 5, 5), sines(5, 5, 5, 5))
    assert len(tones) == MOST_TONES
    plain = [tone.channels for tone, s in zip(tones, signs(tones), strict=True) if set(s) == {1}]
    exchanges = {(1, 0, 2, 3), (2, 1, 0, 3), (3, 1, 2, 0), (0, 2, 1, 3), (0, 3, 2, 1), (0, 1, 3, 2)}
    assert plain[0] == (0, 1, 2, 3) and set(plain[1:]) == exchanges
    same = [s for tone, s in zip(tones, signs(tones), strict=True) if tone.channels == (0, 1, 2, 3)]
    assert {(-1, -1, -1, -1), (-1, 1, 1, 1), (1, 1, 1, -1)} <= set(same)


@pytest.mark.parametrize("of", [(1, 1, 0), (1, 1, 1), (0, 1, 0)])
def test_three_channels_are_made_from_the_two_that_they_sound_like(of: Sequence[int]) -> None:
    target = sines(3, 20)
    assert proposed(target[:, list(of)], target)[0].channels == tuple(of)


def test_one_channel_is_each_of_three() -> None:
    assert orders(proposed(sines(20), sines(3, 20, 40)))[0] == (1,)
    assert set(orders(proposed(sines(5), sines(5, 5, 5)))) == {(0,), (1,), (2,)}


def test_silence_has_no_sound_to_compare() -> None:
    tones = proposed(torch.zeros(4, 2, 96), sines(3, 20))
    assert all(abs(gain) < 0.01 for tone in tones for gain in tone.gains)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_they_are_few_and_have_the_sources_mean_and_deviation(
    source: int, target: int, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    theirs = 3 * torch.randn(6, target, 32, generator=random) + 1
    mine = torch.randn(6, source, 32, generator=random)
    tones = proposed(mine, theirs)
    assert 2 <= len(tones) == len(set(tones)) <= MOST_TONES
    for tone in tones:
        if source == target:
            assert sorted(tone.channels) == list(range(source))
        for place, channel in enumerate(tone.channels):
            toned = tone.gains[place] * theirs[:, channel] + tone.offsets[place]
            assert toned.std().item() == pytest.approx(mine[:, place].std().item(), rel=1e-3)
            assert toned.mean().item() == pytest.approx(mine[:, place].mean().item(), abs=1e-3)
