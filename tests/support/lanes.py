"""Tasks, and random play on them, for the tests of ``Lanes``."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from corrtool.tasks import Lanes, LaneStep, Task, parse_task

PONG = "ALE/Pong-v5"
FIELDS = [field.name for field in dataclasses.fields(LaneStep)]


def task(
    identifier: str = PONG,
    *,
    views: list[str] | None = None,
    kwargs: dict[str, Any] | None = None,
    **given: Any,
) -> Task:
    """The task that a table of ``corrtool.toml`` means, with the ``given`` preprocessing."""
    table = {"id": identifier, "preprocessing": given, "kwargs": kwargs or {}, "views": views or []}
    return parse_task("source", table, Path())


def play(lanes: Lanes, steps: int, seed: int = 0) -> tuple[np.ndarray, list[LaneStep]]:
    """The first frames and ``steps`` steps of random play."""
    random = np.random.default_rng(seed)
    first = lanes.reset([11 + lane for lane in range(lanes.count)])
    return first, [lanes.step(random.integers(0, lanes.actions, lanes.count)) for _ in range(steps)]


def ends(steps: list[LaneStep]) -> int:
    """How many episodes ended in these steps, counted over the lanes."""
    return sum(int((step.valid & (step.terminated | step.truncated)).sum()) for step in steps)


def assert_equal_steps(one: list[LaneStep], other: list[LaneStep]) -> None:
    for at, (a, b) in enumerate(zip(one, other, strict=True)):
        for name in FIELDS:
            assert getattr(a, name).dtype == getattr(b, name).dtype
            assert np.array_equal(getattr(a, name), getattr(b, name)), f"{name} differ at step {at}"
