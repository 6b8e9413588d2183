"""The suite from its pairs to its tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict

from corrtool.errors import UsageError
from corrtool.experiments.pairs import Pair
from corrtool.files.atomic import write_atomic
from corrtool.files.sealed import read_sealed_json, seal_json
from corrtool.project.directory import PROJECT_FILE
from corrtool.reporting.figures import encode
from corrtool.reporting.suite import (
    MethodSummary,
    PairResult,
    Played,
    below_reuse,
    summaries,
)
from corrtool.reporting.suite_figure import suite_figure
from corrtool.reporting.suite_tables import (
    controls_table,
    methods_table,
    pairs_table,
    returns_table,
)
from corrtool.workflows.suites.methods import METHODS, OURS
from corrtool.workflows.suites.projects import Cell, Suite

TABLES, NUMBERS, FIGURE = "suite.md", "suite.json", "suite.png"
PRESET = "preset.json"  # with which all of a suite is played


class SuiteCell(TypedDict):
    """A cell, and whether its games are played."""

    pair: str
    seed: int
    method: str
    state: Literal["done", "missing", "failed"]
    failure: str | None


class SuiteResult(TypedDict):
    """What ``reproduce suite --json`` prints, for ``--dry-run`` and ``--status`` as well.

    Attributes:
        below_reuse: the pairs on which ``ours`` is more than 0.05 below reuse.
        files: what was written; nothing by ``--dry-run``, ``--status`` and ``--engine slurm``.
        jobs: the ids that were submitted, with ``--engine slurm``.
    """

    suite: str
    preset: str
    cells: list[SuiteCell]
    played: list[Played]
    methods: list[MethodSummary]
    below_reuse: list[str]
    files: list[str]
    jobs: NotRequired[list[str]]


@dataclass(frozen=True)
class PlannedSuite:
    """A suite and its cells.

    Attributes:
        methods: which are played, ``ours`` first.
    """

    suite: Suite
    pairs: list[Pair]
    seeds: range
    methods: tuple[str, ...]
    preset: str = "default"

    def check(self) -> None:
        """Check that the directory is one, and played with the same preset.

        Raises :class:`UsageError`.
        """
        root, path = self.suite.root, self.suite.root / PRESET
        if root.exists() and not root.is_dir():
            raise UsageError(f"{root} is a file", "give another --project")
        if (root / PROJECT_FILE).exists():
            raise UsageError(
                f"{root} is a project of one pair", "give the suite a --project of its own"
            )
        if path.exists():
            mend = "remove it, and give the --preset that it was played with"
            with_preset = read_sealed_json(path, mend)["preset"]
            if with_preset != self.preset:
                raise UsageError(
                    f"{root} was played with the preset {with_preset}, not {self.preset}",
                    f"give --preset {with_preset}, or another --project",
                )

    def begin(self) -> None:
        """Write down the preset. Raises :class:`UsageError` as :meth:`check` does."""
        self.check()
        write_atomic(self.suite.root / PRESET, seal_json({"preset": self.preset}))

    @property
    def cells(self) -> list[Cell]:
        """Seeds slowest, so that every pair has its first seed before any has its second."""
        return [
            Cell(pair, seed, method)
            for seed in self.seeds
            for pair in self.pairs
            for method in self.methods
            if method == OURS or not pair.control
        ]

    def results(self) -> list[PairResult]:
        """What was played of each pair."""
        found = []
        for pair in self.pairs:
            played = [one for seed in self.seeds for one in self.suite.played(pair, seed)]
            found.append(PairResult(pair.name, pair.difference, pair.control, played, pair.is_view))
        return found

    def status(self, failures: Mapping[Cell, str]) -> SuiteResult:
        """The state of each cell, and what came of those that are done."""
        results = self.results()
        done = {(p["pair"], p["seed"], m) for r in results for p in r.played for m in p["means"]}
        cells: list[SuiteCell] = []
        for cell in self.cells:
            is_done = (cell.pair.name, cell.seed, cell.method) in done
            failure = failures.get(cell)
            state = "done" if is_done else "missing" if failure is None else "failed"
            cells.append(
                {
                    "pair": cell.pair.name,
                    "seed": cell.seed,
                    "method": cell.method,
                    "state": state,  # type: ignore[typeddict-item]  # one of the three
                    "failure": failure,
                }
            )
        return {
            "suite": str(self.suite.root),
            "preset": self.preset,
            "cells": cells,
            "played": [one for result in results for one in result.played],
            "methods": summaries(results, self.methods),
            "below_reuse": below_reuse(results),
            "files": [],
        }

    def write(self, status: SuiteResult) -> SuiteResult:
        """Write the tables, the numbers and the figure of what is played so far."""
        root, results = self.suite.root, self.results()
        tables = [
            methods_table(status["methods"]),
            pairs_table(results, self.methods),
            returns_table(results, self.methods),
            controls_table(results),
        ]
        head = [f"# The suite, preset {self.preset}", "", f"{counted(status)}.", ""]
        head += [_failure_line(cell) for cell in status["cells"] if cell["failure"] is not None]
        parts = ["\n".join(head), *(t.to_markdown() for t in tables if t.rows)]
        files = {
            TABLES: "\n".join(parts).encode(),
            FIGURE: encode(suite_figure(results, self.methods), "png"),
        }
        paths = [root / name for name in (*files, NUMBERS)]
        told: SuiteResult = {**status, "files": [str(path) for path in paths]}
        for name, content in files.items():
            write_atomic(root / name, content)
        write_atomic(root / NUMBERS, (json.dumps(told, indent=1) + "\n").encode())
        return told


def counted(status: SuiteResult) -> str:
    """``26 cells: 25 done, 1 failed``."""
    states = [cell["state"] for cell in status["cells"]]
    counted = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
    return f"{len(states):,} cells: {counted}"


def _failure_line(cell: SuiteCell) -> str:
    return f"- {cell['pair']}, seed {cell['seed']}, {cell['method']}: {cell['failure']}"


def choose_methods(names: Sequence[str]) -> tuple[str, ...]:
    """The methods of these names, all where there is none; ``ours`` always, whose inputs they take.

    Raises :class:`UsageError` for another name.
    """
    for name in names:
        if name not in METHODS:
            raise UsageError(f"there is no method {name!r}", f"choose from {', '.join(METHODS)}")
    return tuple(m for m in METHODS if not names or m == OURS or m in names)
