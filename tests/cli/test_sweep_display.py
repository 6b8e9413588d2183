"""How a sweep is shown: the table of its cells, lines, and the table of a terminal."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console as RichConsole
from rich.live import Live

from corrtool.cli import sweep_display
from corrtool.cli.sweep_display import Display, cells_table
from corrtool.runtime.console import Console
from corrtool.workflows.sweeps.cells import Cell
from corrtool.workflows.sweeps.planning import PlannedCell
from corrtool.workflows.sweeps.running import Work
from corrtool.workflows.sweeps.status import CellStatus, SweepResult, counted_text, how_far
from corrtool.workflows.sweeps.steps import Step


def cell(name: str, state: Any, **more: Any) -> CellStatus:
    status: dict[str, Any] = {
        **dict.fromkeys(("at", "process", "saved_seconds_ago", "outcome", "failure", "paused")),
        "name": name,
        "state": state,
        "settings": {},
        "seed": 0,
        "grid": {"lambda_q": float(len(name))},
        "steps": [{"stage": "learn-corr", "name": name, "state": state}],
    }
    return status | more  # type: ignore[return-value]


def result(*cells: CellStatus) -> SweepResult:
    return {
        "sweep": "s",
        "stage": "learn-corr",
        "command": "",
        "engine": "local",
        "cells": [*cells],
    }


def rendered(table: Any, width: int = 100) -> str:
    console = RichConsole(file=io.StringIO(), width=width)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_tells_what_a_person_wants_to_know_of_each_cell() -> None:
    text = rendered(
        cells_table(
            result(
                cell("a", "done", outcome={"what": "score", "value": 0.51234}),
                cell("bb", "running", at="3/4 gradient steps", process="process 1 on here"),
                cell("ccc", "interrupted", saved_seconds_ago=200.0),
                cell("dddd", "failed", failure="it became nan"),
                cell("eeeee", "missing", at="3/4 gradient steps"),
                cell("ffffff", "paused", paused="score 0.1", saved_seconds_ago=9.0),
            )
        )
    )
    assert "s: 6 cells: 1 done, 1 running, 1 interrupted, 1 paused, 1 failed, 1 missing" in text
    assert "0.5123" in text and "score" in text and "lambda-q=1" in text
    assert "learn-corr, 3/4 gradient steps, process 1 on here" in text
    assert "learn-corr, saved 3 min ago" in text and "it became nan" in text
    assert "score 0.1" in text
    assert "seed" not in text
    rows = [line.split()[:2] for line in text.splitlines()]
    assert all([str(i), name] in rows for i, name in enumerate(("a", "bb", "ccc", "dddd", "eeeee")))
    assert "#" not in rendered(cells_table(result(cell("a", "done"))))


def test_a_cell_without_a_name_is_called_by_its_values_once() -> None:
    named = cell("lambda-q=1 seed=0", "missing"), cell("lambda-q=2 seed=0", "missing")
    named[1]["grid"] = {"lambda_q": 2.0}
    text = rendered(cells_table(result(*named)))
    assert text.count("lambda-q=") == 2


def test_of_outcomes_of_several_kinds_each_says_its_own() -> None:
    games, score = ({"what": what, "value": 1.0} for what in ("games", "score"))
    text = rendered(
        cells_table(result(cell("a", "done", outcome=games), cell("b", "done", outcome=score)))
    )
    assert "1 games" in text and "1 score" in text and "outcome" in text
    assert counted_text([cell("a", "done")]) == "1 cell: 1 done"


def test_how_far_a_command_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert how_far(None) is None and how_far(log) is None
    log.write_text(
        "learn-corr: q is Q-function a\n"
        "learn-corr x: 1/40 gradient steps, 2.0/s, 0:10 left, gan 0.2\n"
        "learn-corr x: 1,200/4,000 gradient steps, 2.0/s, 0:10 left\n"
        "the games of play tests chose it\n"
    )
    assert how_far(log) == "1,200/4,000 gradient steps"


class Job:
    host = "here"

    def poll(self) -> int | None:
        return None

    def signal(self, number: int) -> None:
        pass


def work(tmp_path: Path) -> Work:
    from corrtool.stages.registry import STAGES
    from corrtool.workflows.call import call_with

    call = call_with(STAGES["learn-corr"], {"seed": 0})
    step = Step(call, "cell-1", "f", {}, (), {})
    return Work(PlannedCell(Cell({}, call), [step]), tmp_path, state="running", job=Job())


def test_lines_without_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_display, "_SAYS_SECONDS", 0.0)
    one = work(tmp_path)
    with Display(Console()) as display:
        display.begun(one.step, "here")
        display.tick([one])
        display.tick([one])  # nothing new
        display.interrupted(one.step, -9)
        display.failed(one, "it broke")
        display.paused(one, "score 0.1")
    assert capsys.readouterr().err.splitlines() == [
        "begun: learn-corr cell-1, on here",
        "1 cell: 1 running",
        "interrupted: learn-corr cell-1 (exit code -9); it goes on",
        "failed: cell-1: it broke",
        "paused: learn-corr cell-1: score 0.1",
    ]
    with Display(Console(quiet=True)) as display:
        display.begun(one.step, "here")
    assert not capsys.readouterr().err


def test_the_time_of_a_run_is_that_of_its_whole_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process takes seconds to start, which its run does not count."""
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    one = work(tmp_path).step
    silent = {"learn-corr": SimpleNamespace(result_lines=lambda result: [])}
    monkeypatch.setattr(sweep_display, "STAGES", silent)
    record: Any = {"seconds": 17.0, "seed": 0, "settings": {}, "result": {}}
    with Display(Console()) as display:
        display.begun(one, "here")
        now = 125.0
        display.ended(one, record, here=True)
        display.ended(one, record, here=True)  # nobody saw it begin
    told = capsys.readouterr().err.splitlines()
    assert told[1:] == ["done: learn-corr cell-1, 25 s", "done: learn-corr cell-1, 17 s"]


def test_a_table_in_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_display, "_REFRESH_SECONDS", 0.0)
    out = io.StringIO()
    console = RichConsole(file=out, force_terminal=True, width=100)
    display = Display(Console())
    display._live = Live(console=console, auto_refresh=False, transient=True)
    one = work(tmp_path)
    with display:
        display.begun(one.step, "here")
        display.tick([one])
    text = out.getvalue()
    assert "begun: learn-corr cell-1, on here" in text
    assert "1 cell: 1 running" in text and "begins" in text and "here" in text
