"""The figure of a suite: every pair with its seeds, and the methods beside each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from corrtool.reporting.figures import COLOURS, finish
from corrtool.reporting.suite import REUSE, PairResult, summaries

_SHOWN = (-0.25, 1.25)  # shares beyond are drawn at the border
_ROW_INCHES, _METHOD_INCHES = 0.24, 0.2


def suite_figure(results: Sequence[PairResult], methods: Sequence[str]) -> Figure:
    """Normalised returns: above each pair's mean over its seeds, below the methods' intervals."""
    players = [*methods, REUSE]
    shown = [r for r in results if not r.control and any(r.shares(player) for player in players)]
    found = summaries(results, players)
    heights = (_ROW_INCHES * len(shown) + 0.6, _METHOD_INCHES * len(found) + 0.6)
    if not shown:
        return _nothing()
    figure = Figure(figsize=(7.2, sum(heights)), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=heights, sharex=True)
    colours = {player: COLOURS[number] for number, player in enumerate(players)}
    for row, result in enumerate(shown):
        for player in reversed(players):
            _draw_pair(above, row, result.shares(player), colours[player])
    _label_rows(above, [result.name for result in shown])
    finish(above, "", "")
    for row, summary in enumerate(found):
        low, high = np.clip(summary["ci95"], *_SHOWN)
        mean, colour = summary["interquartile_mean"], colours[summary["method"]]
        below.plot([low, high], [row, row], color=colour, linewidth=4, alpha=0.4)
        below.plot(np.clip(mean, *_SHOWN), row, "o", color=colour, markersize=6)
    _label_rows(below, [f"{s['method']} ({s['pairs']} pairs)" for s in found])
    finish(below, "share of the way from random play to the agent on its own task", "")
    below.set_xlim(_SHOWN[0] - 0.03, _SHOWN[1] + 0.03)
    return figure


def _nothing() -> Figure:
    figure = Figure(figsize=(7.2, 0.6), layout="constrained")
    said = "no pair has an agent that is better than random play"
    figure.text(0.5, 0.5, said, ha="center", va="center", fontsize=9)
    return figure


def _draw_pair(axes: Axes, row: int, shares: list[float], colour: str) -> None:
    """The seeds as small dots, their mean as a large one."""
    if shares:
        axes.plot(np.clip(shares, *_SHOWN), [row] * len(shares), ".", color=colour, alpha=0.4)
        axes.plot(np.clip(np.mean(shares), *_SHOWN), row, "o", color=colour, markersize=6)


def _label_rows(axes: Axes, names: list[str]) -> None:
    """The first row at the top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
