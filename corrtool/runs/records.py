"""Records of runs on disk, read and checked: ``run.json``, metrics, checkpoint and its files.

Written by :mod:`corrtool.runs.run`. Anybody can seal a file, so every field is checked before it is
used.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, TypedDict, cast

from corrtool.errors import ArtifactError, UsageError
from corrtool.files.atomic import REPLACED_SUFFIX, inside, replaced_path
from corrtool.files.sealed import damaged, read_sealed_json
from corrtool.project.artifacts import check_name, check_readable, is_name, is_reference
from corrtool.project.manifests import Origin, Reference
from corrtool.project.memory_files import check_files, check_memory
from corrtool.runs.checkpoint_files import checkpoint_paths
from corrtool.runs.metrics import Position, digest_of_saved, metrics_path
from corrtool.runs.results import StageResult
from corrtool.runs.resumable import State
from corrtool.settings.stages import STAGE_SETTINGS
from corrtool.tasks.task import TaskDescription


class Identity(TypedDict):
    """What identifies a run: see :class:`corrtool.runs.requests.RunRequest`.

    Made from a record or a manifest that lacks a part, it has None there, which no request has.
    """

    stage: str | None
    settings: dict[str, Any]
    seed: int | None
    tasks: dict[str, TaskDescription] | None
    inputs: dict[str, list[str]]
    options: dict[str, Any]


class RunRecord(Origin, total=False):
    """The record of a run, ``run.json``; older versions wrote fewer fields.

    Attributes:
        state: ``"running"``, also where it was interrupted, or ``"finished"``.
        identity: for people who wonder what differs; nothing reads it.
        result, metrics_sha256: of a finished run.
        overwrites: whether it replaces another run.
        artifacts: those that it has published.
    """

    state: str
    name: str
    identity: Identity
    result: StageResult
    metrics_sha256: str
    seconds: float
    locks: list[tuple[str, str]]
    overwrites: bool
    artifacts: list[Reference]


class Checkpoint(TypedDict):
    """A checkpoint of a run.

    Attributes:
        metrics: how far the metrics reached.
        stage: what the stage's own parts hold.
    """

    fingerprint: str
    resumptions: int
    overwrites: bool
    seconds: float
    metrics: Position
    stage: State


# In a run's directory: a memory that is being written, the blocks of one that grows, pictures, and
# the starts that searches have found.
STAGED_MEMORY, JOURNAL, PICTURES, STARTS = "staged.zarr", "journal", "pictures", "starts.json"


def run_directories(root: Path, stage: str = "*") -> list[Path]:
    """The directories of all runs, of one stage or of all.

    Not of those that an ``--overwrite`` replaces; and whatever else people and desktops leave there
    is no run.

    Raises:
        ArtifactError: a directory cannot be looked into: its runs would be missing without a word.
    """
    runs = inside(root, root / "runs")
    check_readable(runs)
    found = []
    for stage_directory in runs.glob(stage):
        if stage_directory.name not in STAGE_SETTINGS or not stage_directory.is_dir():
            continue
        check_readable(stage_directory)
        for directory in stage_directory.iterdir():
            if is_name(directory.name) and directory.is_dir():
                check_readable(directory)
                found.append(directory)
    return sorted(directory for directory in found if _has_begun(directory))


def _has_begun(directory: Path) -> bool:
    """True if a run left anything; one that ended before it began leaves its directory."""
    left = ("run.json", metrics_path(directory).name, JOURNAL, STAGED_MEMORY)
    return bool(checkpoint_paths(directory)) or any((directory / name).exists() for name in left)


def run_directory(root: Path, stage: str, name: str) -> Path:
    """The directory of a run of a stage."""
    return inside(root, root / "runs" / stage / check_name(name))


def run_of_file(root: Path, stage: str, path: Path) -> str | None:
    """The name of the run of a stage whose file this is; None if it is no file of such a run."""
    runs = root / "runs" / stage
    if not path.is_relative_to(runs) or path == runs:
        return None
    directory = path.relative_to(runs).parts[0]
    name = directory.removeprefix(".").removesuffix(REPLACED_SUFFIX)
    return name if is_name(name) else None


_RECORD = {
    **dict.fromkeys(("stage", "name", "state", "fingerprint", "command", "created"), str),
    "seed": int,
    **dict.fromkeys(("settings", "tasks", "parents", "machine", "identity"), dict),
    **dict.fromkeys(("locks", "artifacts"), list),
}
_NEWER = {"continues": list}  # what older records lack


def read_record(directory: Path) -> RunRecord:
    """The record of the run in ``directory``, every field checked: anybody can seal a file.

    Raises:
        ArtifactError: it is missing or damaged.
    """
    path = directory / "run.json"
    record = read_sealed_json(path)
    finished = {"result": dict} if record.get("state") == "finished" else {}
    newer = {name: kind for name, kind in _NEWER.items() if name in record}
    kinds = _RECORD | finished | newer
    if any(type(record.get(name)) is not kind for name, kind in kinds.items()):
        raise damaged(path)
    references = [*record["parents"].values(), *record["artifacts"]]
    parts = [record["identity"].get(part) for part in ("settings", "options", "tasks", "inputs")]
    if not all(map(is_reference, references)) or not all(
        part is None or type(part) is dict for part in parts
    ):
        raise damaged(path)
    for lock in record["locks"]:
        if not (type(lock) is list and len(lock) == 2 and all(type(part) is str for part in lock)):
            raise damaged(path)
        try:
            check_name(lock[0])
            check_name(lock[1])
        except UsageError:
            raise damaged(path) from None
    return cast(RunRecord, record)


def standing_place(directory: Path) -> Path:
    """Where the run stands that has a name: set aside, if its successor has nothing to lose yet.

    Whoever opens the run puts it back: a process that was killed could not.
    """
    aside = replaced_path(directory)
    if not aside.exists() or checkpoint_paths(directory):
        return directory
    with contextlib.suppress(ArtifactError):
        if read_record(directory)["state"] == "finished":
            return directory
    return aside


def finished_run(directory: Path) -> tuple[Path, RunRecord] | None:
    """Place and record of a finished run.

    It is set aside while an ``--overwrite`` of it is unfinished.

    Raises:
        ArtifactError: a record is missing or damaged.
    """
    for place in (directory, replaced_path(directory)):
        if place == directory or place.exists():
            record = read_record(place)
            if record["state"] == "finished":
                return place, record
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint, after checking what it needs beside it.

    The metrics, and the unfinished memory or the journal.

    Raises:
        ArtifactError: one of them is missing or damaged.
    """
    from corrtool.runs.checkpoints import load_checkpoint  # torch, where there is a checkpoint only

    state, directory = cast(Checkpoint, load_checkpoint(path)), path.parent
    try:
        digest_of_saved(metrics_path(directory), state["metrics"])
        check_files(directory / STAGED_MEMORY, state["stage"].get("files", {}))
        for first, last in state["stage"].get("journal", {}).get("blocks", []):
            check_memory(directory / JOURNAL / f"{first}-{last}.zarr")
    except (KeyError, TypeError, ValueError, AttributeError):  # sealed by somebody else
        raise damaged(path) from None
    return state


