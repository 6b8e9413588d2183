"""A sweep in the report: its numbers over seeds, its table, its heat map and its curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from corrtool.reporting.figures import FEW_CELLS
from corrtool.reporting.finished import FinishedRun
from corrtool.reporting.key_numbers import KeyNumber, key_number
from corrtool.reporting.logged import PlayTest
from corrtool.reporting.sweep_figures import MOST_PANELS, curves, heat_map, sweep_figures
from corrtool.reporting.sweep_tables import bounds, caption, sweep_table
from corrtool.reporting.sweeps import PointResult, SweepResults
from corrtool.runs.records import RunRecord
from corrtool.settings.grid import varying


def learnt(name: str, returns: list[float]) -> FinishedRun[Any]:
    record: RunRecord = {"command": f"corrtool learn-corr --name {name} --project /p", "seed": 0}
    run: FinishedRun[Any] = FinishedRun("learn-corr", name, Path(), record)
    run.__dict__["play_tests"] = [PlayTest(10 * i, value) for i, value in enumerate(returns)]
    return run


def point(numbers: list[float], **values: Any) -> PointResult:
    runs = [learnt(f"c{seed}", [0.0, number]) for seed, number in enumerate(numbers)]
    return PointResult(values, runs, numbers)


def sweep(*points: PointResult, count: int | None = None, less: bool = False) -> SweepResults:
    axes = varying([p.point for p in points])
    what = "error" if less else "best play test"
    return SweepResults("s", "learn-corr", axes, [*points], count or len(points), what, less)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


class TestKeyNumbers:
    @pytest.mark.parametrize(
        ("stage", "result", "value"),
        [
            ("evaluate", {"mean_return": 3}, 3.0),
            ("learn-corr", {"best_mean_return": 2.0, "score": {"value": 0.5}}, 2.0),
            ("learn-corr", {"best_mean_return": None, "score": {"value": 0.5}}, 0.5),
            ("learn-corr", {"best_mean_return": None, "score": None}, None),
            ("train-dqn", {"mean_return_20": -1.5}, -1.5),
            ("finetune", {"mean_return_20": None}, None),
            ("train-model", {"validation": {"l1_newest": 0.1, "l1_changing": 0.2}}, 0.1),
            ("train-model", {"validation": {"l1_changing": 0.2}}, 0.2),
            ("train-model", {"validation": 3}, None),
            ("evaluate", {"mean_return": True}, None),
            ("collect", {"records": 3}, None),
        ],
    )
    def test_of_each_stage(self, stage: str, result: dict[str, Any], value: float | None) -> None:
        number = key_number(stage, result)
        assert (None if number is None else number.value) == value
        assert number is None or number.less_is_better == (stage == "train-model")

    def test_a_score_is_no_play_test(self) -> None:
        assert key_number("learn-corr", {"score": {"value": 0.0}}) == KeyNumber("score", 0.0)
        tested = {"best_mean_return": 0.0, "score": {"value": 0.9}}
        assert key_number("learn-corr", tested) == KeyNumber("best play test", 0.0)


def test_students_t_over_seeds() -> None:
    interval = point([1.0, 2.0, 3.0]).interval
    assert (interval.mean, interval.count, interval.over) == (2.0, 3, "seeds")
    assert interval.bounds == pytest.approx((2 - 4.30265 / 3**0.5, 2 + 4.30265 / 3**0.5), abs=1e-4)
    assert point([1.0]).interval.bounds is None and bounds(point([1.0])) == "–"


class TestTheTable:
    def test_a_row_for_each_point_and_the_best_with_its_command(self) -> None:
        table = sweep_table(
            sweep(
                point([1.0, 2.0, 3.0], lambda_q=0.0, tone=True),
                point([20.0], lambda_q=1.0, tone=True),
                count=3,
            )
        )
        assert table.columns == ["lambda-q", "best play test", "95 % interval", "n", "each seed"]
        assert table.rows == [
            ["0", "2", "[-0.484, 4.48]", "3", "1, 2, 3"],
            ["1", "20", "–", "1", "20"],
        ]
        assert "2 of 3 done." in table.note and "is therefore too good" in table.note
        assert table.note.endswith("Best (lambda-q=1): corrtool learn-corr --name c0")
        assert "| 1 | 20 | – | 1 | 20 |" in table.to_markdown()

    def test_of_errors_the_least_is_best(self) -> None:
        made = sweep(point([1.0], blocks=1), point([2.0], blocks=2), less=True)
        assert "Best (blocks=1)" in sweep_table(made).note
        assert "less is better" in caption(made) and "too good" not in caption(made)


class TestTheHeatMap:
    def test_needs_two_axes(self) -> None:
        assert heat_map(sweep(point([1.0], a=1), point([2.0], a=2))) is None

    def test_interval_and_n_in_each_cell(self) -> None:
        figure = heat_map(
            sweep(
                *(point([float(a + b), 3.0], a=a, b=b) for a in (0, 1) for b in (0, 1, 2)),
            )
        )
        assert figure is not None
        first = figure.axes[0]
        assert (first.get_ylabel(), first.get_xlabel()) == ("a", "b")
        assert [label.get_text() for label in first.get_xticklabels()] == ["0", "1", "2"]
        assert texts(figure)[0] == "1.5\n[-17.6, 20.6]\nn = 2"
        assert len(texts(figure)) == 6
        assert figure.axes[-1].get_ylabel() == "best play test"

    def test_other_axes_make_panels_and_holes_stay_empty(self) -> None:
        points = [
            point([1.0], a=a, b=b, c=c)
            for a in (0, 1)
            for b in (0, 1, 2)
            for c in (False, True)
            if (a, b, c) != (1, 2, True)
        ]
        figure = heat_map(sweep(*points))
        assert figure is not None
        assert [axes.get_title() for axes in figure.axes[:-1]] == ["c=false", "c=true"]
        assert len(texts(figure)) == 11 and texts(figure)[0] == "1\nn = 1"

    def test_of_many_cells_only_colours(self) -> None:
        points = [point([1.0, float(a)], a=a, b=b) for a in range(15) for b in range(10)]
        figure = heat_map(sweep(*points, point([1.0], a=15, b=0)))
        assert figure is not None and texts(figure) == []
        title = figure.get_suptitle()
        assert title == "n = 1 to 2; the table has the intervals"

    def test_a_value_that_some_points_do_not_give(self) -> None:
        points = [point([1.0], kind="x", a=0), point([2.0], kind="x", a=1), point([3.0], kind="y")]
        figure = heat_map(sweep(*points))
        assert figure is not None and len(texts(figure)) == 3


class TestTheCurves:
    def test_a_panel_for_each_point_with_a_band_over_seeds(self) -> None:
        figure = curves(sweep(point([1.0, 3.0], a=0), point([5.0], a=1)))
        assert figure is not None
        several, single = figure.axes
        assert [line.get_ydata().tolist() for line in several.lines] == [[0.0, 2.0]]  # type: ignore[union-attr]
        assert len(several.collections) == 1 and not single.collections
        assert several.get_title() == "a=0, n = 2"
        assert several.get_ylim() == single.get_ylim()

    def test_the_best_ones_where_there_are_many(self) -> None:
        made = sweep(*(point([float(a)], a=a) for a in range(MOST_PANELS + 5)))
        figure = curves(made)
        assert figure is not None and len(figure.axes) == FEW_CELLS
        assert figure.axes[0].get_title() == f"a={MOST_PANELS + 5 - FEW_CELLS}, n = 1"

    def test_none_without_play_tests(self) -> None:
        one = point([1.0], a=0)
        one.runs[0].__dict__["play_tests"] = []
        assert curves(sweep(one)) is None
        assert sweep_figures(sweep(one)) == {}
