"""``pull``: what ``push`` uploaded, into a project, after checking every byte of it.

Everything is downloaded beside its place first. Nothing lands before all of it is whole.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from corrtool.errors import ArtifactError, UntrustedImportError, UsageError
from corrtool.exchange.hub import Repository, hub_client, hub_errors
from corrtool.exchange.hub_listing import Listing, checked_listing
from corrtool.exchange.hub_record import write_record
from corrtool.files.atomic import (
    publish_directory,
    recover_directory,
    remove_partial,
    write_atomic,
)
from corrtool.files.staging import staged_beside
from corrtool.project.artifacts import (
    Artifact,
    artifact_at,
    artifact_path,
    artifact_problems,
    read_artifact,
    read_weights,
)
from corrtool.project.directory import OWN_DIRECTORIES, PROJECT_FILE, Project, create_project
from corrtool.project.locks import lock_artifacts
from corrtool.project.manifests import Reference
from corrtool.project.memory_files import check_memory
from corrtool.runtime.console import Console
from corrtool.settings.stages import TASK_ROLES

if TYPE_CHECKING:
    from huggingface_hub import HfApi

AFFINE = "affine:"
MADE = ".made"  # the directory in staging where a new project is made first
MOST_TEXT_BYTES = 16 << 20  # of corrtool.toml and of the map of a view
# Hidden names could be those of the directories that a download works in.
_TEXT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


class PullResult(TypedDict):
    """What ``pull`` did; ``new`` are those artifacts that were not there before."""

    project: str
    made_project: bool
    repository: str
    commit: str
    artifacts: list[Reference]
    new: list[Reference]
    record: str


def pull(
    root: Path, repository: Repository, console: Console, *, overwrite: bool = False
) -> PullResult:
    """Download the artifacts of a repository into the project at ``root``, or make one there.

    Args:
        overwrite: replace artifacts of the same names with other content.

    Raises:
        ArtifactError: a file is damaged, or none of corrtool's; nothing has changed.
        UsageError: the project has other artifacts of these names.
        CorrtoolError: the Hub cannot be reached, or refuses.
    """
    api = hub_client()
    project = Project(root) if (root / PROJECT_FILE).exists() else None
    with hub_errors(api, repository):
        listed = api.model_info(repository.id, revision=repository.revision, files_metadata=True)
    listing = checked_listing(repository, listed)
    with _staging(root) as staging:
        wanted = [path for paths in listing.artifacts.values() for path in paths]
        _download(api, repository, listing, wanted, staging, console)
        artifacts = [
            _checked(repository, staging, kind, name) for kind, name in sorted(listing.artifacts)
        ]
        with_tasks = project or _described_project(api, repository, listing, staging, console)
        _say_other_tasks(with_tasks, artifacts, console)
        with lock_artifacts(root, [(artifact.kind, artifact.name) for artifact in artifacts]):
            new = [artifact for artifact in artifacts if _is_new(root, artifact, overwrite)]
            if project is None:
                tables = with_tasks.task_tables()
                create_project(root, tables, {name: staging / name for name in _maps(tables)})
            for artifact in new:
                _land(root, artifact)
            record = write_record(root, repository, api.endpoint, listing.commit, artifacts)
    return {
        "project": str(root.resolve()),
        "made_project": project is None,
        "repository": repository.id,
        "commit": listing.commit,
        "artifacts": [artifact.reference() for artifact in artifacts],
        "new": [artifact.reference() for artifact in new],
        "record": record.relative_to(root).as_posix(),
    }


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """A directory in ``root`` for what is not checked yet; nothing of it is left.

    ``root`` itself neither, where it was not there and nothing landed in it.
    """
    for place in (root, *root.parents):
        if place.exists() and not place.is_dir():
            raise UsageError(f"{place} is a file", "give another directory")
    made = [place for place in (root, *root.parents) if not place.exists()]
    root.mkdir(parents=True, exist_ok=True)
    try:
        with staged_beside(root / "pull", directory=True) as staging:
            yield staging
    finally:
        with contextlib.suppress(OSError):  # not empty: something landed
            for place in made:
                place.rmdir()


def _download(
    api: HfApi,
    repository: Repository,
    listing: Listing,
    paths: list[str],
    staging: Path,
    console: Console,
) -> None:
    """Download these files of the commit; each has the size that was listed."""
    with console.transient_progress(f"pull {repository.id}", len(paths), "files") as bar:
        for path in paths:
            with hub_errors(api, repository):
                file = api.hf_hub_download(
                    repository.id, path, revision=listing.commit, local_dir=staging
                )
            if Path(file).stat().st_size != listing.sizes[path]:
                raise ArtifactError(f"{repository}: {path} is not of the size that is listed")
            bar.advance(1)


def _checked(repository: Repository, staging: Path, kind: str, name: str) -> Artifact:
    """A downloaded artifact, after checking every byte. Raises :class:`ArtifactError`."""
    path = artifact_path(staging, kind, name)
    try:
        artifact = artifact_at(path, kind, name)
        if kind == "memory":
            check_memory(path)
        else:
            read_weights(artifact)
    except ArtifactError as error:
        raise _of_repository(error, repository, staging) from error
    return artifact


def _of_repository(error: ArtifactError, repository: Repository, staging: Path) -> ArtifactError:
    """The same in the words of the repository: the staged file is about to be gone."""
    return ArtifactError(
        f"{repository}: {_in_repository(error.message, staging)}",
        f"nothing was changed here; pull an earlier commit, as {repository.id}@COMMIT",
    )


def _in_repository(message: str, staging: Path) -> str:
    """A message with the places of staged files as they are in the repository."""
    for place in (staging.resolve(), staging):
        message = message.replace(f"{place / MADE}/", "").replace(f"{place}/", "")
    return message


def _described_project(
    api: HfApi, repository: Repository, listing: Listing, staging: Path, console: Console
) -> Project:
    """The project that a new one becomes, made in ``staging`` first; its maps lie there too.

    The repository's defaults and settings of stages are not taken over.

    Raises:
        ArtifactError: the repository tells no tasks, or none that can be used here.
        UntrustedImportError: an environment is not trusted.
    """
    _download_texts(api, repository, listing, [PROJECT_FILE], staging, console)
    with _usable_tasks(repository, staging):
        tables = Project(staging).task_tables()
    maps = _maps(tables)
    _download_texts(api, repository, listing, maps, staging, console)
    with _usable_tasks(repository, staging):
        copies = {name: staging / name for name in maps}
        made = create_project(staging / MADE, tables, copies)
        for role in TASK_ROLES:
            made.task(role)
    return made


@contextmanager
def _usable_tasks(repository: Repository, staging: Path) -> Iterator[None]:
    """Raise what is wrong with the tasks of a repository as :class:`ArtifactError`."""
    try:
        yield
    except UntrustedImportError:
        raise
    except (ArtifactError, UsageError) as error:
        reason = _in_repository(str(error), staging)
        raise ArtifactError(
            f"{repository}: its {PROJECT_FILE} cannot be used: {reason}",
            "nothing was changed here",
        ) from error


def _maps(tables: dict[str, dict[str, Any]]) -> list[str]:
    """The files that views of these tasks read."""
    views = [
        view
        for table in tables.values()
        if isinstance(table.get("views", []), list)
        for view in table.get("views", [])
    ]
    named = [v for v in views if isinstance(v, str) and v.startswith(AFFINE)]
    return sorted({view.removeprefix(AFFINE) for view in named})


def _download_texts(
    api: HfApi,
    repository: Repository,
    listing: Listing,
    names: list[str],
    staging: Path,
    console: Console,
) -> None:
    """Download files of the repository's root that are small. Raises :class:`ArtifactError`."""
    for name in names:
        if not _TEXT.fullmatch(name) or name in OWN_DIRECTORIES or name not in listing.sizes:
            raise ArtifactError(
                f"{repository} holds no {name!r} for a new project", "pull it into a project"
            )
        if listing.sizes[name] > MOST_TEXT_BYTES:
            raise ArtifactError(f"{repository}: {name} has {listing.sizes[name]:,} bytes")
    _download(api, repository, listing, names, staging, console)


