"""``corrtool reproduce suite``: its options, and what it prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corrtool.cli.engines import EngineChoice
from corrtool.errors import CorrtoolError, UsageError
from corrtool.settings.base import SYNONYMS

if TYPE_CHECKING:
    from rich.table import Table

    from corrtool.reporting.suite import Played
    from corrtool.runtime.console import Console
    from corrtool.workflows.suites.projects import Cell
    from corrtool.workflows.suites.suite import PlannedSuite, SuiteResult
    from corrtool.workflows.sweeps.running import Limits
    from corrtool.workflows.sweeps.slurm import Resources

PairsOption = Annotated[
    str | None,
    typer.Option(
        "--pairs",
        help="Of the suite: pairs, such as cartpole/padded, or all of a source, such as cartpole; "
        "with commas.",
        metavar="NAME,…",
        show_default="all",
    ),
]
MethodsOption = Annotated[
    str | None,
    typer.Option(
        "--methods",
        help="Of the suite: what plays beside ours, which is corrtool transfer: gan, cyclegan, "
        "paper (the paper's networks and all its losses), scratch; with commas.",
        metavar="NAME,…",
        show_default="all",
    ),
]
KnownOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--known",
        help="Of the suite: the suite.json of another machine, whose cells are not played again "
        "and are in the tables; may be repeated.",
        metavar="FILE",
        show_default="none",
    ),
]
FirstSeedOption = Annotated[
    int | None,
    typer.Option("--first-seed", help="Of the suite: the first seed.", min=0, show_default="0"),
]


@dataclass(frozen=True)
class SuiteChoice:
    """What the command line says of the suite alone; None where it says nothing."""

    pairs: str | None = None
    methods: str | None = None
    first_seed: int | None = None
    known: list[Path] | None = None

    def check_unused(self) -> None:
        """Raise :class:`UsageError` where something is said without a suite."""
        said: dict[str, object] = {
            "--pairs": self.pairs,
            "--methods": self.methods,
            "--first-seed": self.first_seed,
            "--known": self.known or None,
        }
        for flag, value in said.items():
            if value is not None:
                raise UsageError(f"{flag} is of the suite", "leave it out")

    def of(
        self, directory: Path, seeds: int, device: str | None, preset: str | None
    ) -> PlannedSuite:
        """The suite in a directory. Raises :class:`UsageError` for what is not there."""
        from corrtool.experiments.pairs import choose_pairs
        from corrtool.reporting.suite import read_numbers
        from corrtool.workflows.suites.projects import Suite
        from corrtool.workflows.suites.suite import PlannedSuite, choose_methods

        said = {"--device": device, "--preset": preset}
        options = [w for flag, value in said.items() if value is not None for w in (flag, value)]
        first, known = self.first_seed or 0, list["Played"]()
        named = SYNONYMS.get(preset or "default", preset or "default")
        for path in self.known or []:
            with_preset, played = read_numbers(path)
            if with_preset != named:
                raise UsageError(
                    f"{path} was played with the preset {with_preset}, not {named}",
                    f"give --preset {with_preset}, or leave it out",
                )
            known += played
        return PlannedSuite(
            Suite(directory.absolute(), tuple(options), tuple(known)),
            choose_pairs(_names(self.pairs)),
            range(first, first + seeds),
            choose_methods(_names(self.methods)),
            named,
        )

    def run(
        self,
        console: Console,
        planned: PlannedSuite,
        on: EngineChoice,
        limits: Limits,
        device: str | None,
        *,
        only_shown: bool,
    ) -> None:
        """Play what is missing, write the tables, and print them; or print what there is.

        With an engine that submits, say what was submitted instead.

        Raises:
            CorrtoolError: a cell is not done in the end.
        """
        from corrtool.workflows.suites.running import SuiteRunner
        from corrtool.workflows.sweeps.sweep import stage_variables

        planned.check()
        resources = on.resources(check=not only_shown)
        result = planned.status({})
        if only_shown:
            console.result(result, _cells(result))
            return
        told = zip(planned.cells, result["cells"], strict=True)
        missing = [cell for cell, state in told if state["state"] != "done"]
        if resources is not None:
            self._submit(console, planned, missing, limits, resources, on.jobs)
            return
        planned.begin()
        with on.begun(len(missing), device, stage_variables()) as engine:
            console.say(
                f"suite in {planned.suite.root}: {len(missing):,} of {len(planned.cells):,} cells "
                f"to do, {engine}"
            )
            runner = SuiteRunner(planned.suite, engine, limits, console.say)
            runner.run(missing)
            failures = runner.failures
        result = planned.write(planned.status(failures))
        console.result(result, _shown(result))
        if result["below_reuse"]:
            console.say(f"ours is below reuse on {', '.join(result['below_reuse'])}")
        console.say_all(result["files"])
        if failures:
            cell, line = next(iter(failures.items()))
            raise CorrtoolError(
                f"{len(failures)} of {len(planned.cells)} cells failed; the first, {cell}, said: "
                f"{line}",
                "the same command tries them again",
            )

    def _submit(
        self,
        console: Console,
        planned: PlannedSuite,
        missing: Sequence[Cell],
        limits: Limits,
        resources: Resources,
        jobs: int | None,
    ) -> None:
        """Submit what is missing, and say how to look at it later."""
        from corrtool.workflows.suites.submission import FOLDER, submit_suite

        if not missing:
            done: SuiteResult = {**planned.status({}), "jobs": []}
            console.result(done, ["all cells of the suite are done: there is nothing to submit"])
            return
        ids = submit_suite(planned, missing, self.known or [], limits, resources, jobs)
        root, said = planned.suite.root, ids[0] if len(ids) == 1 else f"{ids[0]} … {ids[-1]}"
        lines = [
            f"suite in {root}: submitted {len(missing):,} of {len(planned.cells):,} cells in "
            f"{len(ids):,} tasks, as {said}",
            f"what they say is in {root / FOLDER}/*.log; how far they are, the same command with "
            "--status says",
        ]
        result: SuiteResult = {**planned.status({}), "jobs": ids}
        console.result(result, lines)


def _names(text: str | None) -> list[str]:
    return [] if text is None else [name.strip() for name in text.split(",")]


def _cells(result: SuiteResult) -> Table:
    """How many seeds of each pair and method are done, of how many."""
    from rich.table import Table

    from corrtool.workflows.suites.suite import counted

    methods = list(dict.fromkeys(cell["method"] for cell in result["cells"]))
    table = Table("pair", *methods, title=counted(result), title_justify="left")
    for pair in dict.fromkeys(cell["pair"] for cell in result["cells"]):
        row = []
        for method in methods:
            of = [c for c in result["cells"] if (c["pair"], c["method"]) == (pair, method)]
            done = sum(cell["state"] == "done" for cell in of)
            row.append(f"{done} of {len(of)}" if of else "")
        table.add_row(pair, *row)
    return table


def _shown(result: SuiteResult) -> list[str] | Table:
    """How far it is, and the methods beside each other."""
    from rich.table import Table

    from corrtool.workflows.suites.suite import counted

    so_far = counted(result)
    if not result["methods"]:
        return [so_far]
    columns = ("method", "pairs", "interquartile mean", "0.95 or more", "ours is better")
    table = Table(*columns, title=so_far, title_justify="left")
    for s in result["methods"]:
        low, high = s["ci95"]
        better = "" if s["ours_better"] is None else f"{s['ours_better']:.2f}"
        mean = f"{s['interquartile_mean']:.2f} [{low:.2f}, {high:.2f}]"
        table.add_row(s["method"], str(s["pairs"]), mean, str(s["enough"]), better)
    return table
