"""What all imports of agents have in common: a file of another library becomes an artifact.

``q_import.py`` and ``policy_import.py`` know what is in the files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from corrtool.errors import UsageError
from corrtool.exchange.foreign import ForeignFile, FoundQ, checked_weights, read_foreign
from corrtool.exchange.q_result import ImportQPlan, ImportQResult
from corrtool.files.atomic import remove_partial
from corrtool.files.sealed_tensors import content_sha256
from corrtool.project.artifacts import (
    Artifact,
    artifact_path,
    artifact_problems,
    check_name,
    find_artifacts,
    is_name,
    read_artifact,
)
from corrtool.project.defaults import project_seed
from corrtool.project.directory import Project
from corrtool.project.locks import check_unlocked, lock_artifacts
from corrtool.project.manifests import Imported, Manifest
from corrtool.project.weights import save_weights
from corrtool.q_learning.saved import QDescription, RewardsLearnt
from corrtool.runs.commands import option_words, this_command
from corrtool.runs.requests import difference, identity_of
from corrtool.runtime.machine import describe_machine
from corrtool.settings.base import flag_name
from corrtool.settings.common import CommonOptions
from corrtool.settings.exchange import SAME, ImportSettings
from corrtool.states import StateSpec
from corrtool.tasks import Task, probe
from corrtool.tasks.words import preprocessing_in_words

S = TypeVar("S", bound=ImportSettings)

STAGE = "import"
_LONGEST_STEM = 70


@dataclass(frozen=True)
class Job:
    """What is to be written, after everything about it was checked."""

    project: Project
    name: str
    seed: int
    task: Task
    preprocessing: str
    settings: ImportSettings
    description: QDescription
    weights: dict[str, Tensor]
    imported: Imported
    notes: list[str]

    @property
    def manifest(self) -> Manifest:
        """All that the artifact's manifest says besides its weights."""
        return {
            "created": datetime.now(UTC).isoformat(),
            "stage": STAGE,
            "seed": self.seed,
            "settings": self.settings.to_json(),
            "tasks": {self.task.role: self.task.to_json()},
            "parents": {},
            "machine": describe_machine(torch.device("cpu")),
            "command": this_command(STAGE),
            "role": self.task.role,
            "task_sha256": self.task.sha256,
            "network": self.description.to_json(),
            "summary": {},
            "imported": self.imported,
        }


# What a file holds, and which network that is, for states of a task and its number of actions.
Reader = Callable[[ForeignFile, StateSpec, int], tuple[FoundQ, QDescription]]


def import_agent(
    project: Project,
    path: Path,
    settings: ImportSettings,
    common: CommonOptions,
    read: Reader,
    mapping: dict[str, str] | None = None,
) -> ImportQResult | ImportQPlan:
    """Write the agent in the file ``path`` to the project; nothing in the file is executed.

    Args:
        common: ``name`` of the artifact, else made from that of the file; the ``seed`` that the
            agent was trained with, else as the file says, or the project's; and how to run.
        mapping: that ``read`` uses, which is recorded.

    Raises:
        UsageError: something was not said that the file does not say, or the name is taken.
        ArtifactError: the file is missing, damaged, hostile, or does not fit the task.
        LockedError: another process is writing the artifact.
    """
    job = _plan(project, path, settings, common, read, mapping)
    if common.dry_run:
        return _dry(job, overwrite=common.overwrite)
    if job.settings.preprocessing is None:
        raise UsageError(
            f"no file says with which preprocessing an agent was trained; the {job.task.role} "
            f"task has {job.preprocessing}",
            f"say --preprocessing {SAME} if the agent had the same, else what was different",
        )
    with lock_artifacts(project.root, [("q", job.name)]):
        done = None if common.overwrite else _already_there(job)
        artifact = done or _write(job)
    return _result(job, artifact, done=done is not None)


def as_called(
    command: str,
    settings: type[S],
    known: frozenset[str],
    format: str,
    arguments: Mapping[str, Any],
) -> tuple[S, dict[str, Any], list[str]]:
    """An import that is called from Python: its settings, its other arguments, and its words.

    Args:
        command: such as ``"import q"``.
        known: the names of arguments that it takes.

    Raises:
        UsageError: there is no argument of such a name.
    """
    for name in arguments:
        if name not in known:
            raise UsageError(
                f"{command} has no argument {name!r}", f"see 'corrtool {command} --help'"
            )
    words = option_words({"from": format, **arguments}, off=("clip_rewards",))
    names = {field.name for field in fields(settings)} & set(arguments)
    others = {name: value for name, value in arguments.items() if name not in names}
    return settings(format, **{name: arguments[name] for name in names}), others, words


def _plan(
    project: Project,
    path: Path,
    settings: ImportSettings,
    common: CommonOptions,
    read: Reader,
    mapping: dict[str, str] | None,
) -> Job:
    """Read the file, check that it fits the task, and settle what it does not say."""
    task = project.task(settings.task)
    spec, actions = probe(task)
    file = read_foreign(path)
    found, description = read(file, spec, actions)
    weights = checked_weights(file, found.weights)
    settled, notes = _settled(settings, found, task)
    notes = [*found.notes, *notes]
    if found.unused:
        notes.append(f"not used: {', '.join(found.unused[:20])}")
    seed = project_seed(project, found.says.get("seed") if common.seed is None else common.seed)
    imported: Imported = {"file": path.name, "sha256": file.sha256, "says": found.says}
    if mapping:
        imported["mapping"] = mapping
    return Job(
        project,
        _name_of(path, seed) if common.name is None else check_name(common.name),
        seed,
        task,
        preprocessing_in_words(task, spec, actions),
        settled,
        description,
        weights,
        imported,
        notes,
    )


