"""Results of a project's finished runs for the report: by cell, over seeds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corrtool.errors import ArtifactError
from corrtool.files.sealed import damaged
from corrtool.project.artifacts import Artifact
from corrtool.project.directory import Project
from corrtool.reporting.agents import Agents, find_imports
from corrtool.reporting.baselines import baseline_rows, other_q
from corrtool.reporting.cells import (
    RANDOM_PLAY,
    Cell,
    agent_label,
    correspondence_label,
    finetuning_label,
    make_cells,
)
from corrtool.reporting.evaluations import Protocol
from corrtool.reporting.finished import Evaluation, FinishedRun
from corrtool.reporting.rows import Row, evaluation_rows
from corrtool.reporting.sweeps import SweepResults, read_sweeps
from corrtool.runs.records import finished_run, run_directories, run_problems
from corrtool.runs.results import (
    FinetuneResult,
    LearnCorrResult,
    TrainDqnResult,
    TrainModelResult,
)
from corrtool.runtime.console import Console

PONG = "ALE/Pong-v5"
PONG_THRESHOLDS = (0.0, 10.0, 18.0)
THRESHOLD_SHARES = (0.25, 0.5, 0.9)  # of what the source agent has above random play
_QUIET = Console(quiet=True)


@dataclass(frozen=True)
class Results:
    """Everything that the report shows of a project.

    Attributes:
        baselines: rows of the agent on its own task, and on the target of random play and of reuse.
        thresholds: returns whose reaching is told; none where nothing tells which.
        left_out: runs and manifests of sweeps that cannot be read, and why.
        sweeps: those that have a finished cell.
        agents: what the agents of evaluations are called.
        imports: agents and memories from other programs' files.
    """

    project: Project
    runs: list[FinishedRun[Any]]
    source_agents: list[Cell[TrainDqnResult]]
    models: list[Cell[TrainModelResult]]
    correspondences: list[Cell[LearnCorrResult]]
    finetunings: list[Cell[FinetuneResult]]
    baselines: dict[str, list[Row]]
    thresholds: tuple[float, ...]
    left_out: list[str]
    sweeps: list[SweepResults] = field(default_factory=list)
    agents: Agents = field(default_factory=Agents)
    imports: list[Artifact] = field(default_factory=list)

    def machines(self) -> list[str]:
        """On what the runs were made.

        Each device and number of threads once, with the commits of corrtool in their order.
        """
        commits: dict[str, list[str]] = {}
        for run in sorted(self.runs, key=lambda run: run.created):
            m = run.record["machine"]
            threads = m.get("threads", "?")
            counted = f"{threads} {'thread' if threads == 1 else 'threads'}"
            text = f"{m.get('device_name') or m['device']}, {counted}"
            commits.setdefault(text, []).append(run.corrtool)
        return [
            f"{machine}, corrtool {', '.join(dict.fromkeys(made))}"
            for machine, made in commits.items()
        ]


def read_results(
    project: Project, thresholds: tuple[float, ...] = (), console: Console = _QUIET
) -> Results:
    """Read the records and metrics of all finished runs.

    Unfinished ones and those that are damaged are left out.

    Args:
        thresholds: returns whose reaching is told, instead of those that the tasks and the
            evaluations suggest.
        console: shows how far it is.
    """
    runs, left_out = _readable_runs(project, console)
    known = Agents.of(project.root, runs)
    by_stage = {
        stage: [run for run in runs if run.stage == stage] for stage in {run.stage for run in runs}
    }
    evaluations: list[Evaluation] = sorted(
        by_stage.get("evaluate", []), key=lambda run: run.created
    )
    on_source, on_target = (
        [run for run in evaluations if run.settings["task"] == role]
        for role in ("source", "target")
    )
    learnt_on_target = {
        (run.name, run.output_sha256("q", run.name))
        for run in runs
        if run.stage in ("train-dqn", "finetune") and run.settings["task"] == "target"
    }
    zero_shot = [e for e in on_target if e.reference_to("q") not in learnt_on_target]
    through, of_agents, of_learnt = (
        _by_reference(played, use)
        for played, use in ((zero_shot, "corr"), (on_source, "q"), (on_target, "q"))
    )
    learn_corr: list[FinishedRun[LearnCorrResult]] = by_stage.get("learn-corr", [])
    own_q = _default_q(learn_corr, zero_shot)
    correspondences = make_cells(learn_corr, correspondence_label)
    for cell in correspondences:
        own = [run.parent("q") or own_q for run in cell.runs]
        _assign_rows(cell, through, "corr", own, functools.partial(other_q, known))
    agents = _agents(by_stage.get("train-dqn", []), "source", of_agents)
    target_agents = _agents(by_stage.get("train-dqn", []), "target", of_learnt)
    finetunings = make_cells(
        [r for r in by_stage.get("finetune", []) if r.settings["task"] == "target"],
        lambda run: finetuning_label(run, correspondences),
    )
    for cell in finetunings:
        _assign_rows(
            cell,
            of_learnt,
            "q",
            [run.parent("corr") for run in cell.runs],
            _other_correspondence,
        )
    baselines = baseline_rows(on_source if zero_shot or learn_corr else [], zero_shot, known, own_q)
    evaluated: list[Cell[Any]] = [*agents, *target_agents, *correspondences, *finetunings]
    sweeps, damaged_sweeps = read_sweeps(project.root, runs, evaluated)
    return Results(
        project=project,
        runs=runs,
        source_agents=agents,
        models=make_cells(by_stage.get("train-model", []), lambda run: run.result["model"]),
        correspondences=correspondences,
        finetunings=finetunings,
        baselines=baselines,
        thresholds=thresholds or _thresholds(project, on_source, baselines),
        left_out=[*left_out, *damaged_sweeps],
        sweeps=sweeps,
        agents=known,
        imports=find_imports(project.root),
    )


def _readable_runs(project: Project, console: Console) -> tuple[list[FinishedRun[Any]], list[str]]:
    """The finished runs that are whole, and what is wrong with the others."""
    runs, left_out, directories = [], [], [*run_directories(project.root)]
    with console.transient_progress("report: reading", len(directories), "runs") as bar:
        for directory in directories:
            try:
                run = _readable_run(directory)
                runs += [] if run is None else [run]
            except ArtifactError as error:
                left_out.append(str(error))
            bar.advance(1)
    return runs, left_out


def _readable_run(directory: Path) -> FinishedRun[Any] | None:
    """The run in a directory, None where it is not finished.

    Raises :class:`ArtifactError` where it is not whole.
    """
    finished = finished_run(directory)
    if finished is None:
        return None
    place, record = finished
    run: FinishedRun[Any] = FinishedRun(record["stage"], record["name"], place, record)
    run.check_metrics()
    for problem in run_problems(place):
        raise problem
    if not _is_whole(run):
        raise damaged(place / "run.json")
    return run


_NUMBER = (int, float)
_RESULTS: dict[str, dict[str, tuple[type, ...]]] = {
    "train-dqn": {"env_steps": (int,), "mean_return_20": (*_NUMBER, type(None))},
    "train-model": {"model": (str,), "gradient_steps": (int,), "validation": (dict,)},
    "learn-corr": {
        "gradient_steps": (int,),
        "angle_degrees": (*_NUMBER, type(None)),
        "best_angle_degrees": (*_NUMBER, type(None)),
    },
    "evaluate": {"mean_return": _NUMBER, "returns": (list,), "distinct_games": (int, type(None))},
}


_SETTINGS: dict[str, dict[str, tuple[type, ...]]] = {
    "train-dqn": {"task": (str,), "optimizer": (str,), "architecture": (str,)},
    "finetune": {"task": (str,)},
    "evaluate": {"task": (str,), "policy": (str,)},
    "learn-corr": dict.fromkeys(("lambda_cyc", "lambda_q", "lambda_m", "angle_init"), _NUMBER)
    | {
        "generator": (str,),
        "cycle_loss": (str,),
        "model_loss": (str,),
        "angle_starts": (int, type(None)),
    },
}


def _is_whole(run: FinishedRun[Any]) -> bool:
    """True if a run's settings and its result hold everything the report shows of them."""
    for table, known in ((run.result, _RESULTS), (run.settings, _SETTINGS)):
        if not all(
            isinstance(table.get(name), kinds) for name, kinds in known.get(run.stage, {}).items()
        ):
            return False
    if run.stage == "evaluate":
        try:
            Protocol.of(run.settings, run.task)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return False
    returns = run.result.get("returns", [0.0])
    return bool(returns) and all(isinstance(value, _NUMBER) for value in returns)


