"""``python -m benchmarks [ROW …] [--rounds N] [--json FILE]``."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

from corrtool.runtime.device import resolve_device
from corrtool.runtime.machine import describe_machine
from corrtool.runtime.process import configure_process

ROWS = ("collect", "sampling", "train_dqn", "learn_corr", "evaluate", "startup", "memory", "sweep")


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"which rows, all by default: {', '.join(ROWS)}")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured")
    parser.add_argument("--json", type=Path, help="file for the table as JSON")
    chosen = parser.parse_args()
    unknown = set(chosen.rows) - set(ROWS)
    if unknown:
        parser.error(f"there is no row {', '.join(sorted(unknown))}; choose of {', '.join(ROWS)}")
    device = resolve_device("cpu")
    configure_process(device, 0, "image")
    table = Table("work", "beside", "ours", "theirs", "unit", "ratio", "goal")
    measured = []
    for name in chosen.rows or ROWS:
        for row in import_module(f"benchmarks.{name}").measure(chosen.rounds):
            measured.append(row.to_json())
            spreads = [
                f"{number(statistics.median(v))} ({number(min(v))}–{number(max(v))})"
                for v in (row.ours, row.theirs)
            ]
            table.add_row(
                row.work,
                row.peer,
                *spreads,
                row.unit,
                f"{row.ratio:.2f}",
                "–" if row.goal is None else f"{row.goal:g}",
            )
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if chosen.json:
        chosen.json.write_text(
            json.dumps({"machine": describe_machine(device), "rows": measured}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
