"""How far translated states spread, by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corrtool.correspondence.spread import Spread, spread_of, spread_share


def spread(*states: list[float]) -> Spread:
    added = Spread()
    for state in states:
        added.add(torch.tensor([state]))
    return added


def test_variances_are_those_of_all_batches_together() -> None:
    assert spread([0.0, 5.0], [2.0, 5.0], [4.0, 5.0]).variance.tolist() == pytest.approx([8 / 3, 0])


def test_a_wide_element_does_not_make_up_for_a_narrow_one() -> None:
    source = spread([-1.0, -1.0], [1.0, 1.0])
    assert spread_of(spread([-9.0, 0.0], [9.0, 0.0]), source) == pytest.approx(0.5**0.5)
    assert spread_of(source, source) == 1.0


def test_where_the_source_never_changes_nothing_can_be_narrower() -> None:
    assert spread_of(spread([1.0], [2.0]), spread([3.0], [3.0])) == 1.0


@given(st.floats(0, 1))
def test_a_half_counts_in_full(share: float) -> None:
    assert spread_share(share) == (1.0 if share >= 0.5 else pytest.approx(2 * share))
