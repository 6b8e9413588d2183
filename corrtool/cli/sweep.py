"""``corrtool sweep``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

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
    DeviceOption,
    JsonFlag,
    ProjectOption,
    QuietFlag,
    check_variables,
    common_option,
)
from corrtool.cli.pruning import PruneAfterOption, PruneByOption, PruneChoice, PruneFlag
from corrtool.cli.stage_command import calls_from_environment, warn_of_tiny
from corrtool.cli.summaries import SUMMARIES
from corrtool.errors import CorrtoolError, UsageError
from corrtool.settings.base import Preset
from corrtool.settings.common import CommonOptions
from corrtool.stages.registry import STAGES

if TYPE_CHECKING:
    from corrtool.runtime.console import Console
    from corrtool.workflows.sweeps.pruning import Pruning
    from corrtool.workflows.sweeps.running import Limits
    from corrtool.workflows.sweeps.slurm import Resources
    from corrtool.workflows.sweeps.status import SweepResult
    from corrtool.workflows.sweeps.sweep import Sweep


def jobs_of(text: str) -> int | None:
    """A number of jobs; None for ``auto``. Raises :class:`UsageError` for anything else."""
    if text == "auto":
        return None
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= 10_000):
        raise UsageError(f"--jobs is {text!r}", "give it a number of jobs from 1, or auto")
    return int(text)


JOBS_HELP = (
    "Commands at once; auto shares the GPUs out, or the cores where there is none, as far as there "
    "is memory."
)
JobsOption = Annotated[str, typer.Option("--jobs", help=JOBS_HELP, metavar="N")]
RetriesOption = Annotated[
    int,
    typer.Option(
        help="How often a run whose process was killed is begun again, from its checkpoint.",
        min=0,
    ),
]
FailFastFlag = Annotated[
    bool, typer.Option("--fail-fast", help="End at the first cell that fails.")
]


StageArgument = Annotated[
    str | None,
    typer.Argument(
        help="Stage that learns: train-dqn, train-model, learn-corr or finetune.",
        metavar="[STAGE]",
        show_default="that of --status",
    ),
]
GridOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Values of a setting or an input, by its flag without dashes; repeat for several. "
        "Or one TOML file, with a table 'grid'.",
        metavar="SETTING=V,V…",
    ),
]
SkipOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Leave out the cells that have all of these values; may be repeated.",
        metavar="SETTING=V,…",
    ),
]
ThenOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Stage that follows in each cell, with what the one before it made: evaluate or "
        "finetune; repeat for several, in order.",
        metavar="STAGE",
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option(help="Name of the sweep.", show_default="made from the stage and the grid"),
]
CellOption = Annotated[
    int | None,
    typer.Option(help="Run this one cell alone, counted from 0 in the order of --dry-run.", min=0),
]
SbatchFlag = Annotated[
    bool,
    typer.Option(
        "--print-sbatch",
        help="Print an array job for SLURM, with a task for each cell that is not done.",
    ),
]
StatusOption = Annotated[
    str | None,
    typer.Option(
        "--status",
        help="Show how far the sweep of this name is, and do nothing.",
        metavar="NAME",
    ),
]


SeedsOption = Annotated[int, typer.Option(help="Seeds of each point, from --seed on.", min=1)]
DryRunFlag = Annotated[
    bool, typer.Option("--dry-run", help="Show the cells and what is done, and do nothing.")
]


def add(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command("sweep", help=SUMMARIES["sweep"])(sweep)


def sweep(
    stage: StageArgument = None,
    grid: GridOption = None,
    skip: SkipOption = None,
    seeds: SeedsOption = 1,
    then: ThenOption = None,
    name: NameOption = None,
    engine: EngineOption = "local",
    slurm: SlurmOption = None,
    jobs: JobsOption = "auto",
    ray_address: RayAddressOption = None,
    cpus: CpusOption = None,
    gpus: GpusOption = None,
    retries: RetriesOption = 3,
    fail_fast: FailFastFlag = False,
    prune: PruneFlag = False,
    prune_by: PruneByOption = None,
    prune_after: PruneAfterOption = None,
    cell: CellOption = None,
    print_sbatch: SbatchFlag = False,
    status: StatusOption = None,
    project: ProjectOption = None,
    seed: Annotated[int | None, common_option("seed", show_envvar=False)] = None,
    device: DeviceOption = None,
    preset: Annotated[Preset | None, common_option("preset", show_envvar=False)] = None,
    dry_run: DryRunFlag = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Plan every cell, then run those that are missing."""
    common = CommonOptions(seed=seed, device=device, preset=preset)
    on = EngineChoice(engine, jobs_of(jobs), ray_address, cpus, gpus, tuple(slurm or ()))
    if status is None and stage is None:
        raise UsageError("no stage is named", "say which one to sweep, such as learn-corr")
    pruned = PruneChoice(prune, prune_by, prune_after)
    others = (stage is not None, grid, skip, then, name, dry_run, print_sbatch, cell is not None)
    if status is not None and (any(others) or on.is_said or pruned.is_said):
        raise UsageError("--status shows a sweep as it is", "give it the name alone")
    given = {"--cell": cell is not None, "--print-sbatch": print_sbatch, "--fail-fast": fail_fast}
    on.check(device, given)
    pruned.check(stage, engine, given)
    named = [known for known in STAGES if known in (stage, *(then or []))]
    calls = calls_from_environment(common, named)
    check_variables()

    from corrtool.project.directory import find_project
    from corrtool.runs.commands import this_command
    from corrtool.runs.sweeps import read_sweep
    from corrtool.runtime.console import Console
    from corrtool.workflows.sweeps.running import Limits
    from corrtool.workflows.sweeps.sbatch import sweep_words, task_variables
    from corrtool.workflows.sweeps.status import sweep_status
    from corrtool.workflows.sweeps.sweep import Asked, plan_sweep

    console, opened = Console(quiet=quiet, json=json), find_project(project)
    if stage is None:
        show(console, sweep_status(opened.root, read_sweep(opened.root, status or "")))
        return
    resources = on.resources(check=not dry_run)
    asked = Asked(stage, grid or [], skip or [], seeds, then or [], name)
    with console.used():  # planning thousands of cells takes a while
        planned = plan_sweep(opened, calls, asked, this_command(stage))
        pruning = pruned.of(planned)
    if cell is not None:
        planned = planned.with_only(cell)
    if dry_run:
        show(console, {**planned.status(), "dry_run": True})
        return
    limits = Limits(retries, fail_fast)
    if print_sbatch:
        print_script(planned, sweep_words(planned, asked, limits, device))
        return
    if resources is not None:
        command, look = sweep_words(planned, asked, limits, device), f"--status {planned.name}"
        submit(console, planned, command, task_variables(), resources, on.jobs, f"sweep {look}")
        return
    result = run(console, planned, on, device, limits, pruning=pruning)
    show(console, result)
    warn_of_tiny(console, opened, preset)
    raise_if_unfinished(result)


