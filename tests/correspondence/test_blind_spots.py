"""Where F is blind: sums by action and by place, computed by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corrtool.correspondence.blind_spots import GRID, BlindSpots, place_names, place_sums
from corrtool.states import StateSpec

VECTOR = StateSpec("vector", (2,))
PICTURE = StateSpec("image", (1, 8, 4), 2)


def test_of_a_vector_the_places_are_its_coordinates() -> None:
    assert place_sums(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist() == [4.0, 6.0]
    assert place_names((2,)) == ["coordinate 0", "coordinate 1"]


def test_of_a_picture_the_places_are_a_grid_row_by_row() -> None:
    picture = torch.zeros(2, 1, 8, 4)
    picture[0, 0, 0, 0] = picture[1, 0, 1, 0] = 1.0  # both in the first place
    picture[0, 0, 7, 2] = 5.0  # in the last row, third column
    sums = place_sums(picture)
    expected = torch.zeros(16)
    expected[0], expected[14] = 2.0, 5.0
    assert torch.equal(sums, expected)
    assert place_names((1, 8, 4))[14] == "row 4 of 4, column 3 of 4"


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 23), st.integers(1, 23), st.integers(0, 9)
)
def test_every_pixel_is_in_one_place(b: int, c: int, h: int, w: int, seed: int) -> None:
    values = torch.rand(b, c, h, w, generator=torch.Generator().manual_seed(seed)).double()
    sums = place_sums(values)
    assert len(sums) == GRID * GRID == len(place_names((c, h, w)))
    assert sums.sum().item() == pytest.approx(values.sum().item())


def test_losses_by_action_and_by_place() -> None:
    """F gets action 0 half right and action 1 wrong; the second coordinate never changes."""
    here = torch.zeros(3, 2)
    following = torch.tensor([[2.0, 0.0], [4.0, 0.0], [1.0, 0.01]])
    predicted = torch.tensor([[1.0, 9.0], [2.0, 0.0], [3.0, 0.0]])
    spots = BlindSpots(VECTOR, actions=3)
    spots.add(predicted[:2], here[:2], following[:2], torch.tensor([0, 0]))
    spots.add(predicted[2:], here[2:], following[2:], torch.tensor([1]))
    told = spots.to_json()
    assert told["transitions"] == 3
    assert told["model_loss"] == pytest.approx((1 + 2 + 2) / 7)
    assert [at["model_loss"] for at in told["by_action"]] == pytest.approx(
        [0.5, 2.0, 1.0], abs=1e-5
    )
    assert [at["share"] for at in told["by_action"]] == pytest.approx([6 / 7, 1 / 7, 0.0])
    assert [at["model_loss"] for at in told["by_place"]] == pytest.approx([5 / 7, 1.0], abs=1e-5)
    assert [at["share"] for at in told["by_place"]] == [1.0, 0.0]
    assert spots.worst(1).tolist() in ([1], [2])  # both miss by two
    assert spots.worst(9).tolist()[-1] == 0


def test_only_the_newest_frame_counts() -> None:
    here, following = torch.zeros(1, 2, 8, 4), torch.zeros(1, 2, 8, 4)
    following[0, 0] = 1.0  # of the older frame
    following[0, 1, 7, 3] = 0.5
    spots = BlindSpots(PICTURE, actions=1)
    spots.add(here, here, following, torch.tensor([0]))
    told = spots.to_json()
    assert told["model_loss"] == pytest.approx(1.0)
    assert [at["share"] for at in told["by_place"]] == [0.0] * 15 + [1.0]