def _default_q(
    learn_corr: list[FinishedRun[LearnCorrResult]], evaluations: list[Evaluation]
) -> str | None:
    """SHA-256 of the Q-function that is meant where none is said.

    That of the first correspondence, else the first that played.
    """
    made: list[FinishedRun[Any]] = sorted(learn_corr, key=lambda run: run.created)
    agents = (run.parent("q") for run in [*made, *evaluations])
    return next((sha256 for sha256 in agents if sha256 is not None), None)


def _agents(
    runs: list[FinishedRun[TrainDqnResult]],
    task: str,
    evaluations: dict[tuple[str, str | None] | None, list[Evaluation]],
) -> list[Cell[TrainDqnResult]]:
    """Cells of the DQNs of a task, with the rows of the evaluations on it."""
    cells = make_cells([run for run in runs if run.settings["task"] == task], agent_label)
    for cell in cells:
        _assign_rows(cell, evaluations, "q", [None] * len(cell.runs), _other_correspondence)
    return cells


def _by_reference(
    evaluations: list[Evaluation], use: str
) -> dict[tuple[str, str | None] | None, list[Evaluation]]:
    """Evaluations by the artifact that they read for ``use``, its name and SHA-256, in order."""
    found: dict[tuple[str, str | None] | None, list[Evaluation]] = {}
    for evaluation in evaluations:
        found.setdefault(evaluation.reference_to(use), []).append(evaluation)
    return found


