"""What the sweeps of a project came to: a number for each point of a grid, over its seeds."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from corrtool.errors import ArtifactError
from corrtool.reporting.cells import Cell
from corrtool.reporting.finished import FinishedRun
from corrtool.reporting.key_numbers import FRESH_GAMES, KeyNumber, key_number
from corrtool.runs.requests import is_equal
from corrtool.runs.sweeps import SweepCell, SweepManifest, read_sweep, sweep_names
from corrtool.settings.grid import Point, Value, varying
from corrtool.statistics import Interval, student_t_interval

RunKey: TypeAlias = tuple[str, str]  # stage and name


@dataclass(frozen=True)
class PointResult:
    """The finished runs of a point of the grid, which differ in their seed only.

    Attributes:
        numbers: of each of ``runs``, the one by which points are compared.
    """

    point: Point
    runs: list[FinishedRun[Any]]
    numbers: list[float]

    @functools.cached_property
    def interval(self) -> Interval:
        """Mean and Student's t interval over the seeds; no interval of a single one."""
        mean = sum(self.numbers) / len(self.numbers)
        return Interval(mean, student_t_interval(self.numbers), "seeds", len(self.numbers))


@dataclass(frozen=True)
class SweepResults:
    """A sweep as the report shows it.

    Attributes:
        axes: what has several values in the grid, in its order.
        points: those that have a finished run with a number, in the order of the grid.
        count: of all points of the grid.
        what: the number, in words.
    """

    name: str
    stage: str
    axes: dict[str, list[Value | None]]
    points: list[PointResult]
    count: int
    what: str
    less_is_better: bool

    def ranked(self) -> list[PointResult]:
        """The points, the best first."""
        sign = 1 if self.less_is_better else -1
        return sorted(self.points, key=lambda point: sign * point.interval.mean)


def read_sweeps(
    root: Path, runs: Sequence[FinishedRun[Any]], evaluated: Sequence[Cell[Any]]
) -> list[SweepResults]:
    """Every sweep that has a finished cell.

    A damaged manifest is left out: it says nothing that the runs do not say.

    Args:
        runs: the finished runs of the project.
        evaluated: cells of the report, whose first rows have fresh games of what their runs made.
    """
    by_key = {(run.stage, run.name): run for run in runs}
    fresh = _fresh_games(evaluated)
    found = []
    for name in sweep_names(root):
        try:
            manifest = read_sweep(root, name)
        except ArtifactError:
            continue
        results = _results(manifest, by_key, fresh)
        if results is not None:
            found.append(results)
    return found


def _fresh_games(cells: Iterable[Cell[Any]]) -> dict[RunKey, float]:
    """The mean return of the fresh games of what each run made, without sticky actions if any."""
    means = {}
    for cell in cells:
        row = cell.rows[0]
        for run, plain, sticky in zip(cell.runs, row.plain, row.sticky, strict=True):
            played = plain or sticky
            if played is not None:
                means[run.stage, run.name] = float(played.result["mean_return"])
    return means


def _results(
    manifest: SweepManifest,
    by_key: Mapping[RunKey, FinishedRun[Any]],
    fresh: Mapping[RunKey, float],
) -> SweepResults | None:
    """A sweep's results; None where nothing of it is finished that has a number."""
    axes = varying([cell["point"] for cell in manifest["cells"]])
    runs = [(cell, run) for cell in manifest["cells"] if (run := _run(cell, by_key)) is not None]
    numbers = [_number(run, fresh) for _, run in runs]
    said = Counter(number.what for number in numbers if number is not None)
    if not said:
        return None
    what = FRESH_GAMES if FRESH_GAMES in said else said.most_common(1)[0][0]
    points: dict[frozenset[tuple[str, Value]], PointResult] = {}
    less_is_better = False
    for (cell, run), number in zip(runs, numbers, strict=True):
        if number is not None and number.what == what:
            key = frozenset(cell["point"].items())
            result = points.setdefault(key, PointResult(cell["point"], [], []))
            result.runs.append(run)
            result.numbers.append(number.value)
            less_is_better = number.less_is_better
    count = len({frozenset(cell["point"].items()) for cell in manifest["cells"]})
    return SweepResults(
        manifest["name"],
        manifest["stage"],
        axes,
        list(points.values()),
        count,
        what,
        less_is_better,
    )


def _run(cell: SweepCell, by_key: Mapping[RunKey, FinishedRun[Any]]) -> FinishedRun[Any] | None:
    """The first run of a cell, if it is finished and the one that was asked for."""
    first = cell["steps"][0]
    run = by_key.get((first["stage"], first["name"] or ""))
    fingerprint = first["fingerprint"]
    if run is None or fingerprint is None or not is_equal(fingerprint, run.record):
        return None
    return run


def _number(run: FinishedRun[Any], fresh: Mapping[RunKey, float]) -> KeyNumber | None:
    """Fresh games of what a run made, else what it says of itself."""
    played = fresh.get((run.stage, run.name))
    return key_number(run.stage, run.result) if played is None else KeyNumber(FRESH_GAMES, played)
