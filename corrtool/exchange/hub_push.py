"""``push``: weights of a project, with their tasks and a card, as one commit on the Hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from corrtool.errors import ArtifactError, MissingInputError, UsageError
from corrtool.exchange.hub import Repository, hub_client, hub_errors
from corrtool.exchange.hub_card import card, summary
from corrtool.exchange.hub_listing import check_place
from corrtool.files.atomic import inside
from corrtool.play.video import plays_in_browsers
from corrtool.project.artifacts import (
    KIND_LABELS,
    Artifact,
    artifact_names,
    artifact_problems,
    find_artifacts,
    read_artifact,
    select_artifact,
)
from corrtool.project.directory import PROJECT_FILE, Project, project_text
from corrtool.project.manifests import Manifest, Reference
from corrtool.project.memory_files import MEMORY_MANIFEST
from corrtool.runtime.console import Console
from corrtool.settings.stages import MADE_BY

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Kind = Literal["q", "model", "corr", "memory", "all"]
WEIGHTS = ("q", "model", "corr")
REPLAY = "replay.mp4"  # what the Hub plays on the page of a reinforcement-learning model
NO_VIDEO = "none"
AFFINE = "affine:"


class PushResult(TypedDict):
    """What ``push`` did: of a dry run, what it would do, without a commit.

    Attributes:
        deleted: files of an earlier push of the same memories, which these no longer have; a dry
            run, which asks the Hub nothing, does not know them.
    """

    repository: str
    commit: str | None
    url: str
    artifacts: list[Reference]
    files: list[str]
    deleted: list[str]
    dry_run: bool


class PushArguments(TypedDict, total=False):
    """The arguments of :func:`push` that may be left out."""

    kind: Kind
    private: bool
    message: str | None
    video: str | None
    dry_run: bool


def push(
    project: Project,
    repository: Repository,
    names: list[str],
    console: Console,
    *,
    kind: Kind = "all",
    private: bool = False,
    message: str | None = None,
    video: str | None = None,
    dry_run: bool = False,
) -> PushResult:
    """Upload artifacts with their tasks, a card and a video, after checking every byte.

    Args:
        names: of what is pushed; without any, the newest correspondence with its parents.
        kind: of what is pushed; memories only by name.
        private: make the repository a private one.
        video: the file for ``replay.mp4``, or ``"none"``; otherwise the project's own.

    Raises:
        ArtifactError: an artifact is missing or damaged; nothing was uploaded.
        UsageError: the options contradict each other, or no such video can be played.
        CorrtoolError: the Hub cannot be reached, or refuses.
    """
    if repository.revision is not None:
        raise UsageError("push takes no revision", f"write {repository.id}")
    if message is not None and not message.strip():
        raise UsageError("--message is empty", "say what is new, or leave it out")
    chosen = chosen_artifacts(project, names, kind, console)
    for artifact in chosen:
        for problem in artifact_problems(project.root, artifact.kind, artifact.name):
            raise problem
    replay = _replay(project, video, console)
    files = _files(project, chosen, replay)
    api = hub_client()
    files["README.md"] = card(project, repository, chosen, with_replay=replay is not None)
    commit, deleted = None, list[str]()
    if not dry_run:
        said = message or f"corrtool: {', '.join(str(artifact) for artifact in chosen)}"
        with hub_errors(api, repository):
            there = _repository_files(api, repository, private)
            deleted = _outdated(project, chosen, files, there)
            for path in deleted:
                check_place(repository, path)
            commit = _upload(api, repository, files, deleted, said)
    return {
        "repository": repository.id,
        "commit": commit,
        "url": f"{api.endpoint}/{repository.id}",
        "artifacts": [artifact.reference() for artifact in chosen],
        "files": sorted(files),
        "deleted": deleted,
        "dry_run": dry_run,
    }


def chosen_artifacts(
    project: Project, names: list[str], kind: Kind, console: Console
) -> list[Artifact]:
    """What is pushed: by name, or the newest. Raises :class:`ArtifactError`."""
    root, kinds = project.root, WEIGHTS if kind == "all" else (kind,)
    if not names and kind == "memory":
        raise UsageError("memories are pushed by name only", "name one after the repository")
    if not names:
        newest = _newest(root, "corr" if kind == "all" else kind)
        return [newest, *_parents(root, newest, console)] if kind == "all" else [newest]
    chosen: list[Artifact] = []
    for name in names:
        found = [read_artifact(root, k, name) for k in kinds if name in artifact_names(root, k)]
        if not found:
            what = " or ".join(KIND_LABELS[k] for k in kinds)
            raise MissingInputError(
                [(f"there is no {what} {name!r} in this project", "see 'corrtool status'")], (name,)
            )
        chosen += [artifact for artifact in found if artifact not in chosen]
    return chosen


def _newest(root: Path, kind: str) -> Artifact:
    return select_artifact(root, kind, None, _passed_over, KIND_LABELS[kind], MADE_BY[kind])


def _passed_over(manifest: Manifest) -> str | None:
    """Why the newest is not this one: as everywhere, the best of a training, not its last."""
    if manifest["kind"] == "corr" and manifest.get("selection") != "best":
        return "it is the last of a training, not the best"
    return None


def _parents(root: Path, corr: Artifact, console: Console) -> list[Artifact]:
    """The Q-function and the environment model that a correspondence was learnt with."""
    found = []
    for reference in corr.manifest.get("parents", {}).values():
        if reference["kind"] not in ("q", "model"):
            continue
        own = [a for a in find_artifacts(root, reference["kind"]) if a.reference() == reference]
        found += own[:1]
        if not own:
            label = KIND_LABELS[reference["kind"]]
            console.say(f"push: the {label} {reference['name']} of {corr} is no longer here")
    return found


def _replay(project: Project, video: str | None, console: Console) -> Path | None:
    """The video for the page, if there is one that browsers play. Raises :class:`UsageError`."""
    if video == NO_VIDEO:
        return None
    path = project.root / REPLAY if video is None else Path(video)
    if video is None and not path.exists():
        console.say(
            f"push: no {REPLAY} in the project goes along; 'corrtool evaluate --video {path}' "
            "makes one"
        )
        return None
    if not path.is_file() or path.suffix.lower() != ".mp4":
        raise UsageError(f"--video {path} is not an MP4 file", "give the file of a video, or none")
    if not plays_in_browsers(path):
        raise UsageError(
            f"{path} is not a video that browsers play",
            "record it anew with 'corrtool evaluate --video', or push with --video none",
        )
    return path


def _files(
    project: Project, chosen: list[Artifact], replay: Path | None
) -> dict[str, Path | bytes]:
    """All files of the commit but the card, by their place in the repository."""
    files: dict[str, Path | bytes] = {}
    for artifact in chosen:
        paths = [artifact.path]
        if artifact.kind == "memory":
            paths = [
                artifact.path / name for name in (MEMORY_MANIFEST, *artifact.manifest["files"])
            ]
        for path in paths:
            files[project.relative(inside(project.root, path))] = path
    tables, maps = shared_tasks(project)
    files |= maps
    files[PROJECT_FILE] = project_text(tables).encode()
    files["config.json"] = (json.dumps(summary(project, chosen), indent=2) + "\n").encode()
    if replay is not None:
        files[REPLAY] = replay
    return files


def shared_tasks(project: Project) -> tuple[dict[str, dict[str, Any]], dict[str, Path | bytes]]:
    """The tables of both tasks for another machine, and the files that their views read.

    Raises:
        ArtifactError: such a file is missing.
        UsageError: two of them have one name, or the name of another file of the repository.
    """
    tables, maps = dict[str, dict[str, Any]](), dict[str, Path | bytes]()
    for role, table in project.task_tables().items():
        project.task(role)  # it can be understood
        views = []
        for view in table.get("views", []):
            if view.startswith(AFFINE):
                path = project.root / view.removeprefix(AFFINE)
                if not path.is_file():
                    raise ArtifactError(f"{path} of the view {view} is missing")
                if maps.setdefault(path.name, path) != path or path.name == "config.json":
                    raise UsageError(f"{path.name} is the name of two files", "rename one of them")
                view = AFFINE + path.name
            views.append(view)
        tables[role] = {**table, "views": views} if views else table
    return tables, maps


def _repository_files(api: HfApi, repository: Repository, private: bool) -> list[str]:
    """The files of the repository, which is made if there is none."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        there = api.model_info(repository.id)
    except RepositoryNotFoundError:
        api.create_repo(repository.id, private=private, exist_ok=True)
        return []
    if private and there.private is False:
        raise UsageError(
            f"{repository.id} is there already, and public",
            "make it private in its settings on the Hub, or push to another",
        )
    return [file.rfilename for file in there.siblings or []]


def _outdated(
    project: Project, chosen: list[Artifact], files: dict[str, Path | bytes], there: list[str]
) -> list[str]:
    """Files below the memories that are pushed which these do not have: ``pull`` refuses such."""
    folders = tuple(f"{project.relative(a.path)}/" for a in chosen if a.kind == "memory")
    return sorted(path for path in there if path.startswith(folders) and path not in files)


def _upload(
    api: HfApi,
    repository: Repository,
    files: dict[str, Path | bytes],
    deleted: list[str],
    message: str,
) -> str:
    """Make one commit in the repository; returns it."""
    from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete

    operations: list[CommitOperationAdd | CommitOperationCopy | CommitOperationDelete] = [
        *(CommitOperationDelete(path, is_folder=False) for path in deleted),
        *(
            CommitOperationAdd(path, content if isinstance(content, bytes) else str(content))
            for path, content in sorted(files.items())
        ),
    ]
    return str(api.create_commit(repository.id, operations, commit_message=message).oid)
