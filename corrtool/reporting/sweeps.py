"""What the sweeps of a project came to: a number for each point of a grid, over its seeds."""

from __future__ import annotations

import functools
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from corrtool.errors import ArtifactError
from corrtool.reporting.cell_numbers import CellNumber, RunKey, cell_numbers
from corrtool.reporting.cells import Cell
from corrtool.reporting.evaluations import Protocol
from corrtool.reporting.finished import Evaluation, FinishedRun
from corrtool.runs.requests import is_equal
from corrtool.runs.sweeps import SweepManifest, SweepStep, read_sweep, sweep_names
from corrtool.settings.grid import Point, Value, varying
from corrtool.statistics import Interval, student_t_interval


@dataclass(frozen=True)
class NumberKind:
    """What a number is; only numbers of one kind can be compared.

    Attributes:
        stage: what learnt that which is measured.
        what: in words, as :class:`KeyNumber` has it.
        protocol: of fresh games.
    """

    stage: str
    what: str
    less_is_better: bool = False
    protocol: Protocol | None = None

    @classmethod
    def of(cls, found: CellNumber, learnt: FinishedRun[Any]) -> NumberKind:
        """Of a number of a cell, and the run that learnt what it measures."""
        played, number = found.played, found.number
        protocol = None if played is None else Protocol.of(played.settings, played.task)
        return cls(learnt.stage, number.what, number.less_is_better, protocol)


@dataclass(frozen=True)
class PointResult:
    """The finished runs of a point of the grid, which differ in their seed only.

    Attributes:
        runs: of the sweep's own stage.
        numbers: of each of ``runs``, the one by which points are compared.
        learnt: for each of ``runs``, the one that learnt what the number measures: the same, or
            one that comes after it.
    """

    point: Point
    runs: list[FinishedRun[Any]]
    numbers: list[float]
    learnt: list[FinishedRun[Any]]

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
        kind: of all numbers.
        rather: a kind of number that counts more and that only some finished runs have, and how
            many of them; None where there is none.
        finished: how many runs of the sweep's own stage are finished.
    """

    name: str
    stage: str
    axes: dict[str, list[Value | None]]
    points: list[PointResult]
    count: int
    kind: NumberKind
    rather: tuple[NumberKind, int] | None = None
    finished: int = 0

    @property
    def what(self) -> str:
        """The number, in words."""
        return self.in_words(self.kind)

    def in_words(self, kind: NumberKind) -> str:
        """A number of this sweep; it says what of the sweep's further stages it measures."""
        return kind.what if kind.stage == self.stage else f"{kind.what} after {kind.stage}"

    def ranked(self) -> list[PointResult]:
        """The points, the best first."""
        sign = 1 if self.kind.less_is_better else -1
        return sorted(self.points, key=lambda point: sign * point.interval.mean)


def read_sweeps(
    root: Path, runs: Sequence[FinishedRun[Any]], evaluated: Sequence[Cell[Any]]
) -> tuple[list[SweepResults], list[str]]:
    """Every sweep that has a finished cell, and what is wrong with the manifests left out.

    A damaged manifest says nothing that the runs do not say.

    Args:
        runs: the finished runs of the project.
        evaluated: cells of the report, whose rows have fresh games of what their runs made.
    """
    by_key = {(run.stage, run.name): run for run in runs}
    fresh = _fresh_games(evaluated)
    found, left_out = [], []
    for name in sweep_names(root):
        try:
            manifest = read_sweep(root, name)
        except ArtifactError as error:
            left_out.append(str(error))
            continue
        results = _results(manifest, by_key, fresh)
        if results is not None:
            found.append(results)
    return found, left_out


def _fresh_games(cells: Iterable[Cell[Any]]) -> dict[RunKey, list[Evaluation]]:
    """Fresh games of what each run made, by itself, in the order of the rows."""
    found: dict[RunKey, list[Evaluation]] = defaultdict(list)
    for cell in cells:
        for row in (row for row in cell.rows if not row.deviation):
            for run, *played in zip(cell.runs, row.plain, row.sticky, strict=True):
                found[run.stage, run.name] += [games for games in played if games is not None]
    return found


def _results(
    manifest: SweepManifest,
    by_key: Mapping[RunKey, FinishedRun[Any]],
    fresh: Mapping[RunKey, Sequence[Evaluation]],
) -> SweepResults | None:
    """A sweep's results.

    None where nothing of it is finished that has a number, and where its cells are no grid, as
    those of ``reproduce``: several of one point and seed differ in more than that.
    """
    cells = manifest["cells"]
    if len({(frozenset(cell["point"].items()), cell["seed"]) for cell in cells}) < len(cells):
        return None
    finished = []
    for cell in cells:
        runs = [_run(step, by_key) for step in cell["steps"]]
        if runs[0] is not None:
            finished.append((cell["point"], runs[0], _by_kind(cell["steps"], runs, fresh)))
    numbers = [by_kind for _, _, by_kind in finished if by_kind]
    if not numbers:
        return None
    kind = _common_kind(numbers)
    points: dict[frozenset[tuple[str, Value]], PointResult] = {}
    for point, run, by_kind in finished:
        if kind in by_kind:
            result = points.setdefault(frozenset(point.items()), PointResult(point, [], [], []))
            value, learnt = by_kind[kind]
            result.runs.append(run)
            result.numbers.append(value)
            result.learnt.append(learnt)
    return SweepResults(
        manifest["name"],
        manifest["stage"],
        varying([cell["point"] for cell in cells]),
        list(points.values()),
        len({frozenset(cell["point"].items()) for cell in cells}),
        kind,
        _rather(kind, numbers),
        len(finished),
    )


def _run(step: SweepStep, by_key: Mapping[RunKey, FinishedRun[Any]]) -> FinishedRun[Any] | None:
    """The run of a step, if it is finished and the one that was asked for."""
    run = by_key.get((step["stage"], step["name"] or ""))
    fingerprint = step["fingerprint"]
    if run is None or fingerprint is None or not is_equal(fingerprint, run.record):
        return None
    return run


_Numbers: TypeAlias = dict[NumberKind, tuple[float, FinishedRun[Any]]]


def _by_kind(
    steps: Sequence[SweepStep],
    runs: Sequence[FinishedRun[Any] | None],
    fresh: Mapping[RunKey, Sequence[Evaluation]],
) -> _Numbers:
    """The numbers of a cell with what learnt that which they measure, what counts most first."""
    found: _Numbers = {}
    for one in cell_numbers(steps, runs, fresh):
        if one.learnt is not None:
            found.setdefault(NumberKind.of(one, one.learnt), (one.number.value, one.learnt))
    return found


def _common_kind(cells: Sequence[_Numbers]) -> NumberKind:
    """The kind that counts most of those that all cells have; else one that most of them have.

    So no point is lost because another one was evaluated, or evaluated in another way.
    """
    counts = Counter(kind for cell in cells for kind in cell)
    return max(counts, key=lambda kind: counts[kind])


def _rather(chosen: NumberKind, cells: Sequence[_Numbers]) -> tuple[NumberKind, int] | None:
    """What counts more than the chosen kind but only some cells have, and how many of them.

    Of several such kinds the one that most of them have.
    """
    counts = Counter(kind for cell in cells for kind in cell)
    before = (itertools.takewhile(lambda kind: kind != chosen, cell) for cell in cells)
    some = {kind: counts[kind] for kind in itertools.chain(*before) if counts[kind] < len(cells)}
    return max(some.items(), key=lambda one: one[1], default=None)
