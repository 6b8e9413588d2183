"""The time that a run has left."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from corrtool.runs.limits import TimeLimit


def run_of(seconds: float, **settings: float | None) -> Any:
    request = SimpleNamespace(settings=SimpleNamespace(**settings))
    return SimpleNamespace(seconds=seconds, request=request)


@pytest.mark.parametrize(
    ("minutes", "seconds", "left"), [(2.0, 90.0, 30.0), (2.0, 120.0, 0.0), (0.5, 999.0, 0.0)]
)
def test_the_seconds_of_a_run_are_those_of_all_its_processes(
    minutes: float, seconds: float, left: float
) -> None:
    limit = TimeLimit(run_of(seconds, max_minutes=minutes))
    assert limit.seconds_left() == left and limit.over() is (left == 0)


@pytest.mark.parametrize("settings", [{}, {"max_minutes": None}])
def test_without_a_limit_nobody_is_asked(settings: dict[str, None]) -> None:
    limit = TimeLimit(run_of(1e9, **settings), agreed=lambda _: 1 / 0 > 0)
    assert limit.seconds_left() is None and not limit.over()


def test_the_first_process_decides() -> None:
    assert TimeLimit(run_of(0.0, max_minutes=1.0), agreed=lambda _: True).over()


class TestPart:
    def test_is_over_when_its_share_of_what_was_left_is_used_up(self) -> None:
        run = run_of(40.0, max_minutes=2.0)  # 80 seconds are left
        half = TimeLimit(run).part(0.5)
        assert half.seconds_left() == 40.0 and not half.over()
        run.seconds = 80.0
        assert half.seconds_left() == 0.0 and half.over()
        assert not TimeLimit(run).over()
        quarter = TimeLimit(run).part(0.5).part(0.5)  # of the 40 seconds that are left now
        assert quarter.seconds_left() == 10.0

    def test_of_no_limit_is_none(self) -> None:
        limit = TimeLimit(run_of(1e9, max_minutes=None))
        assert limit.part(0.5) is limit

    def test_is_what_the_first_process_says(self) -> None:
        asked = TimeLimit(run_of(0.0, max_minutes=1.0), agreed=lambda _: True)
        assert asked.part(0.5).over()
