"""How many rows are drawn beforehand: a new epoch only when the old one is used up."""

from __future__ import annotations

import numpy as np
import pytest

from corrtool.memory import ShuffledRows


@pytest.mark.parametrize(
    ("batch_size", "left"), [(4, [6, 2, 8, 4, 0, 6]), (10, [0, 0]), (25, [5, 0, 5])]
)
def test_an_epoch_is_drawn_when_it_is_needed(batch_size: int, left: list[int]) -> None:
    batches = ShuffledRows(np.arange(10), batch_size, np.random.default_rng(0))
    for count in left:
        assert len(batches.next()) == batch_size
        assert len(batches.state()["order"]) == count


def test_rows_stay_whole_numbers() -> None:
    assert ShuffledRows(np.arange(10), 4, np.random.default_rng(0)).next().dtype == np.int64
