"""Views of pictures beside those of test_views.py: shift, zoom, channels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from corrtool.errors import UsageError
from corrtool.states import StateSpec
from corrtool.tasks.views import Channels, Shift, View, Zoom, parse_view

ABCDEF = np.array([[[[1, 2, 3], [4, 5, 6]]]], dtype=np.uint8)  # one frame, one channel, 2×3

fast = settings(deadline=None, max_examples=40)
batches = arrays(np.uint8, st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(1, 6)] * 2))


def view(text: str) -> View:
    return parse_view(text, Path())


def picture(height: int, width: int, channels: int = 1) -> StateSpec:
    return StateSpec("image", (channels, height, width), 4)


class TestShift:
    @pytest.mark.parametrize(
        "text, expected",
        [
            ("shift:1,0", [[0, 1, 2], [0, 4, 5]]),
            ("shift:-1,0", [[2, 3, 0], [5, 6, 0]]),
            ("shift:0,1", [[0, 0, 0], [1, 2, 3]]),
            ("shift:0,-1", [[4, 5, 6], [0, 0, 0]]),
            ("shift:2,1", [[0, 0, 0], [0, 0, 1]]),
            ("shift:0,0", [[1, 2, 3], [4, 5, 6]]),
        ],
    )
    def test_by_hand(self, text: str, expected: list[Any]) -> None:
        shown = view(text).frames(ABCDEF)
        assert shown.dtype == np.uint8
        assert shown.tolist() == [[expected]]
        assert view(text).spec(picture(2, 3)) == picture(2, 3)

    @fast
    @given(batches, st.integers(-5, 5), st.integers(-5, 5))
    def test_back_again_is_the_picture_but_for_what_left_it(
        self, frames: np.ndarray, right: int, down: int
    ) -> None:
        height, width = frames.shape[-2:]
        right, down = int(np.fmod(right, width)), int(np.fmod(down, height))
        back = Shift(-right, -down).frames(Shift(right, down).frames(frames))
        stayed = Shift(-right, -down).frames(Shift(right, down).frames(np.ones_like(frames)))
        assert np.array_equal(back, frames * stayed)
        assert stayed[0, 0].sum() == (height - abs(down)) * (width - abs(right))

    @pytest.mark.parametrize("text", ["shift:3,0", "shift:-3,0", "shift:0,2", "shift:0,-2"])
    def test_out_of_sight(self, text: str) -> None:
        with pytest.raises(UsageError, match="moves a picture of 2 × 3 pixels out of sight"):
            view(text).spec(picture(2, 3))


class TestZoom:
    def test_twice_as_large(self) -> None:
        """Of 5 columns the middle one stays, and those beside it come to the edges."""
        columns = np.array([[[[10, 20, 30, 60, 90]] * 5]], np.uint8)
        assert view("zoom:2").frames(columns).tolist() == [[[[20, 25, 30, 45, 60]] * 5]]

    def test_half_as_large(self) -> None:
        """Every second pixel comes beside the centre, and black around it."""
        columns = np.array([[[[10, 20, 30, 60, 90]] * 5]], np.uint8)
        dark, seen = [0, 0, 0, 0, 0], [0, 10, 30, 90, 0]
        assert view("zoom:0.5").frames(columns).tolist() == [[[dark, seen, seen, seen, dark]]]

    def test_the_largest_and_the_smallest_may_be_asked_for(self) -> None:
        assert [view(f"zoom:{factor}") for factor in ("100", "0.01")] == [Zoom(100.0), Zoom(0.01)]

    @fast
    @given(batches)
    def test_by_one_changes_nothing(self, frames: np.ndarray) -> None:
        assert np.array_equal(Zoom(1.0).frames(frames), frames)

    @fast
    @given(batches, st.floats(0.01, 100))
    def test_keeps_the_shape(self, frames: np.ndarray, factor: float) -> None:
        shown = Zoom(factor).frames(frames)
        assert shown.shape == frames.shape
        assert shown.dtype == np.uint8
        spec = StateSpec("image", frames.shape[1:])
        assert Zoom(factor).spec(spec) == spec


class TestChannels:
    def test_by_hand(self) -> None:
        frames = np.arange(12, dtype=np.uint8).reshape(2, 3, 1, 2)
        shown = view("channels:2,0,1").frames(frames)
        assert shown.flags.c_contiguous
        assert shown[0].tolist() == [[[4, 5]], [[0, 1]], [[2, 3]]]
        assert shown[1].tolist() == [[[10, 11]], [[6, 7]], [[8, 9]]]
        assert view("channels:2,0,1").spec(picture(5, 5, 3)) == picture(5, 5, 3)

    @fast
    @given(arrays(np.uint8, (2, 4, 3, 3)), st.permutations(range(4)))
    def test_a_permutation_and_its_inverse(self, frames: np.ndarray, order: list[int]) -> None:
        inverse = tuple(int(i) for i in np.argsort(order))
        there = Channels(tuple(order)).frames(frames)
        assert np.array_equal(Channels(inverse).frames(there), frames)

    @pytest.mark.parametrize("text", ["channels:0,1", "channels:0,1,1", "channels:1,2,3"])
    def test_what_is_no_permutation(self, text: str) -> None:
        with pytest.raises(UsageError, match="not a permutation of 3 channels"):
            view(text).spec(picture(5, 5, 3))

    def test_grey_pictures_have_nothing_to_exchange(self) -> None:
        with pytest.raises(UsageError, match="of several channels") as raised:
            view("channels:0").spec(picture(84, 84))
        assert "--no-grayscale" in raised.value.hint


@pytest.mark.parametrize("text", ["shift:1,0", "zoom:2", "channels:0,1,2", "camera:0"])
def test_vectors_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"'{text}' is for image (or signal )?states"):
        view(text).spec(StateSpec("vector", (3,)))
