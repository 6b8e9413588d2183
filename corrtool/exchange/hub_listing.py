"""What a repository of the Hub lists, checked before anything of it is downloaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from corrtool.errors import ArtifactError
from corrtool.exchange.hub import Repository
from corrtool.project.artifacts import is_name
from corrtool.project.memory_files import MEMORY_MANIFEST, is_zarr_file

MOST_BYTES = 8 << 30  # of all that is downloaded: a thousand times the weights of a pair of games
MOST_FILES = 100_000
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# Longer names, and places that lie deeper, are more than file systems and recursion take.
_PART = r"[A-Za-z0-9._-]{1,128}"
_PLACE = re.compile(rf"{_PART}(/{_PART}){{0,11}}")
_WEIGHTS = re.compile(r"weights/(q|model|corr)/([^/]+)\.safetensors")
_MEMORY = re.compile(r"(memories/([^/]+)\.zarr)/(.+)")


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


def checked_listing(repository: Repository, listed: Any) -> Listing:
    """What a repository lists, as far as corrtool reads it.

    Raises:
        ArtifactError: it lists places that cannot be, what is no artifact's, or too much.
    """
    if not isinstance(listed.sha, str) or not _COMMIT.fullmatch(listed.sha):
        raise ArtifactError(f"{repository} tells no commit", "pull another revision")
    sizes, artifacts = dict[str, int](), dict[tuple[str, str], list[str]]()
    for file in listed.siblings or []:
        path, size = file.rfilename, file.size
        check_place(repository, path)
        parts = PurePosixPath(path).parts
        if parts[0] in ("weights", "memories"):
            artifacts.setdefault(_artifact_of(repository, path), []).append(path)
        elif len(parts) > 1:
            continue
        if type(size) is not int or size < 0:
            raise ArtifactError(f"{repository} does not tell the size of {_shown(path)}")
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
    for path in read:
        for parent in PurePosixPath(path).parents:
            if str(parent) in sizes:
                raise ArtifactError(
                    f"{repository} lists {_shown(str(parent))} as a file and as a directory",
                    "do not trust it",
                )
    return Listing(listed.sha, sizes, artifacts)


def check_place(repository: Repository, path: Any) -> None:
    """Raise :class:`ArtifactError` where what a repository lists is no place in it."""
    if not _is_inside(path):
        raise ArtifactError(
            f"{repository} lists {_shown(path)}, a place outside", "do not trust it"
        )


def _is_inside(path: Any) -> bool:
    """True for the place of a file in a repository, relative and without detours."""
    if not isinstance(path, str) or not path or path.startswith("/") or "\\" in path:
        return False
    parts = PurePosixPath(path).parts
    return ".." not in parts and path == "/".join(parts)


def _artifact_of(repository: Repository, path: str) -> tuple[str, str]:
    """Kind and name of the artifact that a file belongs to. Raises :class:`ArtifactError`."""
    weights, memory = _WEIGHTS.fullmatch(path), _MEMORY.fullmatch(path)
    kind, name = ("", "") if weights is None else (weights[1], weights[2])
    if memory is not None and (
        memory[3] == MEMORY_MANIFEST or is_zarr_file(Path(memory[1]), Path(path))
    ):
        kind, name = "memory", memory[2]
    if not is_name(name) or not _PLACE.fullmatch(path):
        raise ArtifactError(
            f"{repository} lists {_shown(path)}, which is no file of corrtool's",
            "pull a repository that 'corrtool push' made",
        )
    return kind, name


def _shown(path: object) -> str:
    """A place in quotes; the beginning of a long one."""
    text = str(path)
    return repr(text if len(text) <= 120 else f"{text[:120]}…")
