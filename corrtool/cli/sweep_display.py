"""How a sweep is shown: its cells as a table, and what happens while it runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from corrtool.runs.records import RunRecord
from corrtool.runtime.console import Console
from corrtool.runtime.printable import PrintableConsole
from corrtool.settings.grid import as_text, varying
from corrtool.stages.registry import STAGES
from corrtool.workflows.sweeps.status import CellStatus, SweepResult, counted_text, how_far
from corrtool.workflows.sweeps.steps import Step

if TYPE_CHECKING:
    from corrtool.workflows.sweeps.running import Work

_COLOURS = {
    "done": "green",
    "running": "cyan",
    "interrupted": "yellow",
    "paused": "blue",
    "failed": "red",
}
_SAYS_SECONDS = 60.0  # between lines on how far it is, where there is no terminal
_REFRESH_SECONDS = 1.0


def cells_table(result: SweepResult) -> Table:
    """A row for each cell: what the grid varies, its state, how far it is, and its number."""
    cells = result["cells"]
    axes = list(varying([cell["grid"] for cell in cells]))
    several = len({cell["seed"] for cell in cells}) > 1
    table = _table(f"{result['sweep']}: {counted_text(cells)}")
    outcomes = list(dict.fromkeys(c["outcome"]["what"] for c in cells if c["outcome"]))
    numbers = [what if len(outcomes) == 1 else "outcome" for what in outcomes[:1]]
    numbered = ["#"] if len(cells) > 1 else []  # as --cell counts them
    columns = [*numbered, "cell", *(["seed"] if several else []), "state", "how far", *numbers]
    for column in columns:
        table.add_column(column, overflow="fold")
    for number, cell in enumerate(cells):
        name = Text(cell["name"])
        said = as_text({axis: cell["grid"].get(axis) for axis in axes})
        if said and "=" not in cell["name"]:  # of one that has no name yet it is the name
            name.append(f"\n  {said}", style="dim")
        row: list[str | Text] = [str(number)] if numbered else []
        row += [name, *([str(cell["seed"])] if several else [])]
        row += [Text(cell["state"], _COLOURS.get(cell["state"], "")), _how_far(cell)]
        outcome = cell["outcome"]
        shown_number = "–" if outcome is None else f"{outcome['value']:.4g}"
        if outcome is not None and len(outcomes) > 1:
            shown_number += f" {outcome['what']}"
        table.add_row(*row, *([shown_number] if numbers else []))
    return table


def _table(title: str) -> Table:
    from rich import box

    return Table(
        title=Text(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )


def _how_far(cell: CellStatus) -> str:
    """What a person wants to know of a cell that is not done; of one that is, nothing."""
    if cell["failure"] is not None or cell["paused"] is not None:
        return cell["failure"] or cell["paused"] or ""
    under_way = next((step for step in cell["steps"] if step["state"] != "done"), None)
    if under_way is None or cell["state"] == "missing":
        return "–"
    parts = [under_way["stage"], cell["at"], cell["process"]]
    if cell["saved_seconds_ago"] is not None:
        parts.append(f"saved {_ago(cell['saved_seconds_ago'])}")
    return ", ".join(part for part in parts if part)


def _ago(seconds: float) -> str:
    """``12 s ago``, ``3 min ago``, ``2 h ago``."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


class Display:
    """Tells what happens to the cells of a sweep while it runs; a context manager.

    In a terminal a table of those that run now stays below the lines; elsewhere a line a minute
    says how many are done.

    Args:
        lines: whether what each run came to is told as the stage itself would.
    """

    def __init__(self, console: Console, *, lines: bool = False) -> None:
        self._console, self._lines = console, lines
        self._terminal = PrintableConsole(stderr=True)
        self._shown = self._said = time.monotonic()
        self._counted = ""
        self._began: dict[tuple[str, str], float] = {}  # stage and name; by the monotonic clock
        self._live: Live | None = None
        if not console.quiet and self._terminal.is_terminal:
            self._live = Live(console=self._terminal, auto_refresh=False, transient=True)

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def begun(self, step: Step, host: str) -> None:
        self._began[step.stage, step.name] = time.monotonic()
        self._say(f"begun: {step.stage} {step.name}, on {host}")

    def ended(self, step: Step, record: RunRecord, *, here: bool) -> None:
        if here:
            # The whole command, of which the run's own time lacks the start of the process.
            began = self._began.pop((step.stage, step.name), None)
            seconds = record.get("seconds", 0.0) if began is None else time.monotonic() - began
            self._say(f"done: {step.stage} {step.name}, {seconds:,.0f} s")
        if here or self._lines:
            common: dict[str, Any] = {
                "stage": step.stage,
                "name": step.name,
                "seed": record["seed"],
                "settings": record["settings"],
            }
            for line in STAGES[step.stage].result_lines({**common, **record["result"]}):
                self._say(f"  {line}" if here else line)

    def failed(self, work: Work, line: str) -> None:
        log = "" if work.log is None else f"; what it said is in {work.log}"
        self._say(f"failed: {work.planned.name}: {line}{log}")

    def interrupted(self, step: Step, code: int) -> None:
        self._say(f"interrupted: {step.stage} {step.name} (exit code {code}); it goes on")

    def paused(self, work: Work, line: str) -> None:
        self._say(f"paused: {work.step.stage} {work.step.name}: {line}")

    def left_out(self, line: str) -> None:
        self._say(f"not compared: {line}")

    def tick(self, works: Sequence[Work]) -> None:
        now = time.monotonic()
        if self._live is not None and now - self._shown >= _REFRESH_SECONDS:
            self._live.update(_live_table(works), refresh=True)
            self._shown = now
        counted = _counted(works)
        if self._live is None and counted != self._counted and now - self._said >= _SAYS_SECONDS:
            self._say(counted)
            self._counted = counted

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        if self._live is None:
            self._console.say(line)
        else:
            self._live.console.print(line, highlight=False)


def _counted(works: Sequence[Work]) -> str:
    counted = Counter(work.state for work in works)
    noun = "cell" if len(works) == 1 else "cells"
    return f"{len(works):,} {noun}: " + ", ".join(f"{n} {state}" for state, n in counted.items())


def _live_table(works: Sequence[Work]) -> Table:
    """The cells that run now, each with how far it is."""
    table = _table(_counted(works))
    for column in ("cell", "stage", "how far", "on", "saved"):
        table.add_column(column, overflow="fold")
    for work in works:
        if work.job is not None:
            saved = work.saved_seconds_ago
            table.add_row(
                work.planned.name,
                work.step.stage,
                how_far(work.log) or "begins",
                work.job.host,
                "–" if saved is None else _ago(saved),
            )
    return table