def _settled(
    settings: ImportSettings, found: FoundQ, task: Task
) -> tuple[ImportSettings, list[str]]:
    """The settings with what the file says and what is assumed; with lines that say so.

    Raises :class:`UsageError` where the file says something else than the command.
    """
    notes, gamma, clip = [], settings.gamma, settings.clip_rewards
    said = found.says.get("gamma")
    if said is not None and gamma not in (None, said):
        raise UsageError(f"--gamma is {gamma}, but the file says {said}", "leave --gamma out")
    if said is None and gamma is None:
        notes.append(
            f"the file does not say gamma, so {RewardsLearnt.gamma} is assumed; "
            "--gamma says otherwise"
        )
    if clip is None:
        clip = task.is_atari
        how = (
            "their signs, as both libraries do for Atari games"
            if clip
            else "the rewards as they are"
        )
        flag = flag_name("no_clip_rewards" if clip else "clip_rewards")
        notes.append(
            "no file says whether the agent learnt of clipped rewards; assumed: "
            f"{how}; {flag} says otherwise"
        )
    if settings.preprocessing not in (None, SAME):
        notes.append(
            "trained with other preprocessing than the task's, so it may play worse than where "
            f"it comes from: {settings.preprocessing}"
        )
    if gamma is None:
        gamma = RewardsLearnt.gamma if said is None else float(said)
    return replace(settings, gamma=gamma, clip_rewards=clip), notes


def _name_of(path: Path, seed: int) -> str:
    """A name from that of the file, and the seed where that is not 0."""
    letters = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in path.stem)
    stem = letters.lstrip("._-")[:_LONGEST_STEM]
    name = stem if is_name(stem) else "imported"
    return name if seed == 0 else f"{name}-seed{seed}"


def _already_there(job: Job) -> Artifact | None:
    """The artifact of this name, if it is what would be written; None without one.

    Raises:
        UsageError: it is something else.
        ArtifactError: it is damaged.
    """
    root = job.project.root
    if not artifact_path(root, "q", job.name).exists():
        return None
    artifact = read_artifact(root, "q", job.name)
    for problem in artifact_problems(root, "q", job.name):
        raise problem
    new, old = job.manifest, artifact.manifest
    how = None
    if old.get("stage") != STAGE:
        how = f"{old.get('stage')} made it"
    elif identity_of(old) != identity_of(new):
        how = difference(identity_of(old), identity_of(new))
    elif (artifact.sha256, old.get("network")) != (content_sha256(job.weights), new["network"]):
        how = "its weights are others"
    if how is not None:
        raise UsageError(
            f"{artifact} exists and is another one ({how})",
            "choose another --name, or --overwrite it",
        )
    return artifact


def _write(job: Job) -> Artifact:
    path = artifact_path(job.project.root, "q", job.name)
    remove_partial(path.parent, f"{path.name}.")
    return save_weights(job.project.root, "q", job.name, job.weights, job.manifest)


def _dry(job: Job, *, overwrite: bool) -> ImportQPlan:
    """The plan. Raises what would prevent it: another artifact of this name, or a lock."""
    check_unlocked(job.project.root, [("q", job.name)])
    missing = []
    if job.settings.preprocessing is None:
        missing.append("with which preprocessing the agent was trained; say it by --preprocessing")
    done = not missing and not overwrite and _already_there(job) is not None
    return {
        "dry_run": True,
        "done": done,
        "begun": False,
        "stage": STAGE,
        "name": job.name,
        "device": "cpu",
        "seed": job.seed,
        "settings": job.settings.to_json(),
        "inputs": {},
        "produces": [f"q {job.name}"],
        "missing": missing,
        "tasks": {job.task.role: job.task.to_json()},
        "preprocessing": job.preprocessing,
        "imported": job.imported,
        "notes": job.notes,
    }


def _has_memory(project: Project, q: Artifact) -> bool:
    """True if there is a memory that it has played."""
    memories = find_artifacts(project.root, "memory")
    players = [memory.manifest.get("parents", {}).get("q") for memory in memories]
    return any(player is not None and player["sha256"] == q.sha256 for player in players)


def _result(job: Job, artifact: Artifact, *, done: bool) -> ImportQResult:
    role, notes = job.task.role, list(job.notes)
    if done:
        notes.insert(0, f"{artifact} is there already; --overwrite writes it again")
    evaluate = f"corrtool evaluate --task {role} --q {job.name}"
    notes.append(f"whether it plays as where it comes from: '{evaluate}'")
    if role == "source" and not _has_memory(job.project, artifact):
        notes.append(
            f"it has no memory M_S: 'corrtool collect --task source --policy q:{job.name}' makes "
            f"one, and 'corrtool transfer --from-q {job.name}' does so by itself"
        )
    parameters = sum(tensor.numel() for tensor in job.weights.values())
    return {
        "stage": STAGE,
        "name": job.name,
        "artifacts": [artifact.reference()],
        "seed": job.seed,
        "settings": job.settings.to_json(),
        "metrics": {"parameters": parameters},
        "q": job.name,
        "sha256": artifact.sha256,
        "architecture": job.description.architecture,
        "parameters": parameters,
        "preprocessing": job.preprocessing,
        "imported": job.imported,
        "notes": notes,
    }
