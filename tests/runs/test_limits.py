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
