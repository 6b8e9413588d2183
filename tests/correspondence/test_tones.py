"""The tones that are proposed for a target."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corrtool.correspondence.tones import (
    MOST_TONES,
    ChannelFeatures,
    Tone,
    candidate_tones,
)

FRAMES = 200


def game(seed: int = 0, frames: int = FRAMES) -> torch.Tensor:
    """Frames (N, 4, 10, 10): what stands still, what always moves, what rests, what is grey."""
    random = np.random.default_rng(seed)
    shown = -np.ones((frames, 4, 10, 10))
    resting = 0
    for t in range(frames):
        shown[t, 0, :3] = 1
        shown[t, 1, random.integers(10), random.integers(10)] = 1
        resting = int(random.integers(10)) if random.random() < 0.2 else resting
        shown[t, 2, 9, resting] = 1
        shown[t, 3, random.integers(10)] = 0.2
    return torch.from_numpy(shown).float()


def features(shown: torch.Tensor) -> ChannelFeatures:
    return ChannelFeatures.of(shown[:-1], shown[1:])


@pytest.mark.parametrize("turns", [0, 1])
def test_an_inverted_picture_is_found_turned_or_not(turns: int) -> None:
    source = features(game()[:, 1:2])
    target = features(torch.rot90(-game(1)[:, 1:2], turns, (2, 3)))
    tones = candidate_tones(source, target)
    assert [str(tone) for tone in tones] == ["inverted", ""]


def test_the_same_picture_is_found_as_the_same() -> None:
    tones = candidate_tones(features(game()[:, :1]), features(game(1)[:, :1]))
    assert [str(tone) for tone in tones] == ["", "inverted"]


@given(st.permutations(range(4)), st.booleans())
@settings(max_examples=10, deadline=None)
def test_any_permutation_of_four_channels_is_the_first(order: list[int], inverted: bool) -> None:
    target = torch.rot90(game(1)[:, list(order)], 1, (2, 3)) * (-1 if inverted else 1)
    tones = candidate_tones(features(game()), features(target))
    answer = tuple(order.index(channel) for channel in range(4))
    assert tones[0] == Tone.plain(answer, -1.0 if inverted else 1.0)
    assert len(set(tones)) == len(tones) <= MOST_TONES


def test_channels_that_are_alike_are_tried_either_way() -> None:
    moving = torch.cat([game(seed)[:, 1:2] for seed in range(2)], dim=1)
    tones = candidate_tones(features(moving), features(moving))
    assert {tone.channels for tone in tones} >= set(permutations(range(2)))


def test_another_gain_and_offset_is_found() -> None:
    shown = torch.rand(FRAMES, 1, 8, 8) * 2 - 1
    tones = candidate_tones(features(shown), features(0.4 * shown - 0.5))
    assert tones[0].gains == pytest.approx((2.5,), rel=0.01)
    assert tones[0].offsets == pytest.approx((1.25,), abs=0.02)
    assert str(tones[0]).startswith("gains 2.5")


def test_another_number_of_channels_takes_those_that_match() -> None:
    tones = candidate_tones(features(game()[:, 2:3]), features(game(1)))
    assert tones[0] == Tone.plain((2,))


def test_never_more_than_a_dozen() -> None:
    shown = torch.rand(20, 9, 4, 4) * 2 - 1
    assert len(candidate_tones(features(shown), features(shown))) == MOST_TONES


@given(st.permutations(range(3)), st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_its_matrix_does_what_it_says(order: list[int], gains: list[float]) -> None:
    tone = Tone(tuple(order), tuple(gains), (0.0, 0.1, 0.2))
    values = torch.tensor([0.3, -0.2, 0.9])
    expected = torch.tensor([gain * values[k] for gain, k in zip(gains, order, strict=True)])
    torch.testing.assert_close(tone.matrix(3) @ values, expected)
