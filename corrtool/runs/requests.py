"""The request of a run, and what an equal one has left already: a result, or a run to resume.

A run is identified by a fingerprint of its stage, settings, seed, tasks and inputs. The same
command again therefore finds what it had begun and goes on, or finds its result and says so;
another command under the same
name is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from corrtool.errors import ArtifactError, NameTakenError, UsageError
from corrtool.files.atomic import replaced_path
from corrtool.project.artifacts import (
    Artifact,
    artifact_path,
    artifact_problems,
    check_name,
    read_artifact,
)
from corrtool.project.directory import Project
from corrtool.project.manifests import Origin
from corrtool.runs.checkpoint_files import CHECKPOINT, checkpoint_paths
from corrtool.runs.records import (
    Checkpoint,
    Identity,
    RunRecord,
    newest_checkpoint,
    read_record,
    run_directory,
    standing_place,
)
from corrtool.runs.results import StageResult
from corrtool.settings.base import Settings
from corrtool.settings.stages import STAGE_SETTINGS, identifying_settings
from corrtool.tasks.task import TaskDescription

EXTENDED = "extended_from"  # the option of a run that takes the place of a shorter one


@dataclass(frozen=True)
class RunRequest:
    """The request of a run; equal requests have equal fingerprints.

    Attributes:
        settings: the resolved settings. Those that only choose inputs are no part of what
            identifies the run.
        name: names the run and its artifacts.
        tasks: JSON of each task that is played, by role.
        inputs: the artifacts read, by what they are used for.
        produces: pairs of kind and name.
        state_kind: ``"image"``, ``"grid"`` for small pictures, ``"signal"`` or ``"vector"``.
        options: choices that are not settings but change the outcome, such as ``no_corr``.
    """

    settings: Settings
    name: str
    seed: int
    tasks: dict[str, TaskDescription]
    inputs: dict[str, Artifact]
    produces: list[tuple[str, str]]
    state_kind: str
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for _, name in [("run", self.name), *self.produces]:
            check_name(name)

    @property
    def locks(self) -> list[tuple[str, str]]:
        """The locks held while it runs: its artifacts, or the run itself when it makes none."""
        return self.produces or [(self.settings.stage, self.name)]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that determines the outcome, except the device and the versions."""
        return _digest(self.identity())

    def identity(self) -> Identity:
        """The fields of the fingerprint."""
        return {
            "stage": self.settings.stage,
            "settings": self.settings.identity(),
            "seed": self.seed,
            "tasks": self.tasks,
            "inputs": inputs_of(self.inputs),
            "options": self.options,
        }

    def name_taken(self, message: str) -> NameTakenError:
        """The error that another run has the name of this one, or of what it makes."""
        names = {use: artifact.name for use, artifact in self.inputs.items()}
        return NameTakenError(message, self.name, names)

    def matches(self, made: Origin) -> bool:
        """True if ``made``, the record of a run or a manifest of its, is of an equal request.

        See :func:`is_equal`.
        """
        return is_equal(self.fingerprint, made)


def inputs_of(inputs: dict[str, Artifact]) -> dict[str, list[str]]:
    """The identity of the artifacts that a run reads, by use."""
    return {use: [artifact.kind, artifact.sha256] for use, artifact in sorted(inputs.items())}


def identity_of(made: Origin) -> Identity:
    """As :meth:`RunRequest.identity`, from a record or manifest.

    Settings have their present names, and those newer than it their defaults.
    """
    settings_class = STAGE_SETTINGS.get(str(made.get("stage")))
    defaults = {} if settings_class is None else settings_class().identity()
    return {
        "stage": made.get("stage"),
        "settings": defaults
        | identifying_settings(str(made.get("stage")), made.get("settings") or {}),
        "seed": made.get("seed"),
        "tasks": made.get("tasks"),
        "inputs": {
            use: [a["kind"], a["sha256"]] for use, a in sorted((made.get("parents") or {}).items())
        },
        "options": options if isinstance(options := made.get("options"), dict) else {},
    }


def is_equal(fingerprint: str, made: Origin) -> bool:
    """True if ``made``, the record of a run or a manifest of its, is of a request like this.

    It may have been written before the stage had one of its settings: then it counts as made with
    that setting's default, which is chosen so that it says what was done before. Settings count by
    their present names.
    """
    return fingerprint == made.get("fingerprint") or fingerprint == _digest(identity_of(made))


def _digest(identity: Identity) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def finished_result(project: Project, request: RunRequest) -> StageResult | None:
    """The result of an equal request that finished and whose artifacts are still whole, else None.

    Raises:
        UsageError: the name is taken by a run with other settings or inputs.
        ArtifactError: an artifact that the run made is damaged.
    """
    place = run_directory(project.root, request.settings.stage, request.name)
    directory = standing_place(place)
    begun = bool(checkpoint_paths(directory))
    record = read_record(directory) if begun or (directory / "run.json").exists() else None
    if record is not None and record["state"] == "running" and not begun:
        record = None  # it failed before it had anything to lose, so it does not claim the name
    if record is not None and not _is_made(request, record):
        if cut_run(project, request) is not None:
            return None  # it is whole, and goes on
        raise _another_run(place, record, request)
    resumes_overwriting = (
        record is not None and record["state"] == "running" and record.get("overwrites") is True
    )
    for kind, name in request.produces:
        if resumes_overwriting or not artifact_path(project.root, kind, name).exists():
            continue
        manifest = read_artifact(project.root, kind, name).manifest
        of_run = record is not None and manifest.get("fingerprint") == record.get("fingerprint")
        if not of_run and not request.matches(manifest):
            raise request.name_taken(
                f"{kind} {name!r} exists and was made with other settings or inputs"
            )
    if record is None or record["state"] != "finished" or directory != place:
        return None  # one that was set aside is put back first
    if not all(artifact_path(project.root, kind, name).exists() for kind, name in request.produces):
        return None
    for kind, name in request.produces:
        for problem in artifact_problems(project.root, kind, name):
            raise problem
    return record["result"]


