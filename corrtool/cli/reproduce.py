"""``corrtool reproduce``."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from corrtool.cli.engines import (
    CpusOption,
    EngineChoice,
    EngineOption,
    GpusOption,
    RayAddressOption,
)
from corrtool.cli.options import (
    ANY_TEXT,
    DeviceOption,
    JsonFlag,
    QuietFlag,
    common_option,
    project_option,
)
from corrtool.cli.stage_command import saying_results, suggesting
from corrtool.cli.suite import (
    FirstSeedOption,
    MethodsOption,
    PairsOption,
    SuiteChoice,
)
from corrtool.cli.summaries import SUMMARIES
from corrtool.cli.sweep import (
    DryRunFlag,
    FailFastFlag,
    JobsOption,
    RetriesOption,
    jobs_of,
    raise_if_unfinished,
    run,
    show,
)
from corrtool.errors import UsageError
from corrtool.settings.base import Preset
from corrtool.settings.common import CommonOptions
from corrtool.settings.resolve import load_preset

if TYPE_CHECKING:
    from corrtool.experiments import Experiment
    from corrtool.project.directory import Project
    from corrtool.runtime.console import Console
    from corrtool.workflows.pipeline import Pipeline
    from corrtool.workflows.sweeps.running import Limits
    from corrtool.workflows.sweeps.sweep import Sweep


CellOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Only this cell and what is finetuned from it, or 'scratch' or 'reuse'; may be "
        "repeated.",
        show_default="every cell",
    ),
]
GridFlag = Annotated[
    bool,
    typer.Option(
        "--grid",
        help="Instead of the cells every combination of the λ's, as printed and with what "
        "corrtool does otherwise: a sweep named EXPERIMENT-grid.",
    ),
]


def add(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command("reproduce", help=SUMMARIES["reproduce"])(reproduce)


def reproduce(
    experiment: Annotated[
        Literal["experiment-1", "experiment-2", "suite"],
        typer.Argument(
            help="experiment-1 (source and target are the same), experiment-2 (Pong rotated by "
            "90°), or the suite: many pairs of tasks, each in projects of its own.",
            metavar="EXPERIMENT",
        ),
    ],
    project: Annotated[
        Path | None,
        project_option(
            "Project directory; made if it is not there.",
            show_default="a directory named like the experiment",
            show_envvar=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of each cell.", min=1)] = 1,
    first_seed: FirstSeedOption = None,
    pairs: PairsOption = None,
    methods: MethodsOption = None,
    cell: CellOption = None,
    grid: GridFlag = False,
    device: DeviceOption = None,
    preset: Annotated[
        str | None,
        common_option("preset", help="Sizes and settings to start from.", **ANY_TEXT),
    ] = None,
    from_scratch: Annotated[
        bool,
        typer.Option(
            "--from-scratch",
            help="Learn Q_S and F here, instead of taking those that come with corrtool.",
        ),
    ] = False,
    engine: EngineOption = "local",
    jobs: JobsOption = "1",
    ray_address: RayAddressOption = None,
    cpus: CpusOption = None,
    gpus: GpusOption = None,
    retries: RetriesOption = 3,
    fail_fast: FailFastFlag = False,
    status: Annotated[
        bool, typer.Option("--status", help="Show how far the cells are, and do nothing.")
    ] = False,
    dry_run: DryRunFlag = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Run the cells, and draw the report."""
    from corrtool.experiments import load_experiment
    from corrtool.project.directory import PROJECT_FILE, Project
    from corrtool.runs.sweeps import read_sweep
    from corrtool.runtime.console import Console
    from corrtool.runtime.device import resolve_device
    from corrtool.workflows.reproduce import check_grid, only_cells, open_or_create
    from corrtool.workflows.sweeps.running import Limits
    from corrtool.workflows.sweeps.status import sweep_status

    console = Console(quiet=quiet, json=json)
    on = EngineChoice(engine, jobs_of(jobs), ray_address, cpus, gpus)
    check_engine(on, device)
    load_preset(
        "default" if preset is None else preset
    )  # before anything is made, as is the device
    if device is not None:
        resolve_device(device)
    limits, suite = Limits(retries, fail_fast), SuiteChoice(pairs, methods, first_seed)
    if experiment == "suite":
        if cell or grid or from_scratch:
            raise UsageError(
                "--cell, --grid and --from-scratch are not of the suite", "leave them out"
            )
        planned = suite.of(project or Path(experiment), seeds, device, preset)
        suite.run(console, planned, on, limits, device, only_shown=status or dry_run)
        return
    suite.check_unused()
    if grid and cell:
        raise UsageError("--grid and --cell exclude each other", "leave out one of them")
    table = only_cells(load_experiment(experiment), cell or [])
    if grid:
        check_grid(table)
    name = f"{experiment}-grid" if grid else experiment
    directory = project or Path(experiment)
    if status:
        root = Project(directory).root
        show(console, sweep_status(root, read_sweep(root, name)))
        return
    work = _Work(console, name, table, preset, device, seeds, from_scratch, grid)
    if dry_run:
        with tempfile.TemporaryDirectory() as nowhere:
            there = (directory / PROJECT_FILE).exists()
            opened = open_or_create(directory if there else Path(nowhere) / experiment, table)
            show(console, {**work.plan(opened, complete=False).status(), "dry_run": True})
        return
    work.run(open_or_create(directory, table), on, limits)


