"""The paper's Figures 3–8, drawn from a project's runs."""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Callable
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from corrtool.files.pictures import target_and_translation
from corrtool.reporting.cells import RANDOM_PLAY, REUSE, SCRATCH, Cell
from corrtool.reporting.finished import R
from corrtool.reporting.labels import plain, wrapped
from corrtool.reporting.logged import TERMS
from corrtool.reporting.results import Results
from corrtool.statistics import MOVING_MEAN_GAMES, moving_means, student_t_interval

matplotlib.rcdefaults()  # not what a matplotlibrc in the working directory says
matplotlib.use("agg")  # files only: no display is needed

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#000000",
)  # Okabe & Ito: for all eyes
_PANEL_INCHES = (3.6, 2.4)
_SMALLEST_SHEET = 64  # pixels; three rows of the smallest pictures have more
MOST_CELLS = 24  # in one figure; of more it shows the first few, and the tables have them all
FEW_CELLS = 3
_STRIP_STEPS = 4  # the paper shows the correspondence at four moments


def draw_figures(results: Results) -> dict[str, Figure]:
    """Every figure for which the project holds runs, by name.

    See each function for what it shows.
    """
    drawn: dict[str, Callable[[Results], Figure | None]] = {
        "source-agent": source_agent,
        "play-tests": play_tests,
        "losses": losses,
        "translations": translations,
        "finetuning": finetuning,
    }
    figures = {name: draw(results) for name, draw in drawn.items()}
    return {name: figure for name, figure in figures.items() if figure is not None}


def encode(figure: Figure, kind: str) -> bytes:
    """The figure as ``"png"`` or ``"svg"``; the same figure gives the same bytes.

    Nobody is warned of how it looks, such as that the font lacks a glyph of a name.
    """
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "corrtool"}), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        figure.savefig(
            file,
            format=kind,
            dpi=120,
            metadata={"Date": None} if kind == "svg" else {"Software": None},
        )
    return file.getvalue()


def source_agent(results: Results) -> Figure | None:
    """20-game mean of the training games of each source agent, by environment steps."""
    cells = results.source_agents
    if not any(run.games for cell in cells for run in cell.runs):
        return None
    figure, (axes,) = panels_of(1, width=2.0)
    for colour, cell in zip(_cycle(cells), cells, strict=True):
        for index, run in enumerate(cell.runs):
            games = run.games
            curve = moving_means([game.game_return for game in games])
            axes.plot(
                [game.env_steps for game in games],
                curve,
                color=colour,
                label=plain(cell.label) if index == 0 else None,
            )
    finish(
        axes,
        "environment steps",
        f"return, mean of {MOVING_MEAN_GAMES} games",
        legend=len(cells) > 1,
    )
    return figure


def play_tests(results: Results) -> Figure | None:
    """Figures 3 and 6: mean return of the play tests of each cell, by gradient steps.

    One line a seed, reuse and random play dotted. What took no gradient steps has a single play
    test and no line; its number is in the tables.
    """
    learnt = results.correspondences
    cells = [c for c in learnt if any(t.gradient_steps for r in c.runs for t in r.play_tests)]
    if not cells:
        return None
    figure, panels = panels_of(cells_shown(len(cells)))
    cells = _first_cells(figure, cells)
    for axes, cell in zip(panels, cells, strict=True):
        for index, run in enumerate(cell.runs):
            tests = run.play_tests
            axes.plot(
                [test.gradient_steps for test in tests],
                [test.mean_return for test in tests],
                color=COLOURS[index % len(COLOURS)],
                marker=".",
                label=f"seed {run.seed}",
            )
        axes.set_title(wrapped(cell.label, 48), fontsize=9)
        for name, colour in ((REUSE, "black"), (RANDOM_PLAY, "grey")):
            if (mean := _baseline(results, name)) is not None:
                axes.axhline(mean, color=colour, linestyle=":", linewidth=1, label=name)
        axes.set_xlim(left=0)
        finish(axes, "gradient steps", "return")
    share_returns(panels)
    _legend_below(figure, panels)
    return figure


