"""Affine maps of vectors, many at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corrtool.correspondence.linear_maps import (
    LinearMaps,
    candidate_maps,
    matrices,
    nearest_signed_permutation,
    neighbours,
    raw_weight,
)
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec


def normal(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """States of correlated coordinates with a mean."""
    random = torch.Generator().manual_seed(seed)
    mixed = torch.randn(count, size, generator=random) @ torch.randn(size, size, generator=random)
    return mixed + torch.randn(size, generator=random)


def test_maps_by_hand() -> None:
    maps = LinearMaps(
        torch.tensor([[[1.0, 2.0]], [[0.0, -1.0]]]),  # two maps of two coordinates to one
        torch.tensor([[0.5], [0.0]]),
    )
    states = torch.tensor([[1.0, 1.0], [0.0, 3.0], [2.0, 0.0]])
    assert maps(states).tolist() == [[[3.5], [6.5], [2.5]], [[-1.0], [-3.0], [0.0]]]
    assert maps.at(torch.tensor([1]))(states).tolist() == [[[-1.0], [-3.0], [0.0]]]


def test_a_map_that_is_taken_out_no_longer_learns() -> None:
    weight = torch.ones(2, 3, 3, requires_grad=True)
    assert not LinearMaps(weight, torch.zeros(2, 3)).at(torch.tensor([0])).weight.requires_grad


def test_a_signed_permutation_as_a_matrix() -> None:
    (matrix,) = matrices([((2, 0, 1), (1, -1, -1))], 3)
    assert (matrix @ torch.tensor([1.0, 2.0, 3.0])).tolist() == [3.0, -1.0, -2.0]
    states = normal(100, 3)
    assert nearest_signed_permutation(matrix, states, states) == ((2, 0, 1), (1, -1, -1))


def test_the_nearest_signed_permutation_is_that_of_the_largest_entries_together() -> None:
    weight, states = torch.tensor([[0.9, -0.8], [1.0, 0.1]]), normal(100, 1).expand(-1, 2)
    assert nearest_signed_permutation(weight, states, states) == ((1, 0), (-1, 1))
    wide = states * torch.tensor([1.0, 10.0])  # 0.9 of what is wide is the larger part of both
    assert nearest_signed_permutation(weight, states, wide)[0] == ((1, 0))
    # In units of the deviations 0.9 and 6 are more than 1 and 5; in others 1 and 0.05 would be.
    weight = torch.tensor([[0.9, -0.5], [1.0, 0.6]])
    assert nearest_signed_permutation(weight, states, wide) == ((0, 1), (1, 1))
    assert nearest_signed_permutation(torch.zeros(2, 2), states, states)[1] == (1, 1)


def test_a_signed_permutation_gives_each_coordinate_the_deviation_of_the_source() -> None:
    source, target = normal(300, 2) * torch.tensor([1.0, 4.0]), normal(200, 2, seed=1)
    maps = LinearMaps.of_permutations([((1, 0), (1, -1))], source, target)
    translated = maps(target)[0]
    torch.testing.assert_close(translated.std(0), source.std(0))
    torch.testing.assert_close(translated.mean(0), source.mean(0), atol=1e-5, rtol=0)


def test_a_map_of_raw_states_is_the_same_in_the_model_range() -> None:
    """Raw (3, 5, 9), which is (1, 2, 1) there, becomes (9, -3), which is (½, -4)."""
    target = StateScaling(
        StateSpec("vector", (3,)), torch.tensor([2.0, 1.0, 0.0]), torch.tensor([1.0, 2.0, 9.0])
    )
    source = StateScaling(
        StateSpec("vector", (2,)), torch.tensor([8.0, 1.0]), torch.tensor([2.0, 1.0])
    )
    signs = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])
    raw = torch.tensor([[3.0, 5.0, 9.0]])
    maps = LinearMaps.of_raw(signs, source, target)
    assert maps(target.raw_to_model(raw)).tolist() == [[[0.5, -4.0]]]
    assert maps.weight.shape == (1, 2, 3) and maps.bias.shape == (1, 2)
    torch.testing.assert_close(raw_weight(maps.weight[0], source, target), signs)


def test_neighbours_of_two_coordinates() -> None:
    found = neighbours(((0, 1), (1, -1)), 2)
    assert found == [
        ((0, 1), (1, -1)),
        ((0, 1), (-1, -1)),
        ((0, 1), (1, 1)),
        ((0, 1), (-1, 1)),
        ((1, 0), (1, -1)),
        ((1, 0), (-1, -1)),
        ((1, 0), (1, 1)),
        ((1, 0), (-1, 1)),
    ]


def test_of_more_coordinates_some_are_taken() -> None:
    (matrix,) = matrices([((2, 0), (1, -1))], 3)
    assert matrix.tolist() == [[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]]
    weight = torch.tensor([[0.1, 0.2, 0.9], [-0.5, 0.4, 0.8]])  # both would have the last
    states = normal(100, 1)
    source, target = states.expand(-1, 2), states.expand(-1, 3)
    assert nearest_signed_permutation(weight, source, target) == ((2, 0), (1, -1))
    around = neighbours(((2, 0), (1, -1)), 3)
    assert len(set(around)) == len(around) == 1 + 2 + 5 + 2 * 2
    for order in ((1, 0), (2, 1)):
        assert sum(found == order for found, _ in around) == 2  # of either sign
    assert all(len(set(order)) == 2 for order, _ in around)


@pytest.mark.parametrize("size", [1, 3, 6])
def test_neighbours_are_others_each_once(size: int) -> None:
    around = neighbours((tuple(range(size)), (1,) * size), size)
    assert len(set(around)) == len(around) == 1 + size + 5 * size * (size - 1) // 2
    assert all(sorted(order) == list(range(size)) for order, _ in around)


@pytest.mark.parametrize(("to_size", "from_size"), [(3, 3), (4, 2), (2, 4), (1, 1)])
def test_candidates_have_the_mean_of_the_source(to_size: int, from_size: int) -> None:
    source, target = normal(300, to_size), normal(200, from_size, seed=1)
    maps = candidate_maps(source, target, 5, np.random.default_rng(0))
    assert maps.weight.shape == (5, to_size, from_size)
    for translated in maps(target):
        torch.testing.assert_close(translated.mean(0), source.mean(0), atol=1e-4, rtol=1e-4)


def test_half_are_signed_permutations_and_the_others_have_the_covariance_of_the_source() -> None:
    source, target = normal(300, 3), normal(200, 3, seed=1)
    maps = candidate_maps(source, target, 6, np.random.default_rng(0))
    deviations = source.std(0)[:, None] / target.std(0)
    for weight in maps.weight[:3]:
        nearest = matrices([nearest_signed_permutation(weight, source, target)], 3)[0]
        torch.testing.assert_close(nearest * deviations, weight)
    for translated in maps(target)[3:]:
        torch.testing.assert_close(
            torch.cov(translated.T), torch.cov(source.T), atol=1e-2, rtol=1e-2
        )


def test_more_coordinates_than_the_source_are_rotated_into_its_covariance() -> None:
    source, target = normal(300, 2), normal(200, 4, seed=1)
    for translated in candidate_maps(source, target, 4, np.random.default_rng(0))(target)[2:]:
        torch.testing.assert_close(
            torch.cov(translated.T), torch.cov(source.T), atol=1e-2, rtol=1e-2
        )


def test_a_coordinate_that_never_changes_gives_no_infinite_map() -> None:
    target = normal(200, 3, seed=1)
    target[:, 1] = 7.0
    weight = candidate_maps(normal(300, 3), target, 4, np.random.default_rng(0)).weight
    assert weight.isfinite().all() and weight.abs().max() < 1e4


def test_one_seed_gives_one_set_of_candidates() -> None:
    source, target = normal(50, 3), normal(50, 3, seed=1)
    first, again, other = (
        candidate_maps(source, target, 4, np.random.default_rng(seed)).weight for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_signed_permutations_are_of_either_sign() -> None:
    states = normal(50, 2)
    weight = candidate_maps(states, states, 200, np.random.default_rng(0)).weight[:100]
    found = {tuple(matrix.sign().flatten().tolist()) for matrix in weight}
    assert len(found) == 8  # two orders with two signs each
