"""The files of a memory: its manifest with the SHA-256 of each, and what is wrong with them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from corrtool.errors import ArtifactError, DamagedError
from corrtool.files.atomic import sha256_of_file, write_atomic
from corrtool.files.sealed import damaged, read_sealed_json, seal_json
from corrtool.project.manifests import Manifest

MEMORY_MANIFEST = "corrtool.json"
# What Zarr could take for metadata, of either of its formats, or for a chunk.
_ZARR_FILE = re.compile(
    r"(.*/)?(zarr\.json|\.zarray|\.zgroup|\.zattrs|\.zmetadata|c/[0-9]+(/[0-9]+)*|[0-9]+(\.[0-9]+)*)"
)


def seal_memory(directory: Path, manifest: Mapping[str, object]) -> Manifest:
    """Write the manifest of a finished memory into its directory.

    It gets the SHA-256 of each of its files.
    """
    files = {
        path.relative_to(directory).as_posix(): sha256_of_file(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and is_zarr_file(directory, path)
    }
    sha256 = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    full = {"kind": "memory", "sha256": sha256, **manifest, "files": files}
    write_atomic(directory / MEMORY_MANIFEST, seal_json(full))
    return cast(Manifest, full)


def is_zarr_file(directory: Path, path: Path) -> bool:
    """True if Zarr could read a file of the memory in ``directory``: no other is part of it."""
    return _ZARR_FILE.fullmatch(path.relative_to(directory).as_posix()) is not None


def stray_files(directory: Path) -> list[Path]:
    """Files in a memory that are none of its, and that nothing reads: ``.DS_Store``, notes."""
    paths = sorted(
        path for path in directory.rglob("*") if path.is_file() and not path.is_symlink()
    )
    return [
        path for path in paths if path.name != MEMORY_MANIFEST and not is_zarr_file(directory, path)
    ]


def check_memory(directory: Path) -> Manifest:
    """The manifest of a memory after checking that each of its files is there and whole.

    Raises:
        ArtifactError: a file is missing or damaged, or one too many could be read as data; the
            message names it.
    """
    manifest = cast(Manifest, read_sealed_json(directory / MEMORY_MANIFEST))
    problems = memory_problems(directory, manifest)
    if problems:
        raise problems[0]
    return manifest


def memory_problems(directory: Path, manifest: Manifest) -> list[ArtifactError]:
    """One error for each file that is missing or damaged, or an extra that could be data."""
    problems: list[ArtifactError] = []
    files = manifest.get("files")
    if not isinstance(files, dict):
        return [damaged(directory / MEMORY_MANIFEST)]
    there = {
        path.relative_to(directory).as_posix(): path
        for path in directory.rglob("*")
        if path.name != MEMORY_MANIFEST and (path.is_file() or path.is_symlink())
    }
    for name, digest in files.items():
        path = directory / name
        if name not in there or path.is_symlink():
            problems.append(
                DamagedError(
                    path,
                    "is missing",
                    "collect the memory again with --overwrite, or restore it from a copy",
                )
            )
        elif (problem := file_problem(path, digest)) is not None:
            problems.append(problem)
    others = (path for name, path in there.items() if name not in files)
    extra = (path for path in others if path.is_symlink() or is_zarr_file(directory, path))
    return problems + [
        ArtifactError(f"{path} does not belong to the memory", "remove it") for path in extra
    ]


def check_files(directory: Path, files: dict[str, str]) -> None:
    """Check files, given by name with their SHA-256. Raises :class:`ArtifactError`."""
    for name, digest in files.items():
        problem = file_problem(directory / name, digest)
        if problem is not None:
            raise problem


def file_problem(path: Path, digest: str) -> ArtifactError | None:
    """The error of a file that should have this SHA-256; None if it has."""
    try:
        return None if path.is_file() and sha256_of_file(path) == digest else damaged(path)
    except OSError as error:
        return ArtifactError(f"cannot read {path}: {error.strerror}")
