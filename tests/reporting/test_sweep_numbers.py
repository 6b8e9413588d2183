"""Which number a sweep is compared by: of which run of its cells, and of which games."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from corrtool.reporting.cell_numbers import cell_numbers
from corrtool.reporting.cells import Cell
from corrtool.reporting.finished import Evaluation, FinishedRun
from corrtool.reporting.rows import evaluation_rows
from corrtool.reporting.sweep_tables import sweep_table
from corrtool.reporting.sweeps import SweepResults, read_sweeps
from corrtool.runs.records import RunRecord
from corrtool.runs.results import StageResult
from corrtool.runs.sweeps import SweepCell, SweepStep, write_sweep

FRESH, PLAY_TEST = "mean return of fresh games", "best play test"
USUAL = {"task": "target", "policy": "q", "games": 30, "epsilon": 0.001, "max_idle_frames": 18_000}


def ended(stage: str, name: str, seed: int = 0, **result: Any) -> FinishedRun[Any]:
    """A finished run; its fingerprint is its name."""
    settings = {key: result.pop(key) for key in list(result) if key in (*USUAL, "sticky")}
    if "sticky" in settings:
        settings["repeat_action_probability"] = settings.pop("sticky")
    record: RunRecord = {
        "stage": stage,
        "name": name,
        "settings": (USUAL if stage == "evaluate" else {}) | settings,
        "tasks": {"target": {"id": "Made-up-v0", "kwargs": {}, "preprocessing": {}, "views": []}},
        "result": cast(StageResult, result),
        "seed": seed,
        "created": name,
        "fingerprint": name,
        "command": f"corrtool {stage} --name {name} --project /p",
    }
    run: FinishedRun[Any] = FinishedRun(stage, name, Path(), record)
    run.__dict__.update(play_tests=[], games=[])
    return run


def games(name: str, mean: float, **settings: Any) -> Evaluation:
    return ended("evaluate", name, mean_return=mean, returns=[mean], **settings)


def step(stage: str, name: str) -> SweepStep:
    return {"stage": stage, "name": name, "fingerprint": name, "produces": []}


def cell(value: int, *steps: SweepStep, seed: int = 0) -> SweepCell:
    return {
        "name": steps[0]["name"] or "",
        "seed": seed,
        "point": {"a": value},
        "settings": {},
        "inputs": {},
        "steps": [*steps],
        "failure": None,
    }


def read(
    root: Path, cells: list[SweepCell], runs: list[FinishedRun[Any]], *evaluated: Cell[Any]
) -> SweepResults | None:
    (root / "sweeps").mkdir(exist_ok=True)
    stage = cells[0]["steps"][0]["stage"]
    write_sweep(
        root,
        {
            "name": "s",
            "stage": stage,
            "command": "corrtool sweep",
            "engine": "local",
            "created": "",
            "cells": cells,
        },
    )
    return next(iter(read_sweeps(root, runs, evaluated)[0]), None)


def by_hand(run: FinishedRun[Any], *evaluations: Evaluation) -> Cell[Any]:
    """A cell of the report with evaluations that were made outside the sweep."""
    return Cell(run.name, [run], evaluation_rows([[*evaluations]], [run.seed], lambda i, e: ""))


def numbers(sweep: SweepResults | None) -> list[list[float]]:
    assert sweep is not None
    return [point.numbers for point in sweep.points]


def learnt(name: str, best: float, seed: int = 0) -> FinishedRun[Any]:
    return ended("learn-corr", name, seed, best_mean_return=best, score={"value": best / 10})


class TestTheLastRunThatHasANumber:
    STAGES = ("learn-corr", "evaluate", "finetune", "evaluate")

    def whole(self, which: int) -> tuple[SweepCell, list[FinishedRun[Any]]]:
        names = [f"{stage}{place}-{which}" for place, stage in enumerate(self.STAGES)]
        runs = [
            learnt(names[0], 1.0 + which),
            games(names[1], 2.0 + which),
            ended("finetune", names[2], mean_return_20=3.0 + which),
            games(names[3], 4.0 + which),
        ]
        return cell(which, *map(step, self.STAGES, names)), runs

    def test_fresh_games_of_the_finetuned_agent(self, tmp_path: Path) -> None:
        (first, own), (second, others) = self.whole(0), self.whole(1)
        sweep = read(tmp_path, [first, second], own + others)
        assert numbers(sweep) == [[4.0], [5.0]] and sweep is not None
        assert sweep.what == f"{FRESH} after finetune"
        assert [run.stage for run in sweep.points[0].learnt] == ["finetune"]  # of the curves
        assert sweep.points[0].runs == own[:1]
        note = sweep_table(sweep).note
        assert note.endswith(
            "Best (a=1): corrtool learn-corr --name learn-corr0-1 && "
            "corrtool finetune --name finetune2-1"
        )
        assert "Fresh games: 30 games, ε 0.001." in note and "too good" not in note
        assert "The best of 2 points was chosen by this number" in note

    @pytest.mark.parametrize(
        ("finished", "value", "what"),
        [
            (4, 4.0, f"{FRESH} after finetune"),
            (3, 3.0, "mean return of the last 20 training games after finetune"),
            (2, 2.0, FRESH),
            (1, 1.0, PLAY_TEST),
        ],
    )
    def test_of_those_that_are_finished(
        self, tmp_path: Path, finished: int, value: float, what: str
    ) -> None:
        own, runs = self.whole(0)
        sweep = read(tmp_path, [own], runs[:finished])
        assert sweep is not None and (numbers(sweep), sweep.what) == ([[value]], what)
        there = [run if place < finished else None for place, run in enumerate(runs)]
        assert cell_numbers(own["steps"], there, {})[0].number.value == value  # as --status says

    def test_an_agent_of_the_target(self, tmp_path: Path) -> None:
        run = ended("train-dqn", "q", task="target", mean_return_20=1.0)
        own = cell(0, step("train-dqn", "q"), step("evaluate", "e"))
        sweep = read(tmp_path, [own], [run, games("e", 7.0)])
        assert sweep is not None and (numbers(sweep), sweep.what) == ([[7.0]], FRESH)

    def test_a_run_of_another_request_counts_nothing(self, tmp_path: Path) -> None:
        own, runs = self.whole(0)
        runs[3].record["fingerprint"] = "another"
        assert numbers(read(tmp_path, [own], runs)) == [[3.0]]


class TestOneKindOfNumberForAll:
    def two(self) -> tuple[list[SweepCell], list[FinishedRun[Any]]]:
        cells = [cell(a, step("learn-corr", f"c{a}"), step("evaluate", f"e{a}")) for a in (0, 1)]
        return cells, [learnt("c0", 1.0), learnt("c1", 2.0)]

    def test_no_point_is_lost_where_only_some_have_fresh_games(self, tmp_path: Path) -> None:
        cells, runs = self.two()
        sweep = read(tmp_path, cells, [*runs, games("e1", 9.0)])
        assert numbers(sweep) == [[1.0], [2.0]] and sweep is not None and sweep.what == PLAY_TEST
        note = sweep_table(sweep).note
        assert (
            "Only 1 of 2 finished runs have the mean return of fresh games (30 games, ε 0.001), "
            "which would be shown if all had it."
        ) in note
        both = read(tmp_path, cells, [*runs, games("e0", 8.0), games("e1", 9.0)])
        assert numbers(both) == [[8.0], [9.0]] and both is not None and both.rather is None

    def test_no_seed_is_lost_either(self, tmp_path: Path) -> None:
        cells = [cell(0, step("learn-corr", f"c{seed}"), seed=seed) for seed in (0, 1)]
        runs = [learnt("c0", 1.0), learnt("c1", 2.0, seed=1)]
        assert numbers(read(tmp_path, cells, runs, by_hand(runs[0], games("e", 5.0)))) == [
            [1.0, 2.0]
        ]

    def test_protocols_are_not_mixed(self, tmp_path: Path) -> None:
        cells, runs = self.two()
        first = by_hand(runs[0], games("e", 5.0), games("f", 6.0, games=100))
        other = by_hand(runs[1], games("g", 7.0, games=100), games("h", 8.0, sticky=0.25))
        sweep = read(tmp_path, cells, runs, first, other)
        assert numbers(sweep) == [[6.0], [7.0]] and sweep is not None
        assert "Fresh games: 100 games, ε 0.001." in sweep_table(sweep).note
        sweep = read(tmp_path, cells, runs, by_hand(runs[0], games("e", 5.0)), other)
        assert numbers(sweep) == [[1.0], [2.0]] and sweep is not None and sweep.what == PLAY_TEST

    def test_the_usual_protocol_without_sticky_actions_comes_first(self, tmp_path: Path) -> None:
        cells, runs = self.two()
        played = [
            by_hand(
                run,
                games(f"s{run.name}", 3.0, sticky=0.25),
                games(f"t{run.name}", 4.0, games=10),
                games(f"u{run.name}", 5.0),
            )
            for run in runs
        ]
        assert numbers(read(tmp_path, cells, runs, *played)) == [[5.0], [5.0]]
        played = [by_hand(run, games(run.name, 3.0, sticky=0.25)) for run in runs]
        sweep = read(tmp_path, cells, runs, *played)
        assert numbers(sweep) == [[3.0], [3.0]] and sweep is not None
        assert "30 games, ε 0.001, sticky actions 0.25." in sweep_table(sweep).note

    def test_what_the_sweep_itself_played_comes_before_that(self, tmp_path: Path) -> None:
        cells, runs = self.two()
        own = [games("e0", 1.5, games=10), games("e1", 2.5, games=10)]
        played = [by_hand(run, games(f"u{run.name}", 5.0)) for run in runs]
        assert numbers(read(tmp_path, cells, [*runs, *own], *played)) == [[1.5], [2.5]]

    def test_a_score_where_only_some_have_play_tests(self, tmp_path: Path) -> None:
        cells, runs = self.two()
        runs[1].result["best_mean_return"] = None
        sweep = read(tmp_path, cells, runs)
        assert numbers(sweep) == [[0.1], [0.2]] and sweep is not None
        assert "With --eval-games 0 it chose the weights" in sweep_table(sweep).note

    def test_what_has_no_number_is_told(self, tmp_path: Path) -> None:
        cells, runs = self.two()
        runs[1].result.update(best_mean_return=None, score=None)
        sweep = read(tmp_path, cells, runs)
        assert numbers(sweep) == [[1.0]] and sweep is not None
        note = sweep_table(sweep).note
        assert "1 of 2 points have it. 1 finished run has no such number." in note
        assert "The best of" not in note

    def test_cells_that_are_no_grid(self, tmp_path: Path) -> None:
        """Those of ``reproduce``: several of one point and seed are no seeds of one thing."""
        cells, runs = self.two()
        cells[1]["point"] = {"a": 0}
        assert read(tmp_path, cells, runs) is None