def _say_other_tasks(project: Project, artifacts: list[Artifact], console: Console) -> None:
    """Say which artifacts were made on other tasks than the project's."""
    for artifact in artifacts:
        for role, described in artifact.manifest.get("tasks", {}).items():
            if role in TASK_ROLES and not project.task(role).is_compatible_with(None, described):
                console.say(f"pull: {artifact} was made on another {role} task than this project's")


def _is_new(root: Path, artifact: Artifact, overwrite: bool) -> bool:
    """True if an artifact is to land; one with this content may be here already.

    Raises:
        UsageError: another one has its name.
        ArtifactError: the one of its name is damaged, or its links lead out of the project.
    """
    path = artifact_path(root, artifact.kind, artifact.name)
    remove_partial(path.parent, f"{path.name}.")
    if artifact.kind == "memory":
        recover_directory(path)
    if not path.exists() or overwrite:
        return True
    for problem in artifact_problems(root, artifact.kind, artifact.name):
        raise problem
    if read_artifact(root, artifact.kind, artifact.name).sha256 == artifact.sha256:
        return False
    raise UsageError(
        f"the project has another {artifact}",
        "replace it with --overwrite, or pull into another directory",
    )


def _land(root: Path, artifact: Artifact) -> None:
    """Move a checked artifact to its place, whole or not at all."""
    final = artifact_path(root, artifact.kind, artifact.name)
    if artifact.kind == "memory":
        publish_directory(artifact.path, final)
    else:
        write_atomic(final, artifact.path.read_bytes())
