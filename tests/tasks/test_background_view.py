"""``background:SEED``: what shows through where, by hand, and what holds for every seed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corrtool.errors import UsageError
from corrtool.states import StateSpec
from corrtool.tasks.views import Background, parse_view
from corrtool.tasks.views.background import wallpaper

seeds = st.integers(0, 2**64)


def test_black_shows_the_picture_white_hides_it_and_grey_shows_a_part() -> None:
    behind = wallpaper(3, 1, 84, 84)
    levels = np.stack([np.full((1, 84, 84), level, np.uint8) for level in (0, 255, 51)])
    black, white, grey = Background(3).frames(levels)
    assert np.array_equal(black, np.rint(behind).astype(np.uint8))
    assert (white == 255).all()
    # 51 is a fifth of white: four fifths of the picture show through
    assert np.array_equal(grey, np.rint(51 + 0.8 * behind).astype(np.uint8))


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_a_picture_is_dim_smooth_and_each_channel_has_one_of_its_own(seed: int) -> None:
    picture = wallpaper(seed, 2, 84, 84)
    assert picture.min() == 0 and picture.max() == pytest.approx(96)
    assert np.abs(np.diff(picture, axis=1)).max() < 20
    assert not np.array_equal(picture[0], picture[1])
    assert np.array_equal(picture, wallpaper(seed, 2, 84, 84))


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_what_is_brighter_stays_brighter_to_a_level(seed: int) -> None:
    levels = np.arange(256, dtype=np.uint8)[:, None, None, None].repeat(9, -1).repeat(7, -2)
    shown = Background(seed).frames(levels).astype(int)
    assert (np.diff(shown, axis=0) >= 0).all()
    assert (shown >= levels).all()


def test_seeds_differ_and_vectors_are_refused(tmp_path: Path) -> None:
    view = parse_view("background:5", tmp_path)
    frames = np.zeros((1, 1, 8, 8), np.uint8)
    assert not np.array_equal(view.frames(frames), Background(6).frames(frames))
    with pytest.raises(UsageError, match="background:5"):
        view.spec(StateSpec("vector", (4,), 1))
