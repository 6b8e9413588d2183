"""A training that ended, made longer: ``train-dqn --extend`` goes on from what a finished run left.

A finished run keeps no checkpoint. So the longer one begins with the weights that were kept, the
memory M_S, the counters and the metrics of the finished one; its optimizer and what M_S does not
hold of the memory begin anew. Once finished it takes the shorter run's place and name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from corrtool.errors import ArtifactError, UsageError
from corrtool.files.sealed import damaged
from corrtool.memory import read_rows
from corrtool.project.artifacts import read_artifact
from corrtool.project.memory_files import check_memory
from corrtool.project.weights import load_weights
from corrtool.q_learning.progress import Progress, StartingPoint
from corrtool.runs.checkpoint_files import checkpoint_paths
from corrtool.runs.commands import resume_command
from corrtool.runs.context import StageContext
from corrtool.runs.metrics import metrics_path, read_metrics
from corrtool.runs.records import Identity, finished_run, read_record, run_directory
from corrtool.runs.requests import EXTENDED, difference, identity_of
from corrtool.runs.results import TrainDqnResult
from corrtool.settings.stages import TrainDqnSettings
from corrtool.tasks.task import TaskDescription


def plan_extension(
    context: StageContext, settings: TrainDqnSettings, name: str, tasks: dict[str, TaskDescription]
) -> tuple[StageContext, dict[str, Any]]:
    """Context and options of a request that makes the run ``name`` as long as ``settings`` say.

    The options tell what it goes on from: ``env_steps``, Q-function and memory by their SHA-256.

    Raises:
        UsageError: no finished run has this name, or it is longer, or differs in more than that.
        ArtifactError: its record is damaged.
    """
    if context.overwrite:
        raise UsageError("--extend and --overwrite contradict each other", "give one of them")
    directory = run_directory(context.project.root, settings.stage, name)
    try:
        newest = read_record(directory)
    except ArtifactError:
        if (directory / "run.json").exists():
            raise
        newest = None
    if newest is not None:
        made = identity_of(newest)
        limit = {"max_minutes": made["settings"].get("max_minutes")}  # with more it goes on
        asked = {"settings": settings.identity() | limit, "seed": context.seed, "tasks": tasks}
        if asked.items() <= made.items():
            return context, made["options"]  # it is as long already, or on its way
        if newest["state"] == "running" and checkpoint_paths(directory):
            other = cast(Identity, made | asked)
            raise UsageError(
                f"{settings.stage} {name!r} is on its way to {made['settings'].get('env_steps'):,} "
                f"env steps, in a run that was interrupted ({difference(made, other)})",
                f"let that one end first: {resume_command(context.project.root, newest)}",
            )
    finished = finished_run(directory) if newest is not None else None
    if finished is None:
        raise UsageError(
            f"there is no finished {settings.stage} {name!r} to extend",
            "leave --extend out, or name one with --name",
        )
    record = finished[1]
    env_steps = cast(TrainDqnResult, record["result"]).get("env_steps")
    if type(env_steps) is not int:
        raise damaged(finished[0] / "run.json")
    shorter = identity_of(record)
    lengths = ("env_steps", "unsolved_env_steps", "max_minutes")
    same_length = {
        name: shorter["settings"][name] for name in lengths if name in shorter["settings"]
    }
    longer: Identity = {
        **shorter,
        "settings": settings.identity() | same_length,
        "seed": context.seed,
        "tasks": tasks,
    }
    if shorter != longer:
        raise UsageError(
            f"{settings.stage} {name!r} was made with other settings or inputs "
            f"({difference(shorter, longer)})",
            "--extend changes nothing but --env-steps",
        )
    if settings.env_steps <= env_steps:
        raise UsageError(
            f"{settings.stage} {name!r} has {env_steps:,} env steps", "give a larger --env-steps"
        )
    extended = {a["kind"]: a["sha256"] for a in record["artifacts"] if a["name"] == name}
    return replace(context, overwrite=True), {EXTENDED: {"env_steps": env_steps, **extended}}


def load_starting_point(
    context: StageContext, settings: TrainDqnSettings, name: str, options: dict[str, Any]
) -> StartingPoint | None:
    """The starting point of a run with these options; None for one that extends nothing.

    Raises:
        ArtifactError: what it goes on from is no longer there, or damaged.
    """
    if EXTENDED not in options:
        return None
    root, extended = context.project.root, options[EXTENDED]
    q, memory = (read_artifact(root, kind, name) for kind in ("q", "memory"))
    finished = finished_run(run_directory(root, settings.stage, name))
    if (q.sha256, memory.sha256) != (extended["q"], extended["memory"]) or finished is None:
        raise ArtifactError(
            f"{q} is no longer what was to be extended", "train it anew with --overwrite"
        )
    place, record = finished
    rows, weights = read_rows(memory.path, check_memory(memory.path)), load_weights(q)
    metrics, result = read_metrics(metrics_path(place)), cast(TrainDqnResult, record["result"])
    try:
        progress = Progress(
            env_steps=int(extended["env_steps"]),
            games=int(result["games"]),
            recent_returns=[
                float(line["return"]) for line in metrics if line.get("event") == "game"
            ][-20:],
            evaluated_at=int(extended["env_steps"]),
            best_mean_return=result["best_mean_return"],
            best_weights=None if result["best_mean_return"] is None else weights,
        )
        return StartingPoint(weights, rows, progress, int(result["gradient_steps"]), metrics)
    except (KeyError, TypeError, ValueError):  # sealed by somebody else
        raise damaged(place / "run.json") from None
