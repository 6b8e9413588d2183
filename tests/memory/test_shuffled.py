"""Rows in a shuffled order: each comes once per epoch, also after a resumption."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corrtool.memory import ShuffledRows


class TestShuffledRows:
    @settings(deadline=None, max_examples=60)
    @given(st.integers(1, 40), st.integers(1, 15), st.integers(0, 2**32 - 1))
    def test_every_row_comes_once_per_epoch(self, count: int, batch_size: int, seed: int) -> None:
        rows = np.arange(100, 100 + count)
        batches = ShuffledRows(rows, batch_size, np.random.default_rng(seed))
        drawn = np.concatenate(
            [batches.next() for _ in range(3 * count)]
        )  # whole epochs: 3·batch_size of them
        assert len(drawn) == 3 * count * batch_size
        for epoch in drawn.reshape(-1, count):
            assert sorted(epoch) == rows.tolist()

    def test_every_epoch_has_an_order_of_its_own(self) -> None:
        batches = ShuffledRows(np.arange(50), 50, np.random.default_rng(0))
        first, second = batches.next(), batches.next()
        assert first.tolist() != second.tolist()
        assert first.tolist() != list(range(50))

    @pytest.mark.parametrize("drawn", [0, 1, 5, 9])
    def test_goes_on_exactly_where_it_was(self, drawn: int) -> None:
        rows = np.arange(17)
        unbroken = ShuffledRows(rows, 4, np.random.default_rng(3))
        for _ in range(drawn):
            unbroken.next()
        state = unbroken.state()
        state = {"order": state["order"].copy(), "random": state["random"]}
        expected = [unbroken.next().tolist() for _ in range(12)]
        resumed = ShuffledRows(rows, 4, np.random.default_rng(99))
        resumed.load_state(state)
        assert [resumed.next().tolist() for _ in range(12)] == expected


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
