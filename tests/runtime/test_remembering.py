"""Answers are remembered within `remembering`, and nowhere else."""

from __future__ import annotations

import pytest

from corrtool.runtime.remembering import remembered, remembering


class Counted:
    """A question that counts how often it is answered."""

    def __init__(self) -> None:
        self.answers = 0

    def __call__(self) -> int:
        self.answers += 1
        if self.answers == 1:
            raise ValueError
        return self.answers


def test_only_while_nothing_changes() -> None:
    ask = Counted()
    with remembering():
        with pytest.raises(ValueError):
            remembered("a", ask)  # an error is not remembered
        assert [remembered("a", ask) for _ in range(3)] == [2, 2, 2]
        assert remembered("b", ask) == 3
        with remembering():
            assert remembered("a", ask) == 4  # what is nested begins anew
        assert remembered("a", ask) == 2
    assert [remembered("a", ask) for _ in range(2)] == [5, 6]