def _is_made(request: RunRequest, record: RunRecord) -> bool:
    """True if a run is what the request would make, or goes on to be.

    Also a finished one with a time limit that it did not need, where the request has none or a
    larger one.
    """
    if request.matches(record):
        return True
    before, limit = _limit_of(request, record), getattr(request.settings, "max_minutes", None)
    needed = record["state"] != "finished" or "cut" in record["result"]
    return not needed and before is not None and (limit is None or limit >= before)


def _limit_of(request: RunRequest, record: RunRecord) -> float | None:
    """The time limit of a run that is equal but for it; None where it had none, or is another."""
    made = identity_of(record)
    before = made["settings"].get("max_minutes")
    limit = {"max_minutes": getattr(request.settings, "max_minutes", None)}
    with_limit: Identity = {**made, "settings": made["settings"] | limit}
    equal = _digest(with_limit) == request.fingerprint
    return before if equal and type(before) is float else None


def cut_run(project: Project, request: RunRequest) -> RunRecord | None:
    """The record of a finished run from which this request goes on; None if there is none.

    Its time limit cut it short, it is equal but for that limit, which is larger now or gone, and
    its checkpoint is still there.

    Raises:
        ArtifactError: its record is damaged.
    """
    place = run_directory(project.root, request.settings.stage, request.name)
    directory = standing_place(place)
    if not (directory / CHECKPOINT).exists():
        return None
    record, limit = read_record(directory), getattr(request.settings, "max_minutes", None)
    if record["state"] != "finished" or "cut" not in record["result"]:
        return None
    before = _limit_of(request, record)
    return record if before is not None and (limit is None or limit > before) else None


def interrupted_at(project: Project, request: RunRequest) -> Checkpoint | None:
    """The checkpoint from which an equal run goes on, or one that was cut short; None without one.

    Raises:
        ArtifactError: there is one, and its record or all its checkpoints, with what they need, are
            damaged.
    """
    place = run_directory(project.root, request.settings.stage, request.name)
    directory = standing_place(place)
    if not checkpoint_paths(directory):
        return None
    record = read_record(directory)
    interrupted = record["state"] == "running" and request.matches(record)
    if not interrupted and cut_run(project, request) is None:
        return None
    newest = newest_checkpoint(directory)
    return None if newest is None else newest[1]


def can_resume(project: Project, request: RunRequest) -> bool:
    """True if ``--overwrite`` finds an equal run to resume.

    A damaged one is there to be overwritten, and so is one that is finished, cut short or not.
    """
    try:
        return cut_run(project, request) is None and interrupted_at(project, request) is not None
    except ArtifactError:
        return False


def _another_run(directory: Path, record: RunRecord, request: RunRequest) -> UsageError:
    """The error about another run in ``directory`` than the requested one, and what can be done."""
    run = f"{request.settings.stage} {request.name!r}"
    how = difference(identity_of(record), request.identity())
    with contextlib.suppress(ArtifactError):
        if request.matches(read_record(replaced_path(directory))):
            return UsageError(
                f"{run} was finished, but is being replaced by an interrupted run with other "
                f"settings or inputs ({how})",
                f"let that one end, or delete {directory} to keep this one",
            )
    return request.name_taken(f"{run} exists with other settings or inputs ({how})")


_PARTS: tuple[Literal["settings", "options", "tasks", "inputs"], ...] = (
    "settings",
    "options",
    "tasks",
    "inputs",
)


def difference(old: Identity, new: Identity) -> str:
    """The first thing in which two runs' identities differ, in words; time limits count last."""
    for part in _PARTS:
        a, b = dict(old[part] or {}), dict(new[part] or {})
        for key in sorted({*a, *b}):
            if a.get(key) != b.get(key) and key != "max_minutes":
                if part in ("tasks", "inputs"):
                    noun = "task" if part == "tasks" else "input"
                    return f"its {key.replace('_', ' ')} {noun} was another one"
                if key == "extended_from":
                    return (
                        "it was made longer by --extend" if a.get(key) else "--extend was not given"
                    )
                if isinstance(a.get(key), dict) and isinstance(b.get(key), dict):
                    return f"{key.replace('_', '-')} meant another network"
                return f"{key.replace('_', '-')} was {a.get(key)}, now {b.get(key)}"
    if old["seed"] != new["seed"]:
        return f"seed was {old['seed']}, now {new['seed']}"
    limits = (one["settings"].get("max_minutes") for one in (old, new))
    return "max-minutes was {}, now {}".format(*limits)
