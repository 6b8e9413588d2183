"""The plan of a sweep: the runs of each cell, under names that no two of them share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from corrtool.errors import MissingInputError, UsageError
from corrtool.project.artifacts import artifact_problems
from corrtool.project.directory import Project
from corrtool.runs.records import run_directories
from corrtool.runs.standing import equal_runs
from corrtool.runs.sweeps import CellState, SweepCell, SweepManifest
from corrtool.runtime.console import current_console
from corrtool.runtime.remembering import remembering
from corrtool.settings.grid import varying
from corrtool.workflows.call import StageCall
from corrtool.workflows.sweeps.cells import Cell
from corrtool.workflows.sweeps.steps import (
    Step,
    check_free,
    fits_as_name,
    following,
    name_with_digits,
    name_with_values,
    plan_step,
    with_name,
)


@dataclass
class PlannedCell:
    """A cell with its runs.

    Attributes:
        steps: those that can be planned, in order; the rest read what these make.
        failure: why the last attempt failed.
        paused: why it waits for a sweep without ``--prune``.
    """

    cell: Cell
    steps: list[Step]
    failure: str | None = None
    paused: str | None = None

    @property
    def name(self) -> str:
        """That of its first run; of one that nobody can name yet, what the grid gives it."""
        named = self.cell.call.common.name
        return self.steps[0].name if self.steps else named or str(self.cell)

    @property
    def complete(self) -> bool:
        """True if all its runs are planned."""
        return len(self.steps) == 1 + len(self.cell.then)

    def plan_next(self, project: Project, calls: Mapping[str, StageCall]) -> None:
        """Plan the run that comes after those that are planned, which are done.

        Raises:
            CorrtoolError: what its stage would refuse.
        """
        if not self.steps:
            self.steps.append(plan_step(project, self.cell.call))
            return
        made = [step for step in self.steps if step.stage != "evaluate"][-1]
        call = following(self.cell.then[len(self.steps) - 1], calls, made)
        self.steps.append(plan_step(project, call))

    def to_json(self) -> SweepCell:
        """As the manifest has it."""
        first = self.steps[0] if self.steps else None
        later = [then.stage for then in self.cell.then][max(0, len(self.steps) - 1) :]
        unplanned = later if self.steps else [self.cell.call.stage.name, *later]
        steps = [step.to_json() for step in self.steps]
        steps += [
            {"stage": stage, "name": None, "fingerprint": None, "produces": []}
            for stage in unplanned
        ]
        return {
            "name": self.name,
            "seed": self.cell.seed,
            "point": dict(self.cell.point),
            "settings": dict(self.cell.call.settings) if first is None else first.settings,
            "inputs": {} if first is None else first.inputs,
            "steps": steps,
            "failure": self.failure,
            "paused": self.paused,
        }


def plan_cells(
    project: Project,
    cells: Sequence[Cell],
    calls: Mapping[str, StageCall],
    earlier: SweepManifest | None,
    *,
    complete: bool = True,
) -> list[PlannedCell]:
    """Plan every cell as far as it can be, before anything runs.

    Args:
        calls: what is said of each stage that comes after the first of a cell.
        earlier: the manifest that the sweep has left, if any: its cells keep their inputs.
        complete: refuse a cell whose inputs are missing, unless another cell makes them.

    Raises:
        CorrtoolError: what a stage would refuse, of the first cell of which it does.
    """
    with remembering():  # nothing runs yet
        planned = _plan_first(project, cells, earlier, complete=complete)
        _name(project, planned)
        told = {} if earlier is None else _told_of(earlier)
        for one in planned:
            if one.steps:
                one.failure, one.paused = told.get(one.steps[0].fingerprint, (None, None))
            while one.steps and not one.complete:
                if one.steps[-1].standing(project).state != "done":
                    break
                one.plan_next(project, calls)
    _check_inputs(project, planned)
    return planned


def _plan_first(
    project: Project, cells: Sequence[Cell], earlier: SweepManifest | None, *, complete: bool
) -> list[PlannedCell]:
    """Plan the first run of each cell."""
    kept = {} if earlier is None else _inputs_of(earlier)
    planned = []
    with current_console().transient_progress("sweep: planning", len(cells), "cells") as bar:
        for cell in cells:
            try:
                steps = [plan_step(project, cell.call, kept)]
            except MissingInputError:
                if complete and cell.after is None:
                    raise
                steps = []  # what it reads is yet to be made by another cell
            planned.append(PlannedCell(cell, steps))
            bar.advance(1)
    return planned


def _inputs_of(earlier: SweepManifest) -> dict[str, str]:
    """What the cells of an earlier attempt read, by use; not where the grid says it."""
    return {
        use: name
        for cell in earlier["cells"]
        for use, name in cell["inputs"].items()
        if use not in cell["point"]
    }


def _told_of(earlier: SweepManifest) -> dict[str, tuple[str | None, str | None]]:
    """Why cells failed, and why they wait, by the fingerprint of their first run."""
    return {
        fingerprint: (cell["failure"], cell.get("paused"))
        for cell in earlier["cells"]
        if (fingerprint := cell["steps"][0]["fingerprint"])
    }


def _name(project: Project, planned: list[PlannedCell]) -> None:
    """Give each first run a name that no other cell has.

    Of a run that is there the name that it has, whoever began it. Otherwise the one that its
    stage would give it; with the values of the grid, where several cells would get that; and with
    digits of its fingerprint, where a run with other settings has it.

    Raises:
        UsageError: two cells are the same run, or a run that was made from something else has the
            name.
    """
    _check_different(planned)
    there = _RunsThere(project)
    differing = list(varying([one.cell.point for one in planned]))
    unnamed = [one for one in planned if one.steps and one.cell.call.common.name is None]
    shared, settled = Counter(one.name for one in unnamed), set[str]()
    for one in unnamed:
        step = one.steps[0]
        if shared[step.name] == 1 and step.standing(project).state not in ("missing", "other"):
            settled.add(step.name)
            continue
        name = there.name_of(step)
        if name is None and shared[step.name] > 1:
            name = name_with_values(step.name, one.cell.seed, one.cell.point, differing)
            if not fits_as_name(name):
                name = name_with_digits(step, step.name)
        if name is not None and name != step.name:
            one.steps[0] = with_name(project, step, name)
    _check_names(project, planned, settled)


@dataclass
class _RunsThere:
    """The runs of a project by what they were asked for, read once they are asked about."""

    project: Project
    _names: dict[str, dict[str, str]] = field(default_factory=dict)

    def name_of(self, step: Step) -> str | None:
        """The name of a run that is equal to ``step``; None where there is none."""
        if step.stage not in self._names:
            directories = run_directories(self.project.root, step.stage)
            self._names[step.stage] = equal_runs(directories)
        return self._names[step.stage].get(step.fingerprint)


def _check_different(planned: list[PlannedCell]) -> None:
    """Raise :class:`UsageError` where two cells come to the same run."""
    known: dict[str, PlannedCell] = {}
    for one in planned:
        for step in one.steps[:1]:
            other = known.setdefault(step.fingerprint, one)
            if other is not one:
                raise UsageError(
                    f"the cells {other.cell} and {one.cell} are the same run",
                    "leave one of them out, such as by --skip",
                )


def _check_names(project: Project, planned: list[PlannedCell], settled: set[str]) -> None:
    """Rename what another run is in the way of, or raise :class:`UsageError`.

    Args:
        settled: names of those that are there, and in nobody's way.
    """
    taken = set(settled)
    for one in planned:
        if one.steps and one.name not in settled:
            step = one.steps[0]
            standing = step.standing(project)
            in_the_way = standing.state == "other" and standing.record is not None
            if in_the_way or step.name in taken:
                free = standing.record is None or check_free(project, step, standing.record)
                if not free or one.cell.call.common.name is not None:
                    raise UsageError(
                        f"{step.stage} {step.name!r} exists with other settings",
                        "settle it with the stage's own command, or give another --project",
                    )
                one.steps[0] = with_name(project, step, name_with_digits(step, step.name))
            taken.add(one.name)


def _check_inputs(project: Project, planned: list[PlannedCell]) -> None:
    """Read every byte of what the first runs read, once.

    Raises :class:`ArtifactError` where something is damaged.
    """
    kinds = {
        "q": "q",
        "model": "model",
        "corr": "corr",
        **dict.fromkeys(("memory", "source_memory", "target_memory", "random_memory"), "memory"),
    }
    read = {
        (kinds[use], name) for one in planned for s in one.steps for use, name in s.inputs.items()
    }
    for kind, name in sorted(read):
        for problem in artifact_problems(project.root, kind, name):
            raise problem


def state_of_steps(
    states: Sequence[str], failure: str | None, paused: str | None = None
) -> CellState:
    """The state of a cell whose runs stand so, in their order.

    One whose next run has not begun was interrupted between two of them. A pause is one as long as
    there is a checkpoint to go on from.
    """
    if all(state == "done" for state in states):
        return "done"
    if "running" in states:
        return "running"
    if failure is not None:
        return "failed"
    if paused is not None and states[0] == "interrupted":
        return "paused"
    begun = any(state in ("done", "interrupted") for state in states)
    return "interrupted" if begun else "missing"
