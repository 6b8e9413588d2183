"""The figures of a sweep: a heat map over two axes of its grid, and curves of its best points."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from corrtool.reporting.figures import cells_shown, finish, panels_of, share_returns
from corrtool.reporting.finished import FinishedRun
from corrtool.reporting.labels import wrapped
from corrtool.reporting.sweep_tables import bounds, format_number
from corrtool.reporting.sweeps import PointResult, SweepResults
from corrtool.settings.grid import as_text, shown
from corrtool.statistics import MOVING_MEAN_GAMES, moving_means, student_t_interval

MOST_PANELS = 24
_MOST_TEXTS = 100  # more of them nobody reads, and the table has them all
_CELL_INCHES = (1.05, 0.62)
_NO_TEXT_INCHES = (0.3, 0.3)
_COLOUR = "#0072b2"


def sweep_figures(sweep: SweepResults) -> dict[str, Figure]:
    """The figures of a sweep, by name."""
    drawn = {"map": heat_map(sweep), "curves": curves(sweep)}
    return {
        f"sweep-{sweep.name}-{kind}": figure for kind, figure in drawn.items() if figure is not None
    }


def heat_map(sweep: SweepResults) -> Figure | None:
    """The mean of each point over two axes, those with the most values; others make panels.

    In each cell stand Student's t interval over its seeds and how many there are. None where the
    grid has fewer than two axes.
    """
    if len(sweep.axes) < 2:
        return None
    longest = sorted(sweep.axes, key=lambda axis: -len(sweep.axes[axis]))[:2]
    y, x = (axis for axis in sweep.axes if axis in longest)
    rest = [axis for axis in sweep.axes if axis not in longest]
    combinations = [
        dict(zip(rest, values, strict=True))
        for values in itertools.product(*(sweep.axes[axis] for axis in rest))
    ]
    by_panel = [(held, [p for p in sweep.points if _has(p, held)]) for held in combinations]
    filled = [(held, points) for held, points in by_panel if points]
    shown_panels = filled[:MOST_PANELS]
    texts = len(sweep.points) <= _MOST_TEXTS
    width, height = _CELL_INCHES if texts else _NO_TEXT_INCHES
    columns = min(3, len(shown_panels))
    rows = -(-len(shown_panels) // columns)
    figure = Figure(
        figsize=(
            columns * (width * len(sweep.axes[x]) + 0.7) + 0.9,
            rows * (height * len(sweep.axes[y]) + 0.7) + 0.3,
        ),
        layout="constrained",
    )
    means = [point.interval.mean for point in sweep.points]
    colours = Normalize(min(means), max(means) if max(means) > min(means) else min(means) + 1)
    panels = []
    for number, (held, points) in enumerate(shown_panels):
        axes = figure.add_subplot(rows, columns, number + 1)
        _draw_panel(axes, sweep, points, (y, x), colours, texts=texts)
        axes.set_title(wrapped(as_text(held), 48), fontsize=8)
        panels.append(axes)
    title = [] if texts else [f"n = {_counts(sweep)}; the table has the intervals"]
    if len(shown_panels) < len(filled):
        title.append(
            f"the first {len(shown_panels)} of {len(filled):,} panels; the table has all points"
        )
    if title:
        figure.suptitle("\n".join(title), fontsize=8)
    bar = figure.colorbar(panels[0].images[0], ax=panels)
    bar.set_label(sweep.what, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def _counts(sweep: SweepResults) -> str:
    """How many seeds the points have: ``5``, or ``3 to 5``."""
    counts = [point.interval.count for point in sweep.points]
    least, most = min(counts), max(counts)
    return str(most) if least == most else f"{least} to {most}"


def _has(point: PointResult, held: dict[str, Any]) -> bool:
    return all(point.point.get(axis) == value for axis, value in held.items())


def _draw_panel(
    axes: Axes,
    sweep: SweepResults,
    points: list[PointResult],
    over: tuple[str, str],
    colours: Normalize,
    *,
    texts: bool,
) -> None:
    """One heat map, over the axes (y, x)."""
    y, x = over
    values = np.full((len(sweep.axes[y]), len(sweep.axes[x])), np.nan)
    for point in points:
        place = tuple(sweep.axes[axis].index(point.point.get(axis)) for axis in over)
        values[place] = point.interval.mean
    palette = "viridis_r" if sweep.kind.less_is_better else "viridis"
    axes.imshow(values, cmap=palette, norm=colours, aspect="auto")
    axes.set_facecolor("#e8e8e8")
    axes.set_xticks(range(values.shape[1]), [wrapped(shown(value), 16) for value in sweep.axes[x]])
    axes.set_yticks(range(values.shape[0]), [wrapped(shown(value), 32) for value in sweep.axes[y]])
    axes.tick_params(labelsize=7)
    axes.set_xlabel(wrapped(x.replace("_", "-"), 32), fontsize=8)
    axes.set_ylabel(wrapped(y.replace("_", "-"), 32), fontsize=8)
    for point in points if texts else []:
        row, column = (sweep.axes[axis].index(point.point.get(axis)) for axis in over)
        share = float(colours(point.interval.mean))
        dark = share > 0.5 if sweep.kind.less_is_better else share < 0.5
        said = [format_number(point.interval.mean), bounds(point), f"n = {point.interval.count}"]
        axes.text(
            column,
            row,
            "\n".join(line for line in said if line != "–"),
            ha="center",
            va="center",
            fontsize=6.5,
            color="white" if dark else "black",
        )


def curves(sweep: SweepResults) -> Figure | None:
    """How what is measured at each point was learnt: the mean over seeds, Student's t as a band.

    Play tests of a correspondence by gradient steps, training games of a DQN; the best points,
    where there are many. None where no run has such a curve.
    """
    ranked = [point for point in sweep.ranked() if _seeds(point.learnt)]
    best = ranked[: cells_shown(len(ranked), MOST_PANELS)]
    chosen = [point for point in sweep.points if any(point is one for one in best)]
    if not chosen:
        return None
    figure, panels = panels_of(len(chosen))
    for axes, point in zip(panels, chosen, strict=True):
        seeds = _seeds(point.learnt)
        _draw_curves(axes, seeds)
        said = as_text({axis: point.point.get(axis) for axis in sweep.axes}) or sweep.name
        axes.set_title(wrapped(f"{said}, n = {len(seeds)}", 48), fontsize=8)
        finish(axes, _CURVES[sweep.kind.stage], "return")
    share_returns(panels)
    if len(chosen) < len(ranked):
        figure.suptitle(f"the best {len(chosen)} of {len(ranked):,}", fontsize=8)
    return figure


def _draw_curves(axes: Axes, seeds: list[dict[int, float]]) -> None:
    """The mean of some curves with a band, at the steps that all of them have.

    A mean of fewer would jump where a seed begins or ends. Where they have no step in common, each
    is a line of its own.
    """
    steps = sorted(set.intersection(*map(set, seeds)))
    if not steps:
        for seed in seeds:
            axes.plot(list(seed), list(seed.values()), color=_COLOUR, linewidth=1, marker=".")
        return
    values = np.array([[seed[step] for step in steps] for seed in seeds])  # (seeds, steps)
    marker = "." if len(steps) < 30 else None
    axes.plot(steps, values.mean(axis=0), color=_COLOUR, marker=marker)
    if len(seeds) > 1:
        band = np.array([student_t_interval(at.tolist()) for at in values.T])
        low, high = axes.get_ylim()
        axes.fill_between(steps, band[:, 0], band[:, 1], color=_COLOUR, alpha=0.2, linewidth=0)
        axes.set_ylim(min(low, values.min()), max(high, values.max()))


_CURVES = {
    "learn-corr": "gradient steps",
    "train-dqn": f"games, mean of {MOVING_MEAN_GAMES}",
    "finetune": f"games, mean of {MOVING_MEAN_GAMES}",
}


def _seeds(runs: list[FinishedRun[Any]]) -> list[dict[int, float]]:
    """The curves of runs that have one: returns by gradient step, or by game."""
    found = []
    for run in runs:
        curve: dict[int, float] = {}
        if run.stage == "learn-corr":
            curve = {test.gradient_steps: test.mean_return for test in run.play_tests}
        elif run.stage in _CURVES:
            curve = dict(enumerate(moving_means([game.game_return for game in run.games]), 1))
        if curve:
            found.append(curve)
    return found
