"""The states of a memory as its mean, its covariance and the quantiles of each coordinate."""

from __future__ import annotations

import pytest
import torch

from corrtool.correspondence.moments import StateMoments


def test_of_three_states_by_hand() -> None:
    moments = StateMoments.of(torch.tensor([[3.0, 0.0], [1.0, 2.0], [2.0, 4.0]]))
    assert moments.mean.tolist() == [2.0, 2.0]
    assert moments.covariance.tolist() == [[1.0, -1.0], [-1.0, 4.0]]
    assert moments.ordered.tolist() == [[1.0, 0.0], [2.0, 2.0], [3.0, 4.0]]


def test_one_coordinate_has_a_covariance_too() -> None:
    moments = StateMoments.of(torch.tensor([[0.0], [2.0]]))
    assert moments.covariance.tolist() == [[2.0]]


def test_a_shift_by_hand() -> None:
    """One of two coordinates is 1 too large: ½ for the means, ½ for the sorted values."""
    states = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    moments = StateMoments.of(states)
    shifted = states + torch.tensor([1.0, 0.0])
    same, apart = moments.distances(torch.stack([states, shifted])).tolist()
    assert same == pytest.approx(0, abs=1e-4)  # the covariance is over N - 1 there, N here
    assert apart == pytest.approx(1, abs=1e-3)


def test_fewer_states_are_compared_with_the_middles_of_as_many_parts() -> None:
    """Of 0, 1, 2 and 3 the middles of both halves are 1 and 3, which leaves mean and variance."""
    moments = StateMoments.of(torch.arange(4.0)[:, None])
    (distance,) = moments.distances(torch.tensor([[[3.0], [1.0]]])).tolist()
    assert distance == pytest.approx((2 - 1.5) ** 2 + (1 - 5 / 3) ** 2)


def test_covariances_by_hand() -> None:
    """Two coordinates that go together instead of against each other: 1 for -1, twice of four."""
    states = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    moments = StateMoments(
        torch.zeros(2), torch.tensor([[1.0, 1.0], [1.0, 1.0]]), states.sort(0)[0]
    )
    assert moments.distances(states[None]).tolist() == [2 * 4 / 4]


def test_the_order_of_states_does_not_matter() -> None:
    states = torch.randn(64, 3, generator=torch.Generator().manual_seed(1))
    moments = StateMoments.of(torch.randn(50, 3, generator=torch.Generator().manual_seed(2)))
    distances = moments.distances(torch.stack([states, states.flip(0)]))
    assert distances[0].item() == pytest.approx(distances[1].item(), rel=1e-5)


def test_a_mirror_image_of_the_same_mean_and_spread_is_told_apart() -> None:
    """Nine of ten are −1/3, one is 3: skewed, with mean 0 and variance 1."""
    skewed = torch.full((1000, 1), -1 / 3)
    skewed[::10] = 3.0
    moments = StateMoments.of(skewed)
    same, mirrored = moments.distances(torch.stack([skewed, -skewed])).tolist()
    assert same == pytest.approx(0, abs=1e-4)
    # Sorted, -3, then nine of 1/3 in ten, beside nine of -1/3 and 3: 2 · 8/3 and 8 · 2/3 in ten.
    assert mirrored == pytest.approx((1.6 / 1.5) ** 2, rel=0.01)


def test_a_descent_on_the_distances_moves_each_batch_by_itself() -> None:
    moments = StateMoments.of(torch.zeros(10, 2))
    batches = torch.stack([torch.ones(5, 2), torch.zeros(5, 2)]).requires_grad_()
    torch.autograd.backward(moments.distances(batches).sum())
    assert batches.grad is not None
    assert (batches.grad[0] > 0).all() and (batches.grad[1] == 0).all()
