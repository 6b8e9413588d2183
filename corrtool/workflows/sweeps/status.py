"""The state of each cell of a sweep, from its manifest and the project's runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from corrtool.errors import ArtifactError
from corrtool.reporting.cell_numbers import cell_numbers
from corrtool.reporting.finished import FinishedRun
from corrtool.reporting.key_numbers import KeyNumber
from corrtool.runs.commands import without_options
from corrtool.runs.standing import Standing, standing_of
from corrtool.runs.sweeps import CellState, SweepCell, SweepManifest, SweepStep, log_path
from corrtool.settings.grid import Value
from corrtool.workflows.sweeps.planning import state_of_steps
from corrtool.workflows.sweeps.running import log_tail

# Those that a command lacks that goes on with all cells, with how many words are behind each.
_NOT_PROMOTING = {"--prune": 0, "--prune-by": 1, "--prune-after": 1, "--dry-run": 0, "--json": 0}
_ORDER: tuple[CellState, ...] = ("done", "running", "interrupted", "paused", "failed", "missing")


class StepStatus(TypedDict):
    """A run of a cell; ``name`` is None as long as what it reads is not there."""

    stage: str
    name: str | None
    state: str


class Outcome(TypedDict):
    """What a cell came to, in one number."""

    what: str
    value: float


class CellStatus(TypedDict):
    """A cell as ``sweep --json`` lists it.

    Attributes:
        settings: all of its first run.
        grid: those that the grid gives it.
        at: how far the run is that goes on or was interrupted, such as ``120/600 gradient steps``.
        process: who writes it right now.
        saved_seconds_ago: the age of its newest checkpoint.
        outcome: of the last of its runs that has one.
        failure: what was said when it failed.
        paused: why it waits.
    """

    name: str
    state: CellState
    settings: dict[str, Any]
    seed: int
    grid: dict[str, Value]
    steps: list[StepStatus]
    at: str | None
    process: str | None
    saved_seconds_ago: float | None
    outcome: Outcome | None
    failure: str | None
    paused: str | None


class SweepResult(TypedDict):
    """What ``sweep --json`` prints, for ``--dry-run`` and ``--status`` as well.

    Attributes:
        jobs: the ids of the jobs that were submitted, one for each cell that was not done.
        promote: the command that goes on with the cells that are paused, where there are some.
    """

    sweep: str
    stage: str
    command: str
    engine: str
    cells: list[CellStatus]
    dry_run: NotRequired[bool]
    jobs: NotRequired[list[str]]
    promote: NotRequired[str]


def sweep_status(root: Path, manifest: SweepManifest) -> SweepResult:
    """The state of every cell of a sweep of the project in ``root``.

    What its runs made is not read: ``verify`` does that.
    """
    cells = [_cell(root, manifest["name"], cell) for cell in manifest["cells"]]
    result: SweepResult = {
        "sweep": manifest["name"],
        "stage": manifest["stage"],
        "command": manifest["command"],
        "engine": manifest["engine"],
        "cells": cells,
    }
    if any(cell["state"] == "paused" for cell in cells):
        result["promote"] = without_options(manifest["command"], _NOT_PROMOTING)
    return result


def counts(cells: Sequence[CellStatus]) -> dict[CellState, int]:
    """How many cells are in each state, the best first."""
    counted = Counter(cell["state"] for cell in cells)
    return {state: counted[state] for state in _ORDER if counted[state]}


def counted_text(cells: Sequence[CellStatus]) -> str:
    """``6 cells: 4 done, 2 running``."""
    parts = [f"{count} {state}" for state, count in counts(cells).items()]
    noun = "cell" if len(cells) == 1 else "cells"
    return f"{len(cells):,} {noun}: {', '.join(parts)}"


def _cell(root: Path, sweep: str, cell: SweepCell) -> CellStatus:
    failure, standings = cell["failure"], list[Standing]()
    for step in cell["steps"]:
        try:
            standings.append(_standing(root, step))
        except ArtifactError as error:
            failure = str(error)
            standings.append(Standing("other"))
    states = ["interrupted" if s.state == "other" else s.state for s in standings]
    paused = cell.get("paused")
    state = state_of_steps(states, failure, paused)
    number = _number(cell["steps"], standings)
    now = next((i for i, s in enumerate(standings) if s.state != "done"), None)
    under_way = None if now is None else standings[now]
    return {
        "name": cell["name"],
        "state": state,
        "settings": cell["settings"],
        "seed": cell["seed"],
        "grid": cell["point"],
        "steps": [
            {"stage": step["stage"], "name": step["name"], "state": stands}
            for step, stands in zip(cell["steps"], states, strict=True)
        ],
        "at": None if now is None else how_far(_log(root, sweep, cell["steps"][now])),
        "process": None if under_way is None else under_way.holder,
        "saved_seconds_ago": None if under_way is None else under_way.saved_seconds_ago,
        "outcome": None if number is None else {"what": number.what, "value": number.value},
        "failure": None if state == "done" else failure,
        "paused": paused if state == "paused" else None,
    }


def _standing(root: Path, step: SweepStep) -> Standing:
    """Where a run stands; one that nobody could plan yet is missing."""
    if step["name"] is None or step["fingerprint"] is None:
        return Standing("missing")
    return standing_of(root, step["stage"], step["name"], step["fingerprint"], step["produces"])


def _number(steps: Sequence[SweepStep], standings: Sequence[Standing]) -> KeyNumber | None:
    """The number of a cell that counts, of its own runs that are done."""
    runs: list[FinishedRun[Any] | None] = [
        FinishedRun(step["stage"], step["name"] or "", Path(), standing.record)
        if standing.state == "done" and standing.record is not None
        else None
        for step, standing in zip(steps, standings, strict=True)
    ]
    return next((found.number for found in cell_numbers(steps, runs, {})), None)


def _log(root: Path, sweep: str, step: SweepStep) -> Path | None:
    return None if step["name"] is None else log_path(root, sweep, step["name"], step["stage"])


_PROGRESS = re.compile(r"^\S+ \S+: ([\d,]+/[\d,]+ [a-z][a-z ]*)")


def how_far(log: Path | None) -> str | None:
    """How far a command was when it last said so."""
    found = [matched[1] for line in log_tail(log) if (matched := _PROGRESS.match(line))]
    return found[-1] if found else None
