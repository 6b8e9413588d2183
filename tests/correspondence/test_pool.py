"""The pool of generated states."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from corrtool.correspondence.pool import StatePool
from corrtool.runs.checkpoints import load_checkpoint, save_checkpoint

CPU = torch.device("cpu")


class TestStatePool:
    def states(self, *values: float) -> torch.Tensor:
        return torch.tensor(values)[:, None]

    def test_of_size_zero_lets_everything_through(self) -> None:
        pool, random = StatePool(0), np.random.default_rng(0)
        for value in range(100):
            assert pool.exchange(self.states(value), random).item() == value

    def test_lets_everything_through_while_it_fills(self) -> None:
        pool, random = StatePool(5), np.random.default_rng(0)
        assert pool.exchange(self.states(0, 1, 2), random).flatten().tolist() == [0, 1, 2]
        assert pool.exchange(self.states(3, 4), random).flatten().tolist() == [3, 4]

    def test_gives_an_older_state_back_half_of_the_time(self) -> None:
        pool, random = StatePool(10), np.random.default_rng(0)
        pool.exchange(self.states(*range(10)), random)
        given = list(range(10))
        older = 0
        for value in range(10, 4010):
            out = int(pool.exchange(self.states(value), random).item())
            assert out in given or out == value
            if out != value:
                older += 1
                given.remove(out)  # what was given back is no longer in the pool
                given.append(value)
        assert older / 4000 == pytest.approx(0.5, abs=0.03)
        assert sorted(pool.state()["states"].flatten().tolist()) == sorted(given)

    @pytest.mark.parametrize(("drawn", "given"), [(0.4, 7.0), (0.5, 8.0), (0.6, 8.0)])
    def test_the_smaller_half_of_the_random_numbers_swaps(self, drawn: float, given: float) -> None:
        random: Any = SimpleNamespace(random=lambda: drawn, integers=lambda size: 0)
        pool = StatePool(1)
        pool.exchange(self.states(7), random)
        assert pool.exchange(self.states(8), random).item() == given

    def test_states_keep_their_shape(self) -> None:
        pool, random = StatePool(2), np.random.default_rng(0)
        for _ in range(5):
            states = torch.rand(3, 2, 4)
            assert pool.exchange(states, random).shape == states.shape

    def test_keeps_copies(self) -> None:
        pool, random = StatePool(1), np.random.default_rng(0)
        states = self.states(7)
        pool.exchange(states, random)
        states.zero_()
        given = {pool.exchange(self.states(8), random).item() for _ in range(20)}
        assert given == {7.0, 8.0}

    def test_goes_on_exactly_where_it_was(self, tmp_path: Path) -> None:
        for filled in (0, 2, 9):
            pool, random = StatePool(4), np.random.default_rng(filled)
            for value in range(filled):
                pool.exchange(self.states(value), random)
            save_checkpoint(
                tmp_path / "c", {"pool": pool.state(), "random": random.bit_generator.state}
            )
            expected = [
                pool.exchange(self.states(value), random).item() for value in range(100, 140)
            ]

            loaded = load_checkpoint(tmp_path / "c")
            resumed, random = StatePool(4), np.random.default_rng(99)
            resumed.load_state(loaded["pool"], CPU)
            random.bit_generator.state = loaded["random"]
            assert [
                resumed.exchange(self.states(value), random).item() for value in range(100, 140)
            ] == expected
