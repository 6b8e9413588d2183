"""A sweep from its grid to its last cell."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from corrtool.errors import ArtifactError, UsageError
from corrtool.project.artifacts import check_name
from corrtool.project.defaults import project_seed
from corrtool.project.directory import Project
from corrtool.runs.sweeps import SweepManifest, read_sweep, sweep_lock, sweep_path, write_sweep
from corrtool.settings.grid import Grid, Point, parse_grid, points_of, read_grids, varying
from corrtool.settings.stages import STAGE_SETTINGS
from corrtool.workflows.call import StageCall
from corrtool.workflows.sweeps.cells import Cell, cells_of_grid, check_count, check_stages
from corrtool.workflows.sweeps.engine import Engine
from corrtool.workflows.sweeps.planning import PlannedCell, plan_cells
from corrtool.workflows.sweeps.running import Limits, Pruner, Runner, Watcher
from corrtool.workflows.sweeps.status import SweepResult, sweep_status


@dataclass(frozen=True)
class Asked:
    """What is asked of a sweep.

    Attributes:
        grid: texts such as ``lambda-q=0,1``, or one TOML file.
        skip: combinations that are left out.
        seeds: of each point of the grid.
        then: stages that come after, in order.
        name: of the sweep; None for one made from the stage and the grid.
    """

    stage: str
    grid: Sequence[str]
    skip: Sequence[str] = ()
    seeds: int = 1
    then: Sequence[str] = ()
    name: str | None = None

    def points(self) -> list[Point]:
        """The points of the grid; one that says nothing where there is none.

        Raises:
            UsageError: a key, a value or a condition that makes no sense.
        """
        settings = STAGE_SETTINGS[self.stage]
        files = [text for text in self.grid if "=" not in text and text.endswith(".toml")]
        if files and len(self.grid) > 1:
            raise UsageError("--grid is given a file and more", "put all of it into the file")
        if files:
            grids: list[Grid] = read_grids(settings, Path(files[0]), list(self.skip))
        else:
            grids = [parse_grid(settings, list(self.grid), list(self.skip))]
        return points_of(grids)


@dataclass
class Sweep:
    """A planned sweep.

    Attributes:
        calls: what is said of each stage before the grid is.
        command: for people.
        engine: where the cells run, or will.
        only: the numbers of the cells that are run and shown, of all that are planned; None for
            all of them.
    """

    project: Project
    name: str
    stage: str
    command: str
    calls: Mapping[str, StageCall]
    planned: list[PlannedCell]
    engine: str = "local"
    created: str = ""
    only: Sequence[int] | None = None

    def manifest(self) -> SweepManifest:
        """The manifest as it stands now."""
        return {
            "name": self.name,
            "stage": self.stage,
            "command": self.command,
            "engine": self.engine,
            "created": self.created or datetime.now(UTC).isoformat(),
            "cells": [one.to_json() for one in self.planned],
        }

    def write(self) -> None:
        """Write the manifest; where some cells alone are run, the others stay as they were told."""
        root = self.project.root
        with sweep_lock(root, self.name):
            manifest = self.manifest()
            if self.only is not None:
                earlier = earlier_manifest(self.project, self.name, self.stage)
                told = {} if earlier is None else {c["name"]: c for c in earlier["cells"]}
                for number in self.only:
                    told.pop(self.planned[number].name, None)
                if earlier is not None:  # this command is a task of that one
                    manifest["command"], manifest["engine"] = earlier["command"], earlier["engine"]
                manifest["cells"] = [told.get(cell["name"], cell) for cell in manifest["cells"]]
            write_sweep(root, manifest)

    def status(self) -> SweepResult:
        """The state of each cell."""
        manifest = self.manifest()
        if self.only is not None:
            manifest["cells"] = [manifest["cells"][number] for number in self.only]
        return sweep_status(self.project.root, manifest)

    def run(
        self, engine: Engine, limits: Limits, watcher: Watcher, pruner: Pruner | None = None
    ) -> SweepResult:
        """Run what is missing; returns the state of each cell at the end.

        Args:
            pruner: says which cells are paused; without one those go on that were paused before.

        Raises:
            InterruptedRunError: a signal came.
        """
        self.engine = engine.name
        cells = self.planned if self.only is None else [self.planned[n] for n in self.only]
        if pruner is None:
            for one in cells:
                one.paused = None
        self.write()
        Runner(
            self.project,
            self.name,
            engine,
            self.calls,
            limits,
            watcher,
            self.write,
            pruner=pruner,
        ).run(cells)
        return self.status()

    def with_only(self, number: int) -> Sweep:
        """The same sweep, of which one cell alone is run and shown, and those that come after it.

        Args:
            number: of the cell, counted from 0 in the order of the plan.
        """
        if not 0 <= number < len(self.planned):
            raise UsageError(
                f"there is no cell {number}", f"the last one is {len(self.planned) - 1}"
            )
        after = [n for n in range(len(self.planned)) if self.waits_for(n) == number]
        return replace(self, only=[number, *after])

    def waits_for(self, number: int) -> int | None:
        """The number of the cell whose run another one needs; None where it needs none."""
        needs = self.planned[number].cell.after
        if needs is None:  # as all cells of a grid, which may be thousands
            return None
        names = [one.name for one in self.planned]
        return names.index(needs) if needs in names else None


def plan_sweep(
    project: Project, calls: Mapping[str, StageCall], asked: Asked, command: str
) -> Sweep:
    """Check and plan everything that is asked of a sweep; nothing is written.

    Raises:
        CorrtoolError: what any of its commands would refuse.
    """
    check_stages(asked.stage, asked.then)
    points = asked.points()
    check_count(len(points), asked.seeds)
    name = default_name(asked.stage, points) if asked.name is None else check_name(asked.name)
    call = calls[asked.stage]
    first = project_seed(project, call.common.seed)
    seeds = range(first, first + asked.seeds)
    cells = cells_of_grid(call, points, seeds, asked.then)
    return make_sweep(project, name, asked.stage, command, calls, cells)


def make_sweep(
    project: Project,
    name: str,
    stage: str,
    command: str,
    calls: Mapping[str, StageCall],
    cells: Sequence[Cell],
    *,
    complete: bool = True,
) -> Sweep:
    """A sweep of these cells, planned as :func:`plan_cells` does, which goes on an earlier one."""
    earlier = earlier_manifest(project, name, stage)
    planned = plan_cells(project, cells, calls, earlier, complete=complete)
    created = "" if earlier is None else earlier["created"]
    return Sweep(project, name, stage, command, calls, planned, created=created)


def default_name(stage: str, points: Sequence[Point]) -> str:
    """``learn-corr-lambda-cyc-lambda-q``: the stage, and what the grid varies."""
    axes = [name.replace("_", "-") for name in varying(points)]
    return "-".join([stage, *(axes or ["seeds"])])[:90]


def earlier_manifest(project: Project, name: str, stage: str) -> SweepManifest | None:
    """The manifest that a sweep of this name has left.

    Raises:
        UsageError: it was of another stage.
    """
    check_name(name)
    if not sweep_path(project.root, name).exists():
        return None
    try:
        earlier = read_sweep(project.root, name)
    except ArtifactError:
        return None  # it says nothing that the runs do not say, and is written anew
    if earlier["stage"] != stage:
        raise UsageError(
            f"the sweep {name!r} was one of {earlier['stage']}", "give this one another --name"
        )
    return earlier


def stage_variables() -> list[str]:
    """The environment variables that are set and give a stage a setting or an input."""
    prefixes = tuple(f"CORRTOOL_{stage}_".upper().replace("-", "_") for stage in STAGE_SETTINGS)
    return [name for name in os.environ if name.startswith(prefixes)]