def print_script(planned: Sweep, command: list[str]) -> None:
    """Print the array job of a planned sweep, whose manifest its tasks will find."""
    from corrtool.workflows.sweeps.sbatch import sbatch_script

    planned.write()
    typer.echo(sbatch_script(planned, command), nl=False)


def submit(
    console: Console,
    planned: Sweep,
    command: list[str],
    variables: Mapping[str, str],
    resources: Resources,
    jobs: int | None,
    look: str,
) -> None:
    """Submit what is missing of a planned sweep, and say how to look at it later.

    Args:
        command: with ``--cell NUMBER`` behind it what a task runs.
        variables: of the environment, that each task is to have.
        look: what ``corrtool`` is told to look.
    """
    from corrtool.workflows.sweeps.slurm import submit_sweep

    planned.engine = "slurm"
    status = planned.status()
    missing = sum(cell["state"] != "done" for cell in status["cells"])
    if not missing:
        line = f"all cells of {planned.name!r} are done: there is nothing to submit"
        console.result({**status, "jobs": []}, [line])
        return
    ids = submit_sweep(planned, command, variables, resources, jobs)
    name, folder = planned.name, planned.project.root / "sweeps" / planned.name
    said = ids[0] if len(ids) == 1 else f"{ids[0]} … {ids[-1]}"
    lines = [
        f"sweep {name}: submitted {missing:,} of {len(planned.planned):,} cells, as {said}",
        f"what they say is in {folder}/cell-*.log; to see how far they are:",
        f"corrtool {look}",
    ]
    console.result({**status, "jobs": ids}, lines)


def show(console: Console, result: SweepResult) -> None:
    """Print the cells of a sweep."""
    from corrtool.cli.sweep_display import cells_table

    silent = console.json or console.quiet
    console.result(result, [] if silent else cells_table(result))
    if "promote" in result:
        count = sum(cell["state"] == "paused" for cell in result["cells"])
        noun, them = ("cell is", "it") if count == 1 else ("cells are", "them")
        console.say(f"{count:,} {noun} paused; to go on with {them}: {result['promote']}")


def run(
    console: Console,
    planned: Sweep,
    on: EngineChoice,
    device: str | None,
    limits: Limits,
    *,
    without: Sequence[str] = (),
    lines: bool = False,
    pruning: Pruning | None = None,
) -> SweepResult:
    """Run a planned sweep, and tell what happens.

    Args:
        on: the engine that begins the commands.
        without: environment variables that the commands are not to see.
        lines: whether what was done before is told as well.
        pruning: says which cells are paused.
    """
    from corrtool.cli.sweep_display import Display

    states = [cell["state"] for cell in planned.status()["cells"]]
    paused = 0 if pruning is None else states.count("paused")
    open_cells = len(states) - states.count("done") - paused
    planned.engine = on.name
    planned.write()  # before anything is begun: a project may be read-only
    with on.begun(open_cells, device, without) as engine:
        said = describe(len(planned.planned), open_cells, engine, paused)
        console.say(f"sweep {planned.name}: {said}")
        if pruning is not None and open_cells:
            console.say(f"sweep {planned.name}: {pruning}")
        with Display(console, lines=lines) as display:
            return planned.run(engine, limits, display, pruning)


def describe(cells: int, open_cells: int, engine: object, paused: int = 0) -> str:
    """What will be done, in words, of which those of the engine say what the commands get."""
    if not open_cells and paused:
        return f"{cells - paused:,} of {cells:,} cells are done, and {paused:,} paused"
    if not open_cells:
        return "the cell is done" if cells == 1 else f"all {cells:,} cells are done"
    return f"{open_cells:,} of {cells:,} cells to do, {engine}"


def raise_if_unfinished(result: SweepResult) -> None:
    """Raise :class:`CorrtoolError` unless every cell is done, or paused as was asked for."""
    unfinished = [cell for cell in result["cells"] if cell["state"] not in ("done", "paused")]
    if unfinished:
        said = next((c["failure"] for c in unfinished if c["failure"] is not None), None)
        raise CorrtoolError(
            f"{len(unfinished)} of {len(result['cells'])} cells are not done"
            + (f"; the first said: {said}" if said else ""),
            "the same command tries them again",
        )
