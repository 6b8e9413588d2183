"""``pull``: what ``push`` uploaded, into a project, after checking every byte of it.

Everything is downloaded beside its place first. Nothing lands before all of it is whole.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypedDict

from corrtool.errors import ArtifactError, UntrustedImportError, UsageError
from corrtool.exchange.hub import Repository, hub_client, hub_errors
from corrtool.exchange.hub_record import write_record
from corrtool.files.atomic import PARTIAL_SUFFIX, publish_directory, recover_directory, write_atomic
from corrtool.project.artifacts import (
    Artifact,
    artifact_at,
    artifact_path,
    artifact_problems,
    is_name,
    load_weights,
    read_artifact,
)
from corrtool.project.directory import PROJECT_FILE, Project, create_project
from corrtool.project.locks import lock_artifacts
from corrtool.project.manifests import Reference
from corrtool.project.memory_files import check_memory
from corrtool.runtime.console import Console
from corrtool.settings.stages import TASK_ROLES

if TYPE_CHECKING:
    from huggingface_hub import HfApi

AFFINE = "affine:"
MOST_BYTES = 8 << 30  # of all that is downloaded: a thousand times the weights of a pair of games
MOST_TEXT_BYTES = 16 << 20  # of corrtool.toml and of the map of a view
MOST_FILES = 100_000
LEFT_SECONDS = 86_400  # after which a staging directory is one that a killed process left
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PART = re.compile(r"[A-Za-z0-9._-]+")
_WEIGHTS = re.compile(r"weights/(q|model|corr)/([^/]+)\.safetensors")
_MEMORY = re.compile(r"memories/([^/]+)\.zarr/.+")


class PullResult(TypedDict):
    """What ``pull`` did; ``new`` are those artifacts that were not there before."""

    project: str
    made_project: bool
    repository: str
    commit: str
    artifacts: list[Reference]
    new: list[Reference]
    record: str


@dataclass(frozen=True)
class Listing:
    """The files of a commit that corrtool reads.

    Attributes:
        sizes: of every file in it, in bytes, by its place.
        artifacts: kind, name and files of each artifact.
    """

    commit: str
    sizes: dict[str, int]
    artifacts: dict[tuple[str, str], list[str]]


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
        tables = dict[str, dict[str, Any]]()
        if project is None:
            tables = _tasks(api, repository, listing, staging, console)
        else:
            _say_other_tasks(project, artifacts, console)
        with lock_artifacts(root, [(artifact.kind, artifact.name) for artifact in artifacts]):
            new = [artifact for artifact in artifacts if _is_new(root, artifact, overwrite)]
            if project is None:
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


def checked_listing(repository: Repository, listed: Any) -> Listing:
    """What a repository lists, as far as corrtool reads it.

    Raises:
        ArtifactError: it lists places outside, what is no weights among the weights, or too much.
    """
    if not isinstance(listed.sha, str) or not _COMMIT.fullmatch(listed.sha):
        raise ArtifactError(f"{repository} tells no commit", "pull another revision")
    sizes, artifacts = dict[str, int](), dict[tuple[str, str], list[str]]()
    for file in listed.siblings or []:
        path, size = file.rfilename, file.size
        parts = PurePosixPath(path).parts
        if path.startswith("/") or "\\" in path or ".." in parts or path != "/".join(parts):
            raise ArtifactError(f"{repository} lists {path!r}, a place outside", "do not trust it")
        if parts[0] in ("weights", "memories"):
            artifacts.setdefault(_artifact_of(repository, path), []).append(path)
        elif len(parts) > 1:
            continue
        if type(size) is not int:
            raise ArtifactError(f"{repository} does not tell the size of {path}")
        sizes[path] = size
    if not artifacts:
        raise ArtifactError(f"{repository} holds nothing of corrtool's", "see 'corrtool push'")
    read = [path for paths in artifacts.values() for path in paths]
    total = sum(sizes[path] for path in read)
    if total > MOST_BYTES or len(read) > MOST_FILES:
        raise ArtifactError(
            f"{repository} holds {total:,} bytes in {len(read):,} files, more than corrtool pulls "
            f"({MOST_BYTES:,} in {MOST_FILES:,})",
            "download what you need of it by other means",
        )
    return Listing(listed.sha, sizes, artifacts)


def _artifact_of(repository: Repository, path: str) -> tuple[str, str]:
    """Kind and name of the artifact that a file belongs to. Raises :class:`ArtifactError`."""
    weights, memory = _WEIGHTS.fullmatch(path), _MEMORY.fullmatch(path)
    kind, name = ("", "") if memory is None else ("memory", memory[1])
    if weights is not None:
        kind, name = weights[1], weights[2]
    if not is_name(name) or not all(map(_PART.fullmatch, path.split("/"))):
        raise ArtifactError(
            f"{repository} lists {path!r}, which is no file of corrtool's",
            "pull a repository that 'corrtool push' made",
        )
    return kind, name


@contextmanager
def _staging(root: Path) -> Iterator[Path]:
    """A directory in ``root`` for what is not checked yet; nothing of it is left.

    ``root`` itself neither, where it was not there and nothing landed in it.
    """
    for place in (root, *root.parents):
        if place.exists() and not place.is_dir():
            raise UsageError(f"{place} is a file", "give another directory")
    for left in root.glob(f".pull.*{PARTIAL_SUFFIX}"):
        if time.time() - left.lstat().st_mtime > LEFT_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    made = [place for place in (root, *root.parents) if not place.exists()]
    root.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".pull.", suffix=PARTIAL_SUFFIX, dir=root))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
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
            load_weights(artifact)
    except ArtifactError as error:
        raise _of_repository(error, repository, staging) from error
    return artifact


def _of_repository(error: Exception, repository: Repository, staging: Path) -> ArtifactError:
    """The same in the words of the repository: the staged file is about to be gone."""
    message = str(getattr(error, "message", error)).replace(f"{staging.resolve()}/", "")
    message = message.replace(f"{staging}/", "")
    return ArtifactError(
        f"{repository}: {message}",
        f"nothing was changed here; pull an earlier commit, as {repository.id}@COMMIT",
    )


def _tasks(
    api: HfApi, repository: Repository, listing: Listing, staging: Path, console: Console
) -> dict[str, dict[str, Any]]:
    """The tables of both tasks for a new project, with the files of their views in ``staging``.

    The repository's defaults and settings of stages are not taken over.

    Raises:
        ArtifactError: there are none, or they are out of order.
        UsageError: an environment is unknown here, or not trusted.
    """
    _download_texts(api, repository, listing, [PROJECT_FILE], staging, console)
    try:
        remote = Project(staging)
    except (ArtifactError, UsageError) as error:
        raise _of_repository(error, repository, staging) from error
    tables = remote.task_tables()
    _download_texts(api, repository, listing, _maps(tables), staging, console)
    try:
        for role in TASK_ROLES:
            remote.task(role)
    except UntrustedImportError:
        raise
    except UsageError as error:
        raise UsageError(_of_repository(error, repository, staging).message, error.hint) from error
    return tables


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
        if not _PART.fullmatch(name) or name not in listing.sizes:
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
