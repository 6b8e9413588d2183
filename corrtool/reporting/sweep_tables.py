"""The report's table of a sweep: a row for each point of its grid."""

from __future__ import annotations

from corrtool.reporting.key_numbers import FRESH_GAMES
from corrtool.reporting.sweeps import PointResult, SweepResults
from corrtool.reporting.table import Table
from corrtool.runs.commands import without_project
from corrtool.settings.grid import as_text, shown


def sweep_table(sweep: SweepResults) -> Table:
    """What came of each point, and the command of the best one."""
    axes = list(sweep.axes)
    rows = [
        [
            *(shown(point.point.get(axis)) for axis in axes),
            format_number(point.interval.mean),
            bounds(point),
            str(point.interval.count),
            ", ".join(format_number(number) for number in point.numbers),
        ]
        for point in sweep.points
    ]
    columns = [
        *(axis.replace("_", "-") for axis in axes),
        sweep.what,
        "95 % interval",
        "n",
        "each seed",
    ]
    return Table(f"Sweep {sweep.name}", columns, rows, _note(sweep))


def format_number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def bounds(point: PointResult) -> str:
    """The interval of a point; a dash where one seed tells none."""
    interval = point.interval.bounds
    return (
        "–" if interval is None else f"[{format_number(interval[0])}, {format_number(interval[1])}]"
    )


def caption(sweep: SweepResults) -> str:
    """What the figures of a sweep show."""
    chose = (
        ""
        if sweep.what == FRESH_GAMES
        else " It chose the weights that are kept, and is therefore too good."
        if sweep.what == "best play test"
        else ""
    )
    better = ", less is better" if sweep.less_is_better else ""
    return (
        f"Sweep {sweep.name}: {sweep.what}{better}, mean of n seeds with Student's t interval "
        f"(95 %).{chose}"
    )


def _note(sweep: SweepResults) -> str:
    """How to read it, how much of the grid is done, and the best point."""
    best = sweep.ranked()[0]
    done = (
        "" if len(sweep.points) == sweep.count else f"{len(sweep.points)} of {sweep.count} done. "
    )
    said = as_text({axis: best.point.get(axis) for axis in sweep.axes})
    command = without_project(best.runs[0].record["command"])
    return f"{caption(sweep)} {done}Best{f' ({said})' if said else ''}: {command}"
