"""A suite as a job array of SLURM: a task for all cells of one source and seed.

They share an agent, so that one waits for the other. A task is the same command with those cells
alone; one that is preempted goes on where it was, and the tables are written by each that ends.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from corrtool.workflows.suites.methods import OURS
from corrtool.workflows.suites.projects import Cell
from corrtool.workflows.suites.running import Lane, lanes_of
from corrtool.workflows.suites.suite import PlannedSuite
from corrtool.workflows.sweeps.running import Limits
from corrtool.workflows.sweeps.slurm import Resources, submit_tasks

FOLDER = "slurm"  # of what the tasks say, and of what submitit keeps


def submit_suite(
    planned: PlannedSuite,
    missing: Sequence[Cell],
    known: Sequence[Path],
    limits: Limits,
    resources: Resources,
    jobs: int | None,
) -> list[str]:
    """Submit what is missing of a suite; returns the ids of the jobs, in their order.

    Args:
        missing: one at least.
        known: the numbers of other machines.
        jobs: how many tasks run at once; None for as many as SLURM lets.

    Raises:
        UsageError: SLURM does not know a parameter.
        CorrtoolError: SLURM has refused the job.
    """
    from corrtool.workflows.sweeps.cell_task import CellTask

    root = planned.suite.root
    folder = root / FOLDER
    tasks = [
        CellTask(lane_words(planned, lane, known, limits), str(folder / f"{_name(lane)}.log"))
        for lane in lanes_of(missing)
    ]
    return submit_tasks(
        tasks, folder / "submitit", resources, f"corrtool-{root.name}", jobs, planned.begin
    )


def _name(lane: Lane) -> str:
    return f"{lane.cells[0].pair.source.name}-{lane.cells[0].seed}"


def lane_words(
    planned: PlannedSuite, lane: Lane, known: Sequence[Path], limits: Limits
) -> list[str]:
    """The command line of the cells of a lane, from the interpreter on."""
    pairs = dict.fromkeys(cell.pair.name for cell in lane.cells)
    methods = dict.fromkeys([OURS, *(cell.method for cell in lane.cells)])
    given: dict[str, Sequence[object]] = {
        "--project": [planned.suite.root],
        "--pairs": [",".join(pairs)],
        "--methods": [",".join(methods)],
        "--first-seed": [lane.cells[0].seed],
        "--known": [path.absolute() for path in known],
        "--retries": [limits.retries],
    }
    said = [(flag, str(value)) for flag, values in given.items() for value in values]
    return [
        *(sys.executable, "-m", "corrtool", "reproduce", "suite"),
        *(word for pair in said for word in pair),
        *planned.suite.options,
    ]
