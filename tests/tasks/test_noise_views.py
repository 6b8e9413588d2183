"""Noise that is a function of the frame: ``noise:SIGMA`` and ``pad:N``."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from corrtool.errors import UsageError
from corrtool.states import StateSpec
from corrtool.tasks.views import Noise, Pad, View, parse_view

fast = settings(deadline=None, max_examples=40)
pictures = arrays(np.uint8, st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(1, 6)] * 2))
vectors = arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32))


def view(text: str) -> View:
    return parse_view(text, Path())


def normals(content: bytes, text: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Normal numbers from the hash of a frame's bytes and of the view's text."""
    digest = hashlib.blake2b(text + b"\0" + content, digest_size=16).digest()
    random = np.random.default_rng(int.from_bytes(digest, "little"))
    return random.standard_normal(shape, dtype=np.float32)


class TestByHand:
    def test_noise_on_a_picture(self) -> None:
        frame = np.array([[[0, 100], [200, 255]]], np.uint8)
        shown = view("noise:20").frames(frame[None])
        z = normals(bytes([0, 100, 200, 255]), b"noise:20", (1, 2, 2))
        assert shown.dtype == np.uint8
        assert np.array_equal(shown[0], np.clip(np.round(frame + 20 * z), 0, 255))

    def test_noise_on_a_vector(self) -> None:
        frame = np.array([1.0, -2.0], np.float32)
        shown = view("noise:0.5").frames(frame[None])
        assert shown.dtype == np.float32
        z = normals(frame.tobytes(), b"noise:0.5", (2,))
        assert np.array_equal(shown[0], frame + np.float32(0.5) * z)

    def test_pad(self) -> None:
        frame = np.array([1.0, -2.0], np.float32)
        shown = view("pad:3").frames(frame[None])
        assert shown.dtype == np.float32
        assert shown.flags.c_contiguous
        assert shown[0, :2].tolist() == [1.0, -2.0]
        assert np.array_equal(shown[0, 2:], normals(frame.tobytes(), b"pad:3", (3,)))
        assert view("pad:3").spec(StateSpec("vector", (2,), 4)) == StateSpec("vector", (5,), 4)

    def test_is_gaussian(self) -> None:
        """10,000 grey pixels: mean 128 ± 4 standard errors, deviation 10, a third beyond one σ."""
        noise = view("noise:10").frames(np.full((1, 1, 100, 100), 128, np.uint8)) - 128.0
        assert abs(noise.mean()) < 4 * 10 / 100
        assert noise.std() == pytest.approx(10, rel=0.03)
        assert (np.abs(noise) > 10.5).mean() == pytest.approx(0.294, abs=0.02)  # rounded to 11

    def test_padding_is_standard_normal_and_its_coordinates_are_independent(self) -> None:
        frames = np.arange(5000, dtype=np.float32)[:, None]
        padded = view("pad:2").frames(frames)[:, 1:]
        assert np.allclose(padded.mean(axis=0), 0, atol=0.06)
        assert np.allclose(np.cov(padded.T), np.eye(2), atol=0.08)


class TestIsAFunctionOfTheFrame:
    """Equal frames have equal noise, whatever is beside them and whenever they are seen."""

    @fast
    @given(pictures, st.data())
    def test_of_pictures(self, frames: np.ndarray, data: st.DataObject) -> None:
        order = data.draw(st.permutations(range(len(frames))))
        shown = Noise(30.0).frames(frames)
        assert np.array_equal(Noise(30.0).frames(frames[order]), shown[order])

    @fast
    @given(vectors, st.sampled_from([Noise(0.3), Pad(2)]))
    def test_of_vectors(self, frames: np.ndarray, noisy: Noise | Pad) -> None:
        shown = noisy.frames(frames)
        for at in range(len(frames)):
            assert np.array_equal(noisy.frames(frames[at : at + 1])[0], shown[at])
        spec = noisy.spec(StateSpec("vector", (4,)))
        assert shown.shape[1:] == spec.frame_shape
        assert shown.dtype == np.float32

    def test_zero_has_one_noise(self) -> None:
        """-0.0 and 0.0 are equal, though their bytes are not."""
        zeros = np.array([[0.0], [-0.0]], np.float32)
        for text in ("noise:1", "pad:1"):
            one, other = view(text).frames(zeros)
            assert np.array_equal(one, other)

    def test_one_pixel_changes_all_of_it(self) -> None:
        frames = np.full((2, 1, 20, 20), 128, np.uint8)
        frames[1, 0, 0, 0] = 129
        one, other = view("noise:20").frames(frames)
        assert (one != other).mean() > 0.9

    def test_views_of_other_texts_have_other_noise(self) -> None:
        frames = np.zeros((1, 4), np.float32)
        assert not np.allclose(view("noise:1").frames(frames), view("noise:2").frames(frames) / 2)
        assert not np.allclose(
            view("pad:1").frames(frames)[0, 4], view("pad:2").frames(frames)[0, 4]
        )

    def test_twice_the_same_view_adds_up(self) -> None:
        frames = np.zeros((1, 1000), np.float32)
        once = view("noise:1").frames(frames)
        assert view("noise:1").frames(once).std() == pytest.approx(2**0.5, rel=0.1)


class TestSpec:
    def test_noise_is_for_both_kinds(self) -> None:
        for spec in (StateSpec("vector", (3,)), StateSpec("image", (1, 84, 84), 4)):
            assert Noise(1.0).spec(spec) == spec

    def test_padding_is_for_vectors(self) -> None:
        with pytest.raises(UsageError, match="'pad:2' is for vector states"):
            Pad(2).spec(StateSpec("image", (1, 84, 84), 4))

    def test_padding_has_a_limit(self) -> None:
        assert Pad((1 << 20) - 3).spec(StateSpec("vector", (3,))).frame_shape == (1 << 20,)
        with pytest.raises(UsageError, match="more than 1,048,576 coordinates"):
            Pad((1 << 20) - 2).spec(StateSpec("vector", (3,)))
