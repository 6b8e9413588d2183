"""The action matrix as a figure."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from corrtool.reporting.explanation import ActionsFound
from corrtool.reporting.figures import encode

_CELL_INCHES = 0.42
_LEAST_INCHES = 2.6


def action_matrix_figure(actions: ActionsFound) -> Figure:
    """The double-centred losses: blue where a target action is well predicted as a source action.

    The map in use has a circle, the best one a cross.
    """
    centred = np.array(actions["centred"])
    targets, sources = centred.shape
    inches = (max(_LEAST_INCHES, _CELL_INCHES * n + 1.2) for n in (sources, targets))
    figure = Figure(figsize=tuple(inches), layout="constrained")
    axes = figure.add_subplot()
    limit = max(float(np.abs(centred).max()), 1e-9)
    shown = axes.imshow(centred, cmap="RdBu_r", vmin=-limit, vmax=limit)
    rows = np.arange(targets)
    axes.scatter(actions["map_in_use"], rows, s=90, facecolors="none", edgecolors="black")
    axes.scatter(actions["best_map"], rows, s=30, marker="x", color="black")
    axes.set_xticks(range(sources))
    axes.set_yticks(range(targets))
    axes.tick_params(labelsize=7)
    axes.set_xlabel("source action", fontsize=8)
    axes.set_ylabel("target action", fontsize=8)
    bar = figure.colorbar(shown, ax=axes)
    bar.set_label("relative model loss, centred", fontsize=7)
    bar.ax.tick_params(labelsize=7)
    return figure


def action_matrix_picture(actions: ActionsFound) -> bytes:
    """The same as a PNG."""
    return encode(action_matrix_figure(actions), "png")