def newest_checkpoint(directory: Path) -> tuple[Path, Checkpoint, list[ArtifactError]] | None:
    """The newest checkpoint that is whole with all it needs.

    Its path, its state, and what is wrong with newer ones.

    None where there are no checkpoints.

    Raises:
        ArtifactError: there are some, and none of them is whole.
    """
    problems: list[ArtifactError] = []
    for path in checkpoint_paths(directory):
        try:
            return path, read_checkpoint(path), problems
        except ArtifactError as problem:
            problems.append(problem)
    if problems:
        raise problems[0]
    return None


def steps_done(state: State) -> int | None:
    """The environment or gradient steps that a stage's state in a checkpoint has behind it.

    None for stages that do not learn.
    """
    progress, learner = state.get("progress"), state.get("learner")
    found = (
        progress.get("env_steps") if isinstance(progress, dict) else None,
        learner.get("gradient_steps") if isinstance(learner, dict) else None,
        state.get("done"),
    )
    return next((steps for steps in found if type(steps) is int), None)


def run_problems(directory: Path) -> list[ArtifactError]:
    """Problems of a run: its record, its metrics, and the checkpoint of an unfinished one."""
    try:
        record = read_record(directory)
        if record.get("metrics_sha256") is not None:
            check_files(directory, {metrics_path(directory).name: str(record["metrics_sha256"])})
        for path in checkpoint_paths(directory):
            read_checkpoint(path)
    except ArtifactError as error:
        return [error]
    return []
