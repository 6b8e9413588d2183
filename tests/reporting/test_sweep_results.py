"""A sweep in the report: its numbers over seeds, its table, its heat map and its curves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from corrtool.reporting.figures import FEW_CELLS
from corrtool.reporting.finished import FinishedRun
from corrtool.reporting.key_numbers import KeyNumber, key_numbers
from corrtool.reporting.logged import PlayTest, TrainingGame
from corrtool.reporting.sweep_figures import MOST_PANELS, curves, heat_map, sweep_figures
from corrtool.reporting.sweep_tables import bounds, caption, sweep_table
from corrtool.reporting.sweeps import NumberKind, PointResult, SweepResults
from corrtool.runs.records import RunRecord
from corrtool.settings.grid import varying


def learnt(name: str, tests: dict[int, float]) -> FinishedRun[Any]:
    record: RunRecord = {"command": f"corrtool learn-corr --name {name} --project /p", "seed": 0}
    run: FinishedRun[Any] = FinishedRun("learn-corr", name, Path(), record)
    run.__dict__["play_tests"] = [PlayTest(at, value) for at, value in tests.items()]
    return run


def point(numbers: list[float], **values: Any) -> PointResult:
    return curve_point([{0: 0.0, 10: number} for number in numbers], **values)


def curve_point(curves: list[dict[int, float]], **values: Any) -> PointResult:
    """A point whose seeds have these play tests, by gradient step."""
    runs = [learnt(f"c{seed}", curve) for seed, curve in enumerate(curves)]
    return PointResult(values, runs, [[*curve.values()][-1] for curve in curves], runs)


def sweep(*points: PointResult, count: int | None = None, less: bool = False) -> SweepResults:
    axes = varying([p.point for p in points])
    kind = NumberKind("learn-corr", "error" if less else "best play test", less_is_better=less)
    finished = sum(len(p.runs) for p in points)
    return SweepResults(
        "s", "learn-corr", axes, [*points], count or len(points), kind, None, finished
    )


def ended_finetuning(returns: list[list[float]]) -> list[FinishedRun[Any]]:
    found = []
    for seed, own in enumerate(returns):
        run: FinishedRun[Any] = FinishedRun("finetune", f"f{seed}", Path(), {"seed": seed})
        run.__dict__["games"] = [TrainingGame(100 * i, value) for i, value in enumerate(own)]
        found.append(run)
    return found


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
        number = next(iter(key_numbers(stage, result)), None)
        assert (None if number is None else number.value) == value
        assert number is None or number.less_is_better == (stage == "train-model")

    def test_a_score_is_no_play_test(self) -> None:
        score, tested = KeyNumber("score", 0.9), KeyNumber("best play test", 0.0)
        assert key_numbers("learn-corr", {"score": {"value": 0.9}}) == [score]
        both = {"best_mean_return": 0.0, "score": {"value": 0.9}}
        assert key_numbers("learn-corr", both) == [tested, score]


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
        assert "2 of 3 points have it." in table.note and "is therefore too good" in table.note
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

    def test_panels_that_have_no_room_are_counted(self) -> None:
        values = [(c, d) for c in range(5) for d in range(5)]
        points = [point([1.0], a=c, b=d, c=c, d=d) for c, d in values]
        whole = heat_map(sweep(*points[:MOST_PANELS]))
        assert whole is not None and whole.get_suptitle() == ""
        figure = heat_map(sweep(*points))
        assert figure is not None and len(figure.axes) == MOST_PANELS + 1  # and the colours
        assert figure.get_suptitle().startswith("the first 24 of 25 panels")

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

    def test_seeds_are_averaged_by_gradient_step(self) -> None:
        """One seed was tested before it learnt, one ended early."""
        curved = curve_point([{0: 9.0, 250: 1.0, 500: 2.0}, {250: 3.0, 500: 6.0, 750: 8.0}], a=0)
        figure = curves(sweep(curved))
        assert figure is not None
        (line,) = figure.axes[0].lines
        assert list(line.get_xdata()) == [250, 500]  # type: ignore[arg-type]
        assert list(line.get_ydata()) == [2.0, 4.0]  # type: ignore[arg-type]

    def test_seeds_without_a_step_in_common_are_lines_of_their_own(self) -> None:
        figure = curves(sweep(curve_point([{0: 1.0, 10: 2.0}, {5: 3.0, 15: 4.0}], a=0)))
        assert figure is not None
        assert [list(line.get_xdata()) for line in figure.axes[0].lines] == [[0, 10], [5, 15]]  # type: ignore[arg-type]
        assert not figure.axes[0].collections

    def test_of_finetuning_by_game(self) -> None:
        tuned = ended_finetuning([[1.0, 3.0], [5.0, 5.0, 5.0]])
        one = point([1.0, 2.0], a=0)
        made = sweep(replace(one, learnt=tuned))
        figure = curves(replace(made, kind=NumberKind("finetune", "games")))
        assert figure is not None
        (line,) = figure.axes[0].lines
        assert list(line.get_xdata()) == [1, 2]  # type: ignore[arg-type]
        assert list(line.get_ydata()) == [3.0, 3.5]  # type: ignore[arg-type]
        assert figure.axes[0].get_xlabel().startswith("games")

    def test_the_best_ones_where_there_are_many(self) -> None:
        made = sweep(*(point([float(a)], a=a) for a in range(MOST_PANELS + 5)))
        figure = curves(made)
        assert figure is not None and len(figure.axes) == FEW_CELLS
        assert figure.axes[0].get_title() == f"a={MOST_PANELS + 5 - FEW_CELLS}, n = 1"

    def test_none_without_play_tests(self) -> None:
        one = point([1.0], a=0)
        one.learnt[0].__dict__["play_tests"] = []
        assert curves(sweep(one)) is None
        assert sweep_figures(sweep(one)) == {}
