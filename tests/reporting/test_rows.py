"""Which evaluations share a row of the report's tables.

The records are made up by hand, or of one real project.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.commands import run_in_process

from corrtool.project.directory import Project
from corrtool.reporting.cells import OWN_TASK, RANDOM_PLAY, REUSE, Cell
from corrtool.reporting.evaluations import (
    Protocol,
    format_bounds,
    format_counts,
    format_interval,
    format_mean,
)
from corrtool.reporting.figures import _baseline
from corrtool.reporting.finished import Evaluation, FinishedRun
from corrtool.reporting.results import _thresholds, read_results
from corrtool.reporting.rows import Row, evaluation_rows, interval_of_all
from corrtool.reporting.tables import _reached
from corrtool.runs.records import RunRecord
from corrtool.runs.results import EvaluateResult
from corrtool.statistics import Interval, TransferMetrics
from corrtool.tasks.task import TaskDescription

NUMBERS = itertools.count()


def task_with_sticky_actions(probability: float, **kwargs: Any) -> TaskDescription:
    return {
        "id": "Made-up-v0",
        "kwargs": kwargs,
        "preprocessing": {"repeat_action_probability": probability},
        "views": [],
    }


def result_of(returns: list[float]) -> EvaluateResult:
    """The part of a result that is compared; the report has the rest from the settings."""
    part = {
        "returns": returns,
        "mean_return": sum(returns) / len(returns),
        "distinct_games": len(returns),
    }
    return cast(EvaluateResult, part)


def played(returns: list[float], seed: int = 0, q: str = "own", **settings: Any) -> Evaluation:
    """An evaluation, later than those made before it."""
    number, task = next(NUMBERS), task_with_sticky_actions(0.0)
    usual = {
        "task": "target",
        "policy": "q",
        "games": 30,
        "epsilon": 0.001,
        "max_idle_frames": 18_000,
    }
    record: RunRecord = {
        "settings": usual | {"repeat_action_probability": None} | settings,
        "tasks": {"target": task, "source": task},
        "result": result_of(returns),
        "seed": seed,
        "created": f"{number:09}",
        "fingerprint": str(number),
        "parents": {"q": {"kind": "q", "name": q, "sha256": q}},
    }
    return FinishedRun("evaluate", str(number), Path(), record)


def rows(*by_run: list[Evaluation], seeds: list[int] | None = None) -> list[Row]:
    def otherwise(index: int, run: Evaluation) -> str:
        name = run.record["parents"]["q"]["name"]
        return "" if name == "own" else f"with Q {name}"

    return evaluation_rows(list(by_run), list(seeds or range(len(by_run))), otherwise)


def means(row: Row) -> tuple[list[float | None], list[float | None]]:
    plain, sticky = (
        [None if run is None else run.result["mean_return"] for run in column]
        for column in (row.plain, row.sticky)
    )
    return plain, sticky


def test_a_row_keeps_its_protocol_whatever_is_played_later() -> None:
    found = rows([played([9.4]), played([21.15], epsilon=1.0, games=40), played([5.0], q="q2")])
    assert [means(row) for row in found] == [([9.4], [None]), ([21.15], [None]), ([5.0], [None])]
    assert [row.described() for row in found] == [
        "30 games, ε 0.001",
        "40 games, ε 1",
        "30 games, ε 0.001",
    ]
    assert [row.deviation for row in found] == ["", "", "with Q q2"]


def test_the_usual_protocol_comes_first_and_otherwise_what_was_played_first() -> None:
    few, many, usual = played([1.0], games=10), played([2.0], games=50), played([3.0])
    assert [means(row)[0] for row in rows([few, many, usual])] == [[3.0], [1.0], [2.0]]
    assert [means(row)[0] for row in rows([few, many])] == [[1.0], [2.0]]


def test_sticky_actions_of_a_quarter_stand_beside_the_same_protocol_without() -> None:
    sticky = played([7.0], repeat_action_probability=0.25)
    found = rows([sticky, played([9.0]), played([3.0], repeat_action_probability=0.1)])
    assert [means(row) for row in found] == [([9.0], [7.0]), ([3.0], [None])]
    assert found[1].described() == "30 games, ε 0.001, sticky actions 0.1"
    (row,) = rows([played([8.0], repeat_action_probability=0.25, games=10)])
    assert means(row) == ([None], [8.0])


def test_what_the_task_says_of_sticky_actions_counts_where_the_evaluation_says_nothing() -> None:
    settings = {"policy": "q", "epsilon": 0.001, "games": 30}
    task = task_with_sticky_actions(0.25)
    assert Protocol.of(settings, task).sticky == 0.25
    assert Protocol.of(settings | {"repeat_action_probability": 0.0}, task).sticky == 0.0
    stickier = task_with_sticky_actions(0.25, repeat_action_probability=0.5)
    assert Protocol.of(settings, stickier).sticky == 0.5
    silent = cast(TaskDescription, {"preprocessing": {}})  # as a record by somebody else may be
    assert Protocol.of(settings, silent).sticky == 0.0
    assert Protocol.of(settings | {"policy": "random"}, task).epsilon is None


def test_a_cell_of_several_seeds_has_one_evaluation_of_each() -> None:
    first, second = [played([10.0]), played([4.0], seed=7)], [played([20.0], seed=1)]
    found = rows(first, second)
    assert [means(row)[0] for row in found] == [[10.0, 20.0], [4.0, None]]
    assert [row.seeds for row in found] == [[], [7]]
    interval = interval_of_all(found[0].plain)
    assert interval is not None and (interval.mean, interval.over, interval.count) == (
        15.0,
        "seeds",
        2,
    )
    assert interval.bounds == pytest.approx((15 - 63.53, 15 + 63.53), abs=0.01)  # 12.706 · 5
    again = rows([played([4.0], seed=7), played([10.0])], [played([20.0], seed=1)])
    assert [means(row)[0] for row in again] == [
        [10.0, 20.0],
        [4.0, None],
    ]  # the run's own seed comes first


def test_an_evaluation_under_another_name_is_the_same_one() -> None:
    one = played([1.0])
    assert len(rows([one, replace(one, name="again")])) == 1


def test_what_was_played_with_another_q_leaves_the_cells_own_row_empty() -> None:
    found = rows([played([5.0], q="q2")])
    assert [means(row)[0] for row in found] == [[None], [5.0]]
    assert found[0].described() == "–"


def test_intervals_are_shown_with_what_they_rest_on() -> None:
    assert format_interval(Interval(20.0, None, "games", 30, 4)) == "20.0 –, 30 games, 4 distinct"
    assert (
        format_interval(Interval(19.98, (19.92, 20.04), "seeds", 5)) == "20.0 [19.9, 20.0], 5 seeds"
    )
    small = Interval(-0.0312, (-0.04, 0.02), "games", 30)
    assert format_bounds(small) == "[-0.04, 0.02]" and format_mean(small) == "-0.0312"
    large = Interval(1.25e38, (1e38, 1.5e38), "games", 30)
    assert format_bounds(large) == "[1e+38, 1.5e+38]" and format_mean(large) == "1.25e+38"
    assert format_mean(Interval(0.0, (-1.0, 1.0), "games", 30)) == "0.0"
    assert format_counts(Interval(1.0, None, "games", 1, 1)) == "1 game, 1 distinct"


def test_what_takes_more_steps_than_from_scratch_says_so() -> None:
    def curve(steps: int) -> list[TransferMetrics]:
        return [TransferMetrics(0.0, 0.0, {18.0: 20}, {18.0: steps})]

    scratch = curve(1_000)
    assert _reached(curve(250), scratch, 18.0) == "20 (250; saves 75%)"
    assert _reached(curve(4_840), scratch, 18.0) == "20 (4,840; needs 384% more)"
    assert _reached(scratch, scratch, 18.0) == "20 (1,000)"


def test_thresholds_are_those_of_the_tasks_at_hand() -> None:
    def thresholds(
        source: list[float], random: list[float] | None, identifier: str = "CartPole-v1"
    ) -> tuple[float, ...]:
        project: Any = SimpleNamespace(task=lambda role: SimpleNamespace(id=identifier))
        evaluation = played(source, task="source")
        baselines = {} if random is None else {RANDOM_PLAY: rows([played(random, policy="random")])}
        return _thresholds(project, [evaluation], baselines)

    assert thresholds([500.0], [20.0]) == (
        140.0,
        260.0,
        450.0,
    )  # 20 + 480 · (¼, ½, 0.9) = 140, 260, 452
    assert thresholds([-80.0], [-500.0]) == (-400.0, -290.0, -120.0)  # -395, -290, -122
    assert thresholds([500.0], None) == () == thresholds([20.0], [20.0])
    assert thresholds([20.0], [-20.0], "ALE/Pong-v5") == (0.0, 10.0, 18.0)


def test_a_figure_shows_a_baseline_as_the_table_has_it_first() -> None:
    baselines = {REUSE: rows([played([3.0], q="other"), played([7.0]), played([9.0], epsilon=1.0)])}
    results: Any = SimpleNamespace(baselines=baselines)
    assert _baseline(results, REUSE) == 7.0
    assert _baseline(results, RANDOM_PLAY) is None


def table(
    lab: Path, capsys: pytest.CaptureFixture[str], name: str, *flags: object
) -> dict[str, Any]:
    assert run_in_process("report", "-p", lab, "--json", *flags) == 0
    return next(
        t for t in json.loads(capsys.readouterr().out)["tables"] if t["title"].startswith(name)
    )


def test_the_report_of_a_real_project_of_vectors(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole("permute:2,3,0,1")
    tiny = ("-p", lab, "--preset", "tiny", "--quiet")
    for command in (
        ("train-dqn", "--env-steps", 700), ("collect",), ("train-model",),
        ("learn-corr", "--name", "c"),
        ("train-dqn", "--name", "q2", "--seed", 1),
        ("finetune", "--env-steps", 5, "--q", "source-dqn"),
        ("finetune", "--from-scratch", "--env-steps", 700),
    ):  # fmt: skip
        assert run_in_process(*command, *tiny) == 0, command
    capsys.readouterr()

    def evaluate(*flags: object) -> str:
        assert run_in_process("evaluate", "-p", lab, "--json", *flags) == 0
        return f"{json.loads(capsys.readouterr().out)['mean_return']:.1f}"

    own = evaluate("--corr", "c")
    others = [
        evaluate("--corr", "c", "--epsilon", 1, "--games", 40),
        evaluate("--corr", "c", "--q", "q2"),
    ]
    at_home = evaluate("--task", "source", "--q", "source-dqn")
    noise = evaluate("--corr", "c", "--repeat-action-probability", 0.25)
    reused, reused_other = (
        evaluate("--no-corr", "--q", "source-dqn"),
        evaluate("--no-corr", "--q", "q2"),
    )
    zero_shot = table(lab, capsys, "Zero-shot")
    assert (
        "in the paper" not in zero_shot["columns"]
        and "angle: start → best" not in zero_shot["columns"]
    )
    place = [
        zero_shot["columns"].index(name)
        for name in ("who plays", "fresh games", "sticky actions 0.25")
    ]
    shown = [[row[i].split(" ")[0] if i else row[0] for i in place] for row in zero_shot["rows"]]
    assert [row[1:] for row in shown] == [
        [at_home, "–"],
        [reused, "–"],
        [reused_other, "–"],
        [own, noise],
        *([m, "–"] for m in others),
    ]
    assert shown[0][0] == OWN_TASK  # the yardstick
    assert shown[2][0].endswith("with Q q2") and shown[5][0].endswith("with Q q2")

    learning = table(lab, capsys, "Learning on the target")
    assert [row[0] for row in learning["rows"]] == ["from scratch"]  # five steps finish no game
    assert not any(column.startswith("games (env steps)") for column in learning["columns"])
    assert "games (env steps) to 12" in table(lab, capsys, "Learning", "--threshold", 12)["columns"]
    agent, random = (
        float(evaluate("--task", "source", "--q", "source-dqn")),
        float(evaluate("--policy", "random")),
    )
    thresholds = read_results(Project(lab)).thresholds
    if agent > random:  # 700 steps may have learnt nothing
        assert thresholds[0] == pytest.approx(random + 0.25 * (agent - random), rel=0.06)
    else:
        assert thresholds == ()
    models = table(lab, capsys, "Environment models")
    assert not any("newest frame" in column for column in models["columns"])
    assert run_in_process("report", "-p", lab, "--threshold", "nan") == 2


def test_cells_without_evaluations_have_a_row_of_dashes() -> None:
    (row,) = rows([], [])
    assert row.plain == row.sticky == [None, None] and row.described() == "–"
    assert interval_of_all(row.plain) is None and Cell("").rows == []
