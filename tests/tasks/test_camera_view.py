"""``camera:SEED``: each part of it alone, by hand, and what holds for every seed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from corrtool.states import StateSpec
from corrtool.tasks.views import Camera, parse_view
from corrtool.tasks.views.camera import Lens, Optics

fast = settings(deadline=None, max_examples=30)
seeds = st.integers(0, 2**64)


class TestOptics:
    @fast
    @given(arrays(np.uint8, (2, 3, 6, 5)))
    def test_a_perfect_lens_changes_nothing(self, pictures: np.ndarray) -> None:
        perfect = Lens(gains=(1.0,) * 3, offsets=(0.0,) * 3)
        assert np.array_equal(Optics(perfect, 6, 5).photograph(pictures), pictures)

    def test_barrel_distortion(self) -> None:
        """The corner of 3×3, (-1, -1) from the centre, looks a tenth further out; an edge's
        middle is half as far away in squares, so it looks a twentieth further out.
        """
        optics = Optics(Lens(barrel=0.1), 3, 3)
        assert optics.columns[1, 1] == optics.rows[1, 1] == 1
        assert optics.columns[0, 0] == pytest.approx(1 - 1.1)
        assert optics.rows[2, 0] == pytest.approx(1 + 1.1)
        assert optics.columns[1, 2] == pytest.approx(1 + 1.05)
        assert optics.rows[1, 2] == pytest.approx(1)

    def test_corners_inside_the_picture(self) -> None:
        """A screen in the middle half of 9×5: the picture's centre shows the screen's, and where
        the screen's corner lies, (2, 1), the picture shows that corner.
        """
        corners = ((0.25, 0.25), (-0.25, 0.25), (0.25, -0.25), (-0.25, -0.25))
        optics = Optics(Lens(corners=corners), 5, 9)
        for row, column, looks_at in [
            (2, 4, (4, 2)), (1, 2, (0, 0)), (1, 6, (8, 0)), (3, 6, (8, 4)), (0, 0, (-4, -2)),
        ]:  # fmt: skip
            seen = optics.columns[row, column], optics.rows[row, column]
            assert seen == pytest.approx(looks_at, abs=1e-5)

    def test_beside_the_screen_it_is_black(self) -> None:
        corners = ((0.25, 0.25), (-0.25, 0.25), (0.25, -0.25), (-0.25, -0.25))
        white = np.full((1, 1, 5, 9), 200, np.uint8)
        shown = Optics(Lens(corners=corners), 5, 9).photograph(white)[0, 0]
        assert shown[1:4, 2:7].tolist() == [[200] * 5] * 3
        assert shown.sum() == 15 * 200

    def test_vignette_and_cast(self) -> None:
        """A channel is 0.5 · 100 + 10 = 60 in the centre, and at the corner 0.8 of it."""
        lens = Lens(vignette=0.2, gains=(0.5, 1.0), offsets=(10.0, 0.0))
        shown = Optics(lens, 3, 3).photograph(np.full((1, 2, 3, 3), 100, np.uint8))
        assert shown[0, 0].tolist() == [[48, 54, 48], [54, 60, 54], [48, 54, 48]]
        assert shown[0, 1].tolist() == [[80, 90, 80], [90, 100, 90], [80, 90, 80]]

    def test_levels_stay_bytes(self) -> None:
        lens = Lens(gains=(2.0,), offsets=(-50.0,))
        levels = np.array([[[[0, 20, 100], [200, 255, 50]]]], np.uint8)
        assert Optics(lens, 2, 3).photograph(levels).tolist() == [[[[0, 0, 150], [255, 255, 50]]]]

    def test_blur_is_wider_in_larger_pictures(self) -> None:
        """σ is half a pixel in 84 rows and one in 168; it spreads a dot and keeps its light."""
        shares = []
        for side in (84, 168):
            dot = np.zeros((1, 1, side, side), np.uint8)
            dot[0, 0, side // 2, side // 2] = 255
            shown = Optics(Lens(blur=0.5), side, side).photograph(dot)[0, 0]
            assert shown.sum() == pytest.approx(255, abs=15)
            shares.append(shown.max() / 255)
        # A pixel's share of the Gaussian sampled at whole pixels: (1 / Σ exp(-k² / 2σ²))²
        expected = [
            np.exp(-(np.arange(-4, 5) ** 2) / (2 * sigma**2)).sum() ** -2 for sigma in (0.5, 1)
        ]
        assert shares == pytest.approx(expected, abs=0.02)


class TestCamera:
    @fast
    @given(seeds)
    def test_is_mild(self, seed: int) -> None:
        """All of the screen stays in sight: its corners lie in the picture, near those of it."""
        lens = Lens.drawn(seed, 3)
        inwards = np.abs(lens.corners)
        assert (inwards <= 0.06).all()
        assert np.array_equal(np.sign(lens.corners), [[1, 1], [-1, 1], [1, -1], [-1, -1]])
        assert len(lens.gains) == len(lens.offsets) == 3
        optics = Optics(lens, 84, 84)
        edges = [optics.columns[:, 0], optics.rows[0], 83 - optics.columns[:, -1]]
        assert all((edge < 0.5).all() for edge in [*edges, 83 - optics.rows[-1]])

    @fast
    @given(seeds, st.sampled_from([(1, 84, 84), (3, 21, 16), (4, 10, 10)]))
    def test_shows_pictures_of_the_same_shape(self, seed: int, shape: tuple[int, ...]) -> None:
        pictures = np.random.default_rng(0).integers(0, 256, (2, *shape)).astype(np.uint8)
        shown = Camera(seed).frames(pictures)
        assert shown.shape == pictures.shape
        assert shown.dtype == np.uint8
        assert not np.array_equal(shown, pictures)
        assert np.array_equal(Camera(seed).frames(pictures[1:]), shown[1:])
        spec = StateSpec("image", shape, 4)
        assert Camera(seed).spec(spec) == spec

    def test_seeds_differ(self) -> None:
        screen = np.full((1, 1, 84, 84), 120, np.uint8)
        one, other = (parse_view(f"camera:{seed}", Path()).frames(screen) for seed in (0, 1))
        assert not np.array_equal(one, other)

    def test_is_what_it_was(self) -> None:
        """The lens of a seed is part of a task: it must not change from version to version."""
        lens = Lens.drawn(3, 1)
        assert lens.corners[0] == pytest.approx((0.0051389500286174615, 0.014208630395765982))
        assert lens.corners[3] == pytest.approx((-0.02874307788845004, -0.009584334878224713))
        assert lens.barrel == pytest.approx(0.06407462908455287)
        assert lens.vignette == pytest.approx(0.12273440398428069)
        assert lens.blur == pytest.approx(0.4564912761982648)
        assert (*lens.gains, *lens.offsets) == pytest.approx(
            (0.9033480365242728, 6.890048326626845)
        )
