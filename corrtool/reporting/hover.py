"""The numbers behind a figure, shown where the pointer rests: marks that are laid over its picture.

An SVG of invisible shapes with titles, in a hundred bytes each. Browsers show a title by
themselves, so the page needs no script, and its pictures stay PNGs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from numpy.typing import NDArray

_WIDTH = 1000.0  # of the drawing, in units of its own; the page stretches it over the picture
_RADIUS = 8.0
MOST_POINTS = 100  # of a line; of more, as many that are evenly spread
MOST_CELLS = 1_000  # of an image; one with more is a picture


def hover_marks(figure: Figure) -> str:
    """The marks of a ``figure`` that was drawn; empty where it shows no numbers.

    A circle for each point of its curves, a rectangle for each cell of its matrices.
    """
    height = _WIDTH * figure.get_figheight() / figure.get_figwidth()
    marks = "".join(itertools.chain.from_iterable(_of_axes(axes, height) for axes in figure.axes))
    if not marks:
        return ""
    return f'<svg viewBox="0 0 {_WIDTH:.0f} {height:.0f}" class=marks>{marks}</svg>'


def _of_axes(axes: Axes, height: float) -> Iterator[str]:
    for line in axes.get_lines():
        if line.get_transform() == axes.transData:  # others are lines across, at a value of y
            yield from _of_line(axes, line, height)
    for image in axes.get_images():
        values = np.asarray(image.get_array())
        if values.ndim == 2 and values.size <= MOST_CELLS:
            yield from _of_matrix(axes, image, values, height)


def _of_line(axes: Axes, line: Line2D, height: float) -> Iterator[str]:
    points = np.column_stack([np.asarray(data, float) for data in line.get_data()])
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) > MOST_POINTS:
        points = points[np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int)]
    label = str(line.get_label())
    named = "" if label.startswith("_") else f"{label}\n"  # matplotlib's own name of one without
    for (x, y), (left, top) in zip(points, _places(axes, points, height), strict=True):
        text = f"{named}{axes.get_xlabel()}: {x:,.6g}\n{axes.get_ylabel()}: {y:,.4g}"
        yield (
            f'<circle cx="{left:.0f}" cy="{top:.0f}" r="{_RADIUS:.0f}">'
            f"<title>{escape(text)}</title></circle>"
        )


def _of_matrix(axes: Axes, image: AxesImage, values: NDArray[Any], height: float) -> Iterator[str]:
    rows, columns = values.shape
    names = [
        dict(zip(axis.get_ticklocs(), (tick.get_text() for tick in labels), strict=False))
        for axis, labels in (
            (axes.yaxis, axes.get_yticklabels()),
            (axes.xaxis, axes.get_xticklabels()),
        )
    ]
    for row, column in np.ndindex(rows, columns):
        if np.ma.is_masked(image.get_array()[row, column]) or np.isnan(values[row, column]):  # type: ignore[index]
            continue
        corners = np.array([[column - 0.5, row - 0.5], [column + 0.5, row + 0.5]])
        (left, top), (right, bottom) = _places(axes, corners, height)
        text = (
            f"{axes.get_ylabel()}: {names[0].get(row, row)}\n"
            f"{axes.get_xlabel()}: {names[1].get(column, column)}\n{values[row, column]:,.4g}"
        )
        yield (
            f'<rect x="{min(left, right):.0f}" y="{min(top, bottom):.0f}" '
            f'width="{abs(right - left):.0f}" height="{abs(bottom - top):.0f}">'
            f"<title>{escape(text)}</title></rect>"
        )


def _places(axes: Axes, points: NDArray[Any], height: float) -> NDArray[Any]:
    """Points (N, 2) of the data → where they are on the drawing, from its upper left corner."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    shares = figure.transFigure.inverted().transform(axes.transData.transform(points))
    return np.column_stack([_WIDTH * shares[:, 0], height * (1.0 - shares[:, 1])])