def _assign_rows(
    cell: Cell[Any],
    evaluations: dict[tuple[str, str | None] | None, list[Evaluation]],
    use: str,
    own: list[str | None],
    deviation_of: Callable[[Evaluation, str | None], str],
) -> None:
    """The rows of a cell whose runs made the artifacts that ``evaluations`` read for ``use``.

    Args:
        evaluations: by those artifacts.
        own: by run, the other artifact that belongs to it.
        deviation_of: how an evaluation was played other than with that.
    """
    by_run = [
        evaluations.get((run.name, run.output_sha256(use, run.name)), []) for run in cell.runs
    ]
    cell.rows = evaluation_rows(
        by_run, [run.seed for run in cell.runs], lambda i, e: deviation_of(e, own[i])
    )


def _other_correspondence(evaluation: Evaluation, own: str | None) -> str:
    """Through which correspondence was played, where it was not the ``own`` one."""
    if evaluation.parent("corr") == own:
        return ""
    corr = evaluation.parent_name("corr")
    return "without correspondence" if corr is None else f"through {corr}"


def _thresholds(
    project: Project, on_source: list[Evaluation], baselines: dict[str, list[Row]]
) -> tuple[float, ...]:
    """The paper's for Pong.

    Else shares of what the source agent has above random play, in two digits, where both were
    played.
    """
    if all(project.task(role).id == PONG for role in ("source", "target")):
        return PONG_THRESHOLDS
    agents = evaluation_rows(
        [[e for e in on_source if e.settings["policy"] == "q"]], [None], lambda i, e: ""
    )
    agent, random = (
        next(
            (run for row in rows for run in (row.plain[0], row.sticky[0]) if run is not None), None
        )
        for rows in (agents, baselines.get(RANDOM_PLAY, []))
    )
    if (
        agent is None
        or random is None
        or agent.result["mean_return"] <= random.result["mean_return"]
    ):
        return ()
    low, high = random.result["mean_return"], agent.result["mean_return"]
    return tuple(sorted({float(f"{low + share * (high - low):.2g}") for share in THRESHOLD_SHARES}))