def check_engine(on: EngineChoice, device: str | None) -> None:
    """Raise :class:`UsageError` for an engine that is not there, or not for this command."""
    if on.submits:
        raise UsageError(
            "--engine slurm is for sweep",
            "give a job array of your own --first-seed and --pairs, a task each",
        )
    on.check(device, {"--cell": False, "--print-sbatch": False, "--fail-fast": False})


@dataclass(frozen=True)
class _Work:
    """The experiment as the command line asks for it."""

    console: Console
    name: str
    table: Experiment
    preset: str | None
    device: str | None
    seeds: int
    from_scratch: bool
    grid: bool

    def _pipeline(self, project: Project) -> Pipeline:
        from corrtool.project.defaults import project_device, project_preset
        from corrtool.workflows.call import plain_calls
        from corrtool.workflows.pipeline import Pipeline

        preset = cast(Preset, project_preset(project, self.preset))
        project_device(project, self.device)
        calls = plain_calls(CommonOptions(seed=0, device=self.device, preset=preset))
        return Pipeline(project, self.console, calls, saying_results(self.console))

    def plan(self, project: Project, *, complete: bool = True) -> Sweep:
        """The sweep of its cells, in a project of its tasks."""
        from corrtool.project.defaults import project_preset
        from corrtool.runs.commands import this_command
        from corrtool.workflows.reproduce import SWEPT, plan

        return plan(
            self._pipeline(project),
            self.table,
            name=self.name,
            command=this_command(SWEPT),
            preset=project_preset(project, self.preset),
            seeds=self.seeds,
            from_scratch=self.from_scratch,
            grid=self.grid,
            complete=complete,
        )

    def run(self, project: Project, on: EngineChoice, limits: Limits) -> None:
        """Make what the cells need, run them, draw the report, and print what came of it."""
        from corrtool.project.defaults import project_preset
        from corrtool.workflows.report import report
        from corrtool.workflows.reproduce import prepare
        from corrtool.workflows.sweeps.sweep import stage_variables

        preset, console = project_preset(project, self.preset), self.console
        console.say(f"{self.name} with the preset {preset}, in {project.root}")
        with suggesting("--project"):
            prepare(self._pipeline(project), from_scratch=self.from_scratch)
            sweep = self.plan(project)
        without = stage_variables()  # an experiment is the same whatever they say
        cells = run(
            console,
            sweep,
            on,
            self.device,
            limits,
            without=without,
            lines=True,
        )
        result = report(project, console=console)
        console.result(
            result, [*result["figures"], f"open {project.root / result['report']} in a browser"]
        )
        raise_if_unfinished(cells)
