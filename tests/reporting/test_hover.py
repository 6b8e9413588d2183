"""The marks that tell the numbers of a figure."""

from __future__ import annotations

import re

import cv2
import numpy as np
from matplotlib.figure import Figure

from corrtool.reporting.figures import encode
from corrtool.reporting.hover import MOST_POINTS, hover_marks


def test_a_mark_lies_where_the_point_is_drawn() -> None:
    """The picture is black there and nowhere else: a single black point on an empty figure."""
    figure = Figure(figsize=(4, 2))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.plot([3.0], [20.0], marker="o", markersize=4, color="black", label="seed 1")
    axes.set(xlim=(0, 10), ylim=(0, 80), xlabel="gradient steps", ylabel="return")
    png = encode(figure, "png")
    marks = hover_marks(figure)
    assert marks.startswith('<svg viewBox="0 0 1000 500" class=marks>')
    assert re.findall(r'cx="(\d+)" cy="(\d+)"', marks) == [("300", "375")]  # 1 - 20/80 of 500
    assert "<title>seed 1\ngradient steps: 3\nreturn: 20</title>" in marks
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    height, width = picture.shape
    assert picture[int(0.75 * height), int(0.3 * width)] < 50


def test_a_long_line_keeps_its_ends_and_so_many_points() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot(np.arange(1_000), np.arange(1_000))
    axes.axhline(3.0)  # not a curve
    marks = hover_marks(figure)
    assert marks.count("<circle") == MOST_POINTS
    assert ": 0\n" in marks and ": 999\n" in marks


def test_what_is_no_number_has_no_mark_and_names_are_escaped() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot([0, 1, 2], [1.0, np.nan, 3.0], label="<script>")
    marks = hover_marks(figure)
    assert marks.count("<circle") == 2
    assert "<script>" not in marks and "&lt;script&gt;" in marks


def test_each_cell_of_a_matrix_but_those_without_a_value() -> None:
    figure = Figure(figsize=(2, 2))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(np.ma.masked_invalid([[1.0, np.nan], [3.0, 4.0]]), aspect="auto")
    axes.set_xticks([0, 1], ["0.1", "10"])
    axes.set_yticks([0, 1])
    axes.set(xlabel="lambda-m", ylabel="lambda-q")
    encode(figure, "png")
    marks = hover_marks(figure)
    assert marks.count("<rect") == 3
    assert '<rect x="500" y="500" width="500" height="500">' in marks
    assert "<title>lambda-q: 1\nlambda-m: 10\n4</title>" in marks


def test_pictures_have_no_numbers() -> None:
    figure = Figure()
    figure.add_subplot().imshow(np.zeros((84, 84, 3), np.uint8))
    assert hover_marks(figure) == ""