def losses(results: Results) -> Figure | None:
    """Each loss term of each cell's first seed, unweighted, by gradient steps.

    None where there are more cells than a figure can show: those of any few tell nothing.
    """
    cells = [cell for cell in results.correspondences if cell.runs[0].losses]
    if not 0 < len(cells) <= MOST_CELLS:
        return None
    figure, panels = panels_of(len(cells))
    for axes, cell in zip(panels, cells, strict=True):
        lines = cell.runs[0].losses
        for colour, term in zip(COLOURS, TERMS, strict=False):
            if all(term in line.terms for line in lines):
                steps = [line.gradient_steps for line in lines]
                axes.plot(
                    steps,
                    [line.terms[term] for line in lines],
                    marker="." if len(lines) == 1 else None,
                    color=colour,
                    label=term.replace("_", " "),
                    linewidth=1,
                )
        axes.set_title(wrapped(cell.label, 48), fontsize=9)
        axes.set_yscale("log")
        finish(axes, "gradient steps", "loss, unweighted")
    _legend_below(figure, panels)
    return figure


def translations(results: Results) -> Figure | None:
    """Figures 4 and 7: target states and their translations.

    At four moments of each cell's first seed.
    """
    strips = ((cell, _strip(cell)) for cell in results.correspondences)
    count = cells_shown(len(results.correspondences))
    shown = list(itertools.islice(((c, strip) for c, strip in strips if strip), count))
    if not shown:
        return None
    columns = _STRIP_STEPS if len(shown) > FEW_CELLS else 2  # large enough to see a ball
    rows = -(-max(len(strip) for _, strip in shown) // columns)
    width = 8.0 / columns  # inches of a state beside its translation
    figure = Figure(
        figsize=(8.4, (0.5 * width + 0.35) * rows * len(shown)),
        layout=ConstrainedLayoutEngine(wspace=0.06),  # more than within a pair
    )
    grid = figure.subplots(rows * len(shown), columns, squeeze=False)
    for number, (cell, strip) in enumerate(shown):
        panels = grid[number * rows : (number + 1) * rows]
        for axes in panels.flat:
            axes.set_axis_off()
        for axes, (step, picture) in zip(panels.flat, strip, strict=False):
            axes.imshow(picture, interpolation="nearest")
            heading = f"{step:,} steps" + ("" if number else ": target | translation")
            axes.set_title(heading, fontsize=8)
        label = "\n".join(wrapped(part, 24) for part in cell.label.split(", ", 1))
        panels[0, 0].text(-0.03, 0.5, label, transform=panels[0, 0].transAxes, rotation=90,
                          fontsize=7, ha="right", va="center")  # fmt: skip
    return figure


def finetuning(results: Results) -> Figure | None:
    """Figures 5 and 8: 20-game mean on the target by games played.

    Mean over seeds, and their 95 % interval as a band.
    """
    cells = results.finetunings[: cells_shown(len(results.finetunings))]
    curves = [
        [moving_means([game.game_return for game in run.games]) for run in cell.runs]
        for cell in cells
    ]
    if not any(curve for cell in curves for curve in cell):
        return None
    figure, (axes,) = panels_of(1, width=2.0)
    for colour, cell, seeds in zip(_cycle(cells), cells, curves, strict=True):
        length = min(map(len, seeds))
        if not length:
            continue
        games = np.arange(1, length + 1)
        values = np.array([curve[:length] for curve in seeds])
        style = "--" if cell.label in (SCRATCH, REUSE) else "-"
        named = wrapped(cell.label, 48) + (f" ({len(seeds)} seeds)" if len(seeds) > 1 else "")
        axes.plot(games, values.mean(axis=0), color=colour, label=named, linestyle=style)
        if len(seeds) > 1:
            bands = np.array(
                [student_t_interval(values[:, game].tolist()) for game in range(length)]
            )
            axes.fill_between(games, bands[:, 0], bands[:, 1], color=colour, alpha=0.2, linewidth=0)
    axes.set_ylim(
        *_range_of_lines(axes)
    )  # bands over two or three seeds can be many times as wide as the curves
    finish(
        axes, "games of the target task", f"return, mean of {MOVING_MEAN_GAMES} games", legend=True
    )
    return figure


def _baseline(results: Results, name: str) -> float | None:
    """Mean return of a baseline in the table's first rows.

    Without sticky actions if it was played so.
    """
    for row in (row for row in results.baselines.get(name, []) if not row.deviation):
        for run in (*row.plain, *row.sticky):
            if run is not None:
                return float(run.result["mean_return"])
    return None


def _range_of_lines(axes: Axes) -> tuple[float, float]:
    """From the least to the greatest value of the lines, with a margin."""
    values = np.concatenate(
        [np.asarray(line.get_ydata(), dtype=float) for line in axes.get_lines()]
    )
    margin = 0.05 * float(np.ptp(values)) or 1.0
    return float(values.min()) - margin, float(values.max()) + margin


def _strip(cell: Cell[Any]) -> list[tuple[int, NDArray[np.uint8]]]:
    """Four moments of the first run.

    The target state beside its translation, cut out of its example pictures.
    """
    folder = cell.runs[0].directory / "pictures"
    paths = [
        path
        for path in sorted(folder.glob("step-*.png"))
        if path.stem.removeprefix("step-").isdecimal()
    ]
    if not paths:
        return []
    chosen = [
        paths[i]
        for i in np.linspace(0, len(paths) - 1, min(_STRIP_STEPS, len(paths))).round().astype(int)
    ]
    strip = []
    for path in chosen:
        sheet = cv2.imread(str(path))
        if sheet is None or min(sheet.shape[:2]) < _SMALLEST_SHEET:
            continue  # damaged: the figure does without it
        pair = target_and_translation(sheet)
        strip.append(
            (
                int(path.stem.removeprefix("step-")),
                np.ascontiguousarray(pair[..., ::-1]).astype(np.uint8),
            )
        )
    return strip


def panels_of(count: int, width: float = 1.0) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` panels, at most three beside each other."""
    columns = min(3, count)
    rows = -(-count // columns)
    size = (
        _PANEL_INCHES[0] * columns * width,
        _PANEL_INCHES[1] * rows * (1.4 if width > 1 else 1.0),
    )
    figure = Figure(figsize=size, layout="constrained")
    panels = [figure.add_subplot(rows, columns, index + 1) for index in range(count)]
    return figure, panels


def finish(axes: Axes, x: str, y: str, *, legend: bool = False) -> None:
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(fontsize=7, frameon=False)


def _first_cells(figure: Figure, cells: list[Cell[R]]) -> list[Cell[R]]:
    """As many cells as a figure shows; it says so where there are more."""
    shown = cells_shown(len(cells))
    if shown < len(cells):
        figure.suptitle(f"the first {shown} of {len(cells):,} cells", fontsize=8)
    return cells[:shown]


def cells_shown(count: int, most: int = MOST_CELLS) -> int:
    """How many of so many cells a figure shows: all, or a few where nobody could compare them."""
    return count if count <= most else FEW_CELLS


def _legend_below(figure: Figure, panels: list[Axes]) -> None:
    """One legend for all panels, where it covers no curve."""
    lines = {
        label: line
        for axes in panels
        for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    columns = int(figure.get_figwidth() / 1.7)  # inches, of the longest label
    figure.legend(
        lines.values(),
        lines.keys(),
        loc="outside lower center",
        ncols=columns,
        fontsize=7,
        frameon=False,
    )


def share_returns(panels: list[Axes]) -> None:
    """One range of returns for all panels, so that they can be compared."""
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(low, high)


def _cycle(cells: list[Any]) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(len(cells))]
