"""``orthogonal:SEED``: a vector turned by a random orthogonal matrix."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from corrtool.errors import UsageError
from corrtool.states import StateSpec
from corrtool.tasks.views import Orthogonal, parse_view
from corrtool.tasks.views.vectors import orthogonal_matrix

fast = settings(deadline=None, max_examples=40)
vectors = arrays(np.float32, (3, 5), elements=st.floats(-100, 100, width=32))
seeds = st.integers(0, 2**64)


def test_by_hand_in_two_dimensions() -> None:
    """Gram and Schmidt: the first column is the Gaussian's in length 1, the second what is left."""
    gaussian = np.random.default_rng(5).standard_normal((2, 2))
    first = gaussian[:, 0] / np.linalg.norm(gaussian[:, 0])
    second = gaussian[:, 1] - (first @ gaussian[:, 1]) * first
    second /= np.linalg.norm(second)
    assert np.allclose(orthogonal_matrix(5, 2), np.stack([first, second], axis=1))
    shown = parse_view("orthogonal:5", Path()).frames(np.array([[3.0, -4.0]], np.float32))
    assert np.allclose(shown, [3 * first - 4 * second])
    assert shown.dtype == np.float32


def test_one_coordinate_keeps_or_changes_its_sign() -> None:
    """Q is 1 or -1, as the Gaussian number is positive or negative: half of the seeds each."""
    signs = [orthogonal_matrix(seed, 1).item() for seed in range(200)]
    gaussians = [np.random.default_rng(seed).standard_normal() for seed in range(200)]
    assert signs == np.sign(gaussians).tolist()


@fast
@given(seeds, st.integers(1, 12))
def test_is_orthogonal(seed: int, size: int) -> None:
    matrix = orthogonal_matrix(seed, size)
    assert np.allclose(matrix @ matrix.T, np.eye(size), atol=1e-12)


@fast
@given(vectors, seeds)
def test_keeps_lengths_and_angles(frames: np.ndarray, seed: int) -> None:
    shown = Orthogonal(seed).frames(frames)
    np.testing.assert_allclose(shown @ shown.T, frames @ frames.T, rtol=1e-4, atol=0.05)


@fast
@given(vectors, seeds)
def test_the_transposed_matrix_undoes_it(frames: np.ndarray, seed: int) -> None:
    shown = Orthogonal(seed).frames(frames)
    np.testing.assert_allclose(shown @ orthogonal_matrix(seed, 5), frames, rtol=1e-4, atol=1e-4)


@fast
@given(vectors, seeds)
def test_a_frame_looks_the_same_whatever_is_beside_it(frames: np.ndarray, seed: int) -> None:
    shown = Orthogonal(seed).frames(frames)
    assert np.array_equal(Orthogonal(seed).frames(frames[1:2])[0], shown[1])


def test_is_uniform() -> None:
    """Over many seeds every entry has mean 0 and variance 1/n, the diagonal's signs included."""
    matrices = np.stack([orthogonal_matrix(seed, 3) for seed in range(3000)])
    assert np.allclose(matrices.mean(axis=0), 0, atol=0.05)
    assert np.allclose((matrices**2).mean(axis=0), 1 / 3, atol=0.03)


def test_spec() -> None:
    spec = StateSpec("vector", (6,), 2)
    assert Orthogonal(0).spec(spec) == spec
    with pytest.raises(UsageError, match="'orthogonal:0' is for vector states"):
        Orthogonal(0).spec(StateSpec("image", (1, 84, 84), 4))
    with pytest.raises(UsageError, match="at most 2,048 coordinates, but this task has 2,049"):
        Orthogonal(0).spec(StateSpec("vector", (2049,)))
