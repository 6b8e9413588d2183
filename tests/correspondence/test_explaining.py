"""What explain measures: distances of frames, and what an action matrix says of a map."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corrtool.correspondence.action_matrix import ActionMatrix
from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.explaining import actions_found, distances, most_unlike
from corrtool.state_scaling import StateScaling
from corrtool.states import VECTOR, StateSpec


class TestDistances:
    def test_of_vectors_are_those_of_their_moments(self) -> None:
        """Equal spread, means 3 apart: 9 by the means, nothing by covariances, 9 by quantiles."""
        half = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
        source = half.repeat_interleave(2, dim=0)  # both halves are equal
        distance, in_source = distances(source, half + 3.0)
        # A sample's covariance divides by N - 1, that of what is compared by N.
        covariance = (5 / 3 - 5 / 4) ** 2
        assert in_source == pytest.approx(covariance)
        assert distance == pytest.approx(9.0 + 9.0 + covariance)

    def test_of_pictures_are_those_of_their_mean_frames(self) -> None:
        source = torch.zeros(4, 1, 2, 2)
        source[1::2] = 0.5
        translated = torch.zeros(3, 1, 2, 2)
        translated[:, 0, 0, 0] = 1.0
        assert distances(source, translated) == pytest.approx((0.25, 0.5))

    @pytest.mark.parametrize("shape", [(2,), (1, 3, 3)])
    def test_of_a_single_frame_there_is_no_second_half(self, shape: tuple[int, ...]) -> None:
        frame = torch.rand(1, *shape)
        assert distances(frame, frame) == pytest.approx((0.0, 0.0))


def matrix(errors: list[list[float]], actions: list[int]) -> ActionMatrix:
    count = 50  # of each row: the noise is that of so many
    return ActionMatrix(
        np.array(errors * count), np.ones(count * len(errors)), np.array(actions * count), 2
    )


def test_the_coordinate_that_differs_most_is_told_in_its_own_units() -> None:
    """Of two frames in a state, by the newest, which comes last."""
    spec = StateSpec(frame_shape=(2,), stack=2, kind=VECTOR)
    mean, deviation = torch.tensor([0.0, 0.0, 5.0, 10.0]), torch.tensor([1.0, 1.0, 3.0, 2.0])
    scaling = StateScaling(spec, mean, deviation)
    source = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    translated = torch.tensor([[-1.5, 0.0], [0.5, 3.0]])  # means -0.5 and 1.5 apart
    assert most_unlike(source, translated, scaling) == {
        "coordinate": 1,
        "source_mean": 10.0,
        "source_deviation": 2.0,
        "translated_mean": 13.0,
        "translated_deviation": 3.0,
    }
    assert most_unlike(source[:1], translated[:1], scaling) is not None
    assert most_unlike(torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4), scaling) is None


def test_a_better_map_has_its_margin() -> None:
    """Each action as itself costs 0.9 of each change, and as the other 0.1."""
    found = actions_found(matrix([[0.9, 0.1], [0.1, 0.9]], [0, 1]), ActionMap.identity(2))
    assert (found["map_in_use"], found["best_map"]) == ([0, 1], [1, 0])
    assert found["best_is_better"] and found["margin"] == pytest.approx(0.8, abs=1e-4)
    assert found["transitions"] == 100
    assert np.array(found["centred"]) == pytest.approx(np.array([[0.4, -0.4], [-0.4, 0.4]]))


def test_what_is_in_use_stays_within_the_noise() -> None:
    noisy = [[0.49, 0.9], [0.9, 0.5], [0.9, 0.5], [0.5, 0.9]]
    found = actions_found(matrix(noisy, [0, 0, 1, 1]), ActionMap((1, 0), 2))
    assert found["best_map"] == [0, 1]
    assert not found["best_is_better"] and 0 < found["margin"] < 0.01
