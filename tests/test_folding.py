"""Pixels as channels: by hand, and there and back for pictures of any sides."""

from __future__ import annotations

import pytest
import torch

from corrtool.folding import fold_pixels, unfold_pixels


def test_two_by_two_pixels_are_channels() -> None:
    picture = torch.tensor([[[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]]])
    folded = fold_pixels(picture, 2)
    assert folded.tolist() == [[[[1.0, 3.0]], [[2.0, 4.0]], [[5.0, 7.0]], [[6.0, 8.0]]]]


def test_odd_sides_are_continued_by_their_last_pixels() -> None:
    picture = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    assert fold_pixels(picture, 2).tolist() == [
        [[[1.0, 3.0]], [[2.0, 3.0]], [[1.0, 3.0]], [[2.0, 3.0]]]
    ]


@pytest.mark.parametrize("size", [(84, 84), (5, 8), (7, 9), (1, 1)])
@pytest.mark.parametrize("fold", [1, 2, 4])
def test_there_and_back(size: tuple[int, int], fold: int) -> None:
    pictures = torch.rand(2, 3, *size)
    assert torch.equal(unfold_pixels(fold_pixels(pictures, fold), fold, size), pictures)
