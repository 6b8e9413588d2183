"""The report's table of a sweep: a row for each point of its grid."""

from __future__ import annotations

from corrtool.reporting.evaluations import STICKY
from corrtool.reporting.key_numbers import BEST_PLAY_TEST, SCORE
from corrtool.reporting.sweeps import NumberKind, PointResult, SweepResults
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
    """What the figures of a sweep show, and what to be wary of."""
    better = ", less is better" if sweep.kind.less_is_better else ""
    said = [
        f"Sweep {sweep.name}: {sweep.what}{better}, mean of n seeds with Student's t interval "
        "(95 %).",
        *([] if sweep.kind.protocol is None else [f"Fresh games: {_in_words(sweep.kind)}."]),
        *([_CHOSE[sweep.kind.what]] if sweep.kind.what in _CHOSE else []),
    ]
    if len(sweep.points) > 1:
        said.append(
            f"The best of {len(sweep.points)} points was chosen by this number, which flatters it: "
            "new seeds tell what it is worth."
        )
    return " ".join(said)


_CHOSE = {
    BEST_PLAY_TEST: "It chose the weights that are kept, and is therefore too good.",
    SCORE: "With --eval-games 0 it chose the weights that are kept, and is therefore too good.",
}


def _in_words(kind: NumberKind) -> str:
    """The protocol of fresh games, with the sticky actions that other tables have a column for."""
    sticky = kind.protocol is not None and kind.protocol.sticky == STICKY
    return f"{kind.protocol}, sticky actions {STICKY:g}" if sticky else str(kind.protocol)


def _note(sweep: SweepResults) -> str:
    """How to read it, how much of the grid is done and shown, and the best point."""
    best = sweep.ranked()[0]
    said = [caption(sweep)]
    if len(sweep.points) < sweep.count:
        said.append(f"{len(sweep.points)} of {sweep.count} points have it.")
    without = sweep.finished - sum(len(point.numbers) for point in sweep.points)
    if without:
        runs = "1 finished run has" if without == 1 else f"{without} finished runs have"
        said.append(f"{runs} no such number.")
    if sweep.rather is not None:
        kind, count = sweep.rather
        games = "" if kind.protocol is None else f" ({_in_words(kind)})"
        said.append(
            f"Only {count} of {sweep.finished} finished runs have the "
            f"{sweep.in_words(kind)}{games}, which would be shown if all had it."
        )
    point = as_text({axis: best.point.get(axis) for axis in sweep.axes})
    made = [best.runs[0], *(run for run in best.learnt[:1] if run is not best.runs[0])]
    commands = " && ".join(without_project(run.record["command"]) for run in made)
    which = f"Best ({point})" if point else "The command"
    which += f", seed {best.runs[0].seed}" if len(best.runs) > 1 else ""
    return f"{' '.join(said)} {which}: {commands}"
