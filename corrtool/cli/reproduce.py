"""``corrtool reproduce``."""

from __future__ import annotations

import sys
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
    SlurmOption,
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
    KnownOption,
    MethodsOption,
    PairsOption,
    SuiteChoice,
)
from corrtool.cli.summaries import SUMMARIES
from corrtool.cli.sweep import (
    JOBS_HELP,
    DryRunFlag,
    FailFastFlag,
    RetriesOption,
    jobs_of,
    raise_if_unfinished,
    run,
    show,
    submit,
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
        "repeated. A number is that of one run of --dry-run, and what comes after it.",
        show_default="every cell",
    ),
]
SomeJobsOption = Annotated[
    str | None,
    typer.Option(
        "--jobs",
        help=JOBS_HELP,
        metavar="N",
        show_default="1; with --engine slurm as many as SLURM lets",
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


ExperimentArgument = Annotated[
    Literal["experiment-1", "experiment-2", "suite"],
    typer.Argument(
        help="experiment-1 (source and target are the same), experiment-2 (Pong rotated by 90°), "
        "or the suite: many pairs of tasks, each in projects of its own.",
        metavar="EXPERIMENT",
    ),
]
FolderOption = Annotated[
    Path | None,
    project_option(
        "Project directory; made if it is not there.",
        show_default="a directory named like the experiment",
        show_envvar=False,
    ),
]
AnyPresetOption = Annotated[
    str | None, common_option("preset", help="Sizes and settings to start from.", **ANY_TEXT)
]
FromScratchFlag = Annotated[
    bool,
    typer.Option(
        "--from-scratch",
        help="Learn Q_S and F here, instead of taking those that come with corrtool.",
    ),
]
StatusFlag = Annotated[
    bool, typer.Option("--status", help="Show how far the cells are, and do nothing.")
]


def add(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command("reproduce", help=SUMMARIES["reproduce"])(reproduce)


def reproduce(
    experiment: ExperimentArgument,
    project: FolderOption = None,
    seeds: Annotated[int, typer.Option(help="Seeds of each cell.", min=1)] = 1,
    first_seed: FirstSeedOption = None,
    pairs: PairsOption = None,
    methods: MethodsOption = None,
    known: KnownOption = None,
    cell: CellOption = None,
    grid: GridFlag = False,
    device: DeviceOption = None,
    preset: AnyPresetOption = None,
    from_scratch: FromScratchFlag = False,
    engine: EngineOption = "local",
    jobs: SomeJobsOption = None,
    slurm: SlurmOption = None,
    ray_address: RayAddressOption = None,
    cpus: CpusOption = None,
    gpus: GpusOption = None,
    retries: RetriesOption = 3,
    fail_fast: FailFastFlag = False,
    status: StatusFlag = False,
    dry_run: DryRunFlag = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Run the cells, and draw the report."""
    from corrtool.experiments import load_experiment
    from corrtool.runtime.console import Console
    from corrtool.workflows.reproduce import check_grid, only_cells
    from corrtool.workflows.sweeps.running import Limits

    console, directory = Console(quiet=quiet, json=json), project or Path(experiment)
    at_once = jobs_of(jobs or ("auto" if engine == "slurm" else "1"))
    on = EngineChoice(engine, at_once, ray_address, cpus, gpus, tuple(slurm or ()))
    names, number = _cells_of(cell or [])
    on.check(
        device,
        {"--cell": number is not None, "--print-sbatch": False, "--fail-fast": fail_fast},
    )
    _check_surroundings(device, preset)
    limits, suite = Limits(retries, fail_fast), SuiteChoice(pairs, methods, first_seed, known)
    if experiment == "suite":
        if cell or grid or from_scratch:
            unused = "--cell, --grid and --from-scratch are not of the suite"
            raise UsageError(unused, "leave them out")
        planned = suite.of(directory, seeds, device, preset)
        suite.run(console, planned, on, limits, device, only_shown=status or dry_run)
        return
    suite.check_unused()
    if grid and names:
        raise UsageError("--grid and --cell NAME exclude each other", "leave out one of them")
    table = only_cells(load_experiment(experiment), names)
    if grid:
        check_grid(table)
    flags = Flags(experiment, tuple(names), seeds, preset, device, from_scratch, grid)
    work = _Work(console, flags, table, number)
    if status:
        work.show_status(directory)
    elif dry_run:
        work.show_plan(directory)
    else:
        work.run(directory, on, limits)


def _cells_of(said: list[str]) -> tuple[list[str], int | None]:
    """The names that ``--cell`` says, and the number. Raises :class:`UsageError` for several."""
    numbers = [int(text) for text in said if text.isdecimal()]
    if len(numbers) > 1:
        raise UsageError("--cell is given several numbers", "give one number, or names")
    names = [text for text in said if not text.isdecimal()]
    return names, numbers[0] if numbers else None


def _check_surroundings(device: str | None, preset: str | None) -> None:
    """Check the preset and the device, before anything is made.

    Raises:
        CorrtoolError: one of them is not there, or not for this command.
    """
    from corrtool.runtime.device import resolve_device

    load_preset("default" if preset is None else preset)
    if device is not None:
        resolve_device(device)


@dataclass(frozen=True)
class Flags:
    """What the command line says of an experiment.

    Attributes:
        cells: names of cells.
    """

    experiment: str
    cells: tuple[str, ...]
    seeds: int
    preset: str | None
    device: str | None
    from_scratch: bool
    grid: bool

    @property
    def sweep(self) -> str:
        """The name of its sweep."""
        return f"{self.experiment}-grid" if self.grid else self.experiment

    def task_words(self, root: Path, preset: str, limits: Limits) -> list[str]:
        """The command line that a task runs, with ``--cell NUMBER`` behind it.

        All that could be said elsewhere is said. What cells share is there by then.
        """
        said: dict[str, list[object]] = {
            "--project": [root],
            "--seeds": [self.seeds],
            "--cell": [*self.cells],
            "--preset": [preset],
            "--device": [] if self.device is None else [self.device],
            "--retries": [limits.retries],
        }
        words = [word for flag, values in said.items() for v in values for word in (flag, str(v))]
        words += ["--grid"] * self.grid + ["--from-scratch"] * self.from_scratch
        return [sys.executable, "-m", "corrtool", "reproduce", self.experiment, *words]


@dataclass(frozen=True)
class _Work:
    """The experiment as the command line asks for it.

    Attributes:
        number: of the one cell that is run, with what comes after it; None for all.
    """

    console: Console
    flags: Flags
    table: Experiment
    number: int | None

    def _pipeline(self, project: Project) -> Pipeline:
        from corrtool.project.defaults import project_device, project_preset
        from corrtool.workflows.call import plain_calls
        from corrtool.workflows.pipeline import Pipeline

        flags, preset = self.flags, cast(Preset, project_preset(project, self.flags.preset))
        project_device(project, flags.device)
        calls = plain_calls(CommonOptions(seed=0, device=flags.device, preset=preset))
        return Pipeline(project, self.console, calls, saying_results(self.console))

    def plan(self, project: Project, *, complete: bool = True) -> Sweep:
        """The sweep of its cells, in a project of its tasks."""
        from corrtool.project.defaults import project_preset
        from corrtool.runs.commands import this_command
        from corrtool.workflows.reproduce import SWEPT, plan

        planned = plan(
            self._pipeline(project),
            self.table,
            name=self.flags.sweep,
            command=this_command(SWEPT),
            preset=project_preset(project, self.flags.preset),
            seeds=self.flags.seeds,
            from_scratch=self.flags.from_scratch,
            grid=self.flags.grid,
            complete=complete,
        )
        return planned if self.number is None else planned.with_only(self.number)

    def show_status(self, directory: Path) -> None:
        """Print how far the cells are that were begun."""
        from corrtool.project.directory import Project
        from corrtool.runs.sweeps import read_sweep
        from corrtool.workflows.sweeps.status import sweep_status

        root = Project(directory).root
        show(self.console, sweep_status(root, read_sweep(root, self.flags.sweep)))

    def show_plan(self, directory: Path) -> None:
        """Print the cells and what is done of them; where there is no project none is made."""
        from corrtool.project.directory import PROJECT_FILE
        from corrtool.workflows.reproduce import open_or_create

        with tempfile.TemporaryDirectory() as nowhere:
            there = (directory / PROJECT_FILE).exists()
            opened = open_or_create(directory if there else Path(nowhere) / "lab", self.table)
            plan = self.plan(opened, complete=False)
            show(self.console, {**plan.status(), "dry_run": True})

    def run(self, directory: Path, on: EngineChoice, limits: Limits) -> None:
        """Make what the cells need, run them, draw the report, and print what came of it."""
        from corrtool.project.defaults import project_preset
        from corrtool.workflows.report import report
        from corrtool.workflows.reproduce import open_or_create, prepare
        from corrtool.workflows.sweeps.sweep import stage_variables

        resources = on.resources(check=True)
        project, console = open_or_create(directory, self.table), self.console
        preset = project_preset(project, self.flags.preset)
        console.say(f"{self.flags.sweep} with the preset {preset}, in {project.root}")
        pipeline = self._pipeline(project)
        with suggesting("--project", pipeline):
            prepare(pipeline, from_scratch=self.flags.from_scratch)
            sweep = self.plan(project)
        if resources is not None:
            words = self.flags.task_words(project.root.resolve(), preset, limits)
            look = f"reproduce {self.flags.experiment} --project {directory} --status"
            look += " --grid" * self.flags.grid
            submit(console, sweep, words, {}, resources, on.jobs, look)
            return
        without = stage_variables()  # an experiment is the same whatever they say
        cells = run(
            console,
            sweep,
            on,
            self.flags.device,
            limits,
            without=without,
            lines=True,
        )
        result = report(project, console=console)
        console.result(
            result, [*result["figures"], f"open {project.root / result['report']} in a browser"]
        )
        raise_if_unfinished(cells)
