"""The tones that are proposed for a target."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corrtool.correspondence import tones as module
from corrtool.correspondence.tones import (
    MOST_TONES,
    ChannelFeatures,
    Tone,
    candidate_tones,
)
from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.memory.rows import FIELDS
from corrtool.states import StateSpec

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


@pytest.mark.parametrize(
    ("tone", "said"),
    [
        (Tone.plain((0, 1)), ""),
        (Tone.plain((1, 0)), "channels 1,0"),
        (Tone.plain((0, 1), -1.0), "inverted"),
        (Tone.plain((1, 0), -1.0), "channels 1,0, inverted"),
        (Tone((0,), (-1.0,), (0.5,)), "gains -1.00, offsets 0.50"),
        (Tone((0,), (1.0,), (0.5,)), "gains 1.00, offsets 0.50"),
        (Tone((0, 1), (1.0, -1.0), (0.0, 0.25)), "gains 1.00,-1.00, offsets 0.00,0.25"),
        (Tone((0, 1), (2.0, 2.0), (0.0, 0.0)), "gains 2.00,2.00, offsets 0.00,0.00"),
    ],
)
def test_a_tone_says_what_is_unusual_about_it(tone: Tone, said: str) -> None:
    assert str(tone) == said


def test_a_tone_in_json() -> None:
    told = Tone((1, 0), (1.0, -1.0), (0.0, 0.25)).to_json()
    assert told == {"channels": [1, 0], "gains": [1.0, -1.0], "offsets": [0.0, 0.25]}


def test_features_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two frames of one channel and two pixels: the least, a middle and the largest of each."""
    monkeypatch.setattr(module, "QUANTILES", 3)
    here = torch.tensor([[[[0.5, -1.0]]], [[[0.25, 1.0]]]])
    following = torch.tensor([[[[0.0, 1.0]]], [[[0.25, 0.5]]]])
    found = ChannelFeatures.of(here, following)
    assert found.values.tolist() == [[-1.0, 0.5, 1.0]]
    assert found.changes.tolist() == [[0.0, 0.5, 2.0]]
    assert found.moved.tolist() == [[0.25, 0.25, 1.25]]


def test_features_of_a_memory_are_of_the_newest_frames_between_black_and_white(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The frames are 0, 255, 51 and 204, and a sample of two of their three transitions."""
    frames = np.array([0, 255, 51, 204], np.uint8).reshape(4, 1, 1, 1)
    fields: dict[str, np.ndarray] = {name: np.zeros(4, dtype) for name, dtype in FIELDS.items()}
    fields["valid"][:3], fields["episode_steps"][:] = True, np.arange(4)
    spec = StateSpec("image", (1, 1, 1), 2)
    memory = ReplayMemory.from_rows(MemoryRows(spec, 1, frames, fields), torch.device("cpu"))
    found = ChannelFeatures.of_memory(memory, np.random.default_rng(0))
    expected = ChannelFeatures.of(
        torch.tensor([-1.0, 1.0, -0.6]).view(3, 1, 1, 1),
        torch.tensor([1.0, -0.6, 0.6]).view(3, 1, 1, 1),
    )
    for name in ("values", "changes", "moved"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-6)
    monkeypatch.setattr(module, "SAMPLED_TRANSITIONS", 2)
    sampled = [
        tuple(set(ChannelFeatures.of_memory(memory, np.random.default_rng(k)).changes[0].round(3)))
        for k in range(30)
    ]
    pairs = {frozenset(pair) for pair in sampled}
    assert pairs == {frozenset(pair) for pair in ((2.0, 1.6), (2.0, 1.2), (1.6, 1.2))}


def channels(*values: list[float]) -> ChannelFeatures:
    """Channels of these values, which never change."""
    still = np.zeros((len(values), len(values[0])))
    return ChannelFeatures(np.array(values), still, still)


def test_distances_by_hand() -> None:
    """Values inverted are compared in the other order; changes have no sign."""
    mine = ChannelFeatures(np.array([[-1.0, 0.0]]), np.array([[0.0, 1.0]]), np.array([[0.5, 0.5]]))
    other = ChannelFeatures(np.array([[0.0, 1.0]]), np.array([[0.0, 0.5]]), np.array([[0.0, 1.0]]))
    assert mine.distance(other, 1.0, 0.0).tolist() == [[1.0 + 0.25 + 0.5]]
    assert mine.distance(other, -1.0, 0.0).tolist() == [[0.0 + 0.25 + 0.5]]
    assert mine.distance(other, 2.0, -1.0).tolist() == [[0.5 + 0.0 + 1.0]]
    assert mine.distance(other, -2.0, 0.5).tolist() == [[0.5 + 0.0 + 1.0]]
    two = channels([0.0, 0.0], [1.0, 1.0])
    assert two.distance(channels([1.0, 1.0], [0.5, 0.5]), 1.0, 0.0).tolist() == [[1, 0.5], [0, 0.5]]


def test_a_channel_that_matches_either_way_is_taken_as_it_is() -> None:
    assert candidate_tones(channels([-0.5, 0.5]), channels([-0.5, 0.5])) == [
        Tone.plain((0,)), Tone.plain((0,), -1.0),
    ]  # fmt: skip


def test_the_orders_that_cost_least_come_first() -> None:
    """Channels of the grey 0, ½ and 0.9: to exchange the last two costs least, then the first."""
    shades = channels([0.0, 0.0], [0.5, 0.5], [0.9, 0.9])
    tones = candidate_tones(shades, shades)
    orders = [tone.channels for tone in tones if set(tone.gains) == {1.0}]
    assert orders == [(0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 1, 0)]


def test_gains_and_offsets_make_mean_and_deviation_equal_in_either_sign() -> None:
    """From mean 0 and deviation ½ to mean ¼ and deviation ¼; one that never changes gets little."""
    tones = candidate_tones(channels([0.0, 0.5]), channels([-0.5, 0.5]))
    assert tones[:2] == [Tone((0,), (0.5,), (0.25,)), Tone((0,), (-0.5,), (0.25,))]
    still = candidate_tones(channels([0.5, 0.5]), channels([-0.5, 0.5]))
    assert Tone((0,), (1e-3 / 0.5,), (0.5,)) in still
    moving = candidate_tones(channels([-0.5, 0.5]), channels([0.25, 0.25]))
    (gain,) = {tone.gains[0] for tone in moving if tone.gains[0] > 1}
    assert gain == pytest.approx(0.5 / 1e-3)


def test_nothing_is_matched_where_channels_are_alike_as_they_are() -> None:
    tones = candidate_tones(channels([-0.5, 0.5]), channels([-0.4, 0.6]))
    assert {tone.gains[0] for tone in tones} == {1.0, -1.0}
