"""Artifacts: memories and weights with manifests; how they are found and selected."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from corrtool.errors import (
    ArtifactError,
    DamagedError,
    ForeignFileError,
    MissingInputError,
    NewerFormatError,
    UsageError,
)
from corrtool.files.atomic import inside
from corrtool.files.sealed import (
    damaged,
    read_sealed_content,
    read_sealed_json,
    read_tensor_metadata,
    tensor_not_finite,
)
from corrtool.project.manifests import Manifest, Reference
from corrtool.project.memory_files import MEMORY_MANIFEST, memory_problems
from corrtool.runtime.remembering import remembered
from corrtool.settings.stages import MADE_BY
from corrtool.states import StateSpec

KINDS = ("memory", "q", "model", "corr")
KIND_LABELS = {
    "memory": "memory",
    "q": "Q-function",
    "model": "environment model",
    "corr": "correspondence",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check_name(name: str) -> str:
    """The name, or :class:`UsageError`: it becomes a file name, without slashes or surprises."""
    if not is_name(name):
        raise UsageError(
            f"{name!r} is not an artifact name",
            "use letters, digits, '.', '_' and '-', at most 100, starting with a letter or digit",
        )
    return name


def is_name(text: str) -> bool:
    """True if an artifact or a run can have this name."""
    return _NAME.fullmatch(text) is not None and not text.endswith((".partial", ".replaced"))


@dataclass(frozen=True)
class Artifact:
    """One memory or weights file of a project."""

    kind: str
    name: str
    path: Path
    manifest: Manifest

    @property
    def sha256(self) -> str:
        """Identify the content: tensors of weights, files of a memory."""
        return str(self.manifest["sha256"])

    @property
    def states(self) -> StateSpec:
        """The states of a memory.

        Raises :class:`ArtifactError` if the manifest does not describe them.
        """
        try:
            return StateSpec.from_json(self.manifest["states"])
        except (KeyError, ValueError) as error:
            raise ArtifactError(
                f"{self.path} cannot be read: {' '.join(str(error).split())}"
            ) from None

    def succeeds(self, sha256: str) -> bool:
        """True if it has taken the place of this other one, whose training was cut short."""
        continues: Any = self.manifest.get("continues")
        return isinstance(continues, list) and sha256 in continues and sha256 != self.sha256

    def reference(self) -> Reference:
        """The reference to this artifact in a child's manifest."""
        return {"kind": self.kind, "name": self.name, "sha256": self.sha256}

    def __str__(self) -> str:
        return f"{KIND_LABELS[self.kind]} {self.name}"


def artifact_path(root: Path, kind: str, name: str) -> Path:
    """The path of an artifact. Raises :class:`ArtifactError` if a link leads out of ``root``."""
    return inside(root, unchecked_artifact_path(root, kind, name))


def unchecked_artifact_path(root: Path, kind: str, name: str) -> Path:
    """The same, wherever links lead."""
    check_name(name)
    return (
        root / "memories" / f"{name}.zarr"
        if kind == "memory"
        else root / "weights" / kind / f"{name}.safetensors"
    )


def check_readable(folder: Path) -> None:
    """Raise :class:`ArtifactError` for an unreadable directory: ``glob`` would find nothing."""
    if folder.exists() and not os.access(folder, os.R_OK | os.X_OK):
        raise ArtifactError(f"cannot read {folder}: Permission denied")


def artifact_names(root: Path, kind: str) -> list[str]:
    """Names of all artifacts of a kind, whole or not."""
    folder, suffix = (
        (root / "memories", ".zarr")
        if kind == "memory"
        else (root / "weights" / kind, ".safetensors")
    )
    check_readable(folder)
    found = (path for path in folder.glob(f"*{suffix}") if kind != "memory" or not _is_empty(path))
    names = (path.name[: -len(suffix)] for path in found)
    return sorted(name for name in names if is_name(name))


def _is_empty(path: Path) -> bool:
    """True for a directory with nothing in it, which is no memory."""
    return path.is_dir() and os.access(path, os.R_OK) and not any(path.iterdir())


def read_artifact(root: Path, kind: str, name: str) -> Artifact:
    """An artifact's manifest, unchecked against its data. Raises :class:`ArtifactError`."""
    path = artifact_path(root, kind, name)
    if not path.exists():
        have = artifact_names(root, kind)
        makes = f"'corrtool {MADE_BY[kind]}'"
        hint = (
            f"there is {', '.join(have)}; {makes} makes another"
            if have
            else f"make it with {makes}"
        )
        raise MissingInputError(
            [(f"there is no {KIND_LABELS[kind]} {name!r} in this project", hint)], (name,)
        )
    return remembered(("artifact", path), functools.partial(artifact_at, path, kind, name))


def artifact_at(path: Path, kind: str, name: str) -> Artifact:
    """The artifact that a file or directory holds, wherever it lies.

    Raises :class:`ArtifactError`.
    """
    manifest = (
        read_sealed_json(path / MEMORY_MANIFEST) if kind == "memory" else read_tensor_metadata(path)
    )
    if manifest.get("kind") != kind or not isinstance(manifest.get("sha256"), str):
        raise DamagedError(path, f"holds no {KIND_LABELS[kind]}", "make it again with --overwrite")
    if not _well_formed(kind, manifest):
        raise damaged(path / MEMORY_MANIFEST if kind == "memory" else path)
    return Artifact(kind, name, path, cast(Manifest, manifest))


def _well_formed(kind: str, manifest: dict[str, Any]) -> bool:
    """True if a manifest's fields exist with the right types.

    They are read before every byte is checked.
    """
    if kind == "memory" and any(
        manifest.get(name) is None for name in ("records", "actions", "states")
    ):
        return False
    tables = [
        manifest.get(name, {})
        for name in ("parents", "settings", "summary", "network", "states", "tasks", "imported")
    ]
    most = {"records": 1 << 53, "parameters": 1 << 53, "actions": 1 << 16}
    counts = [(manifest.get(name, 0), limit) for name, limit in most.items()]
    if not all(isinstance(table, dict) for table in tables):
        return False
    if not all(type(count) is int and 0 <= count <= limit for count, limit in counts):
        return False
    return all(map(is_reference, manifest.get("parents", {}).values()))


def is_reference(value: Any) -> bool:
    """True for the output of :meth:`Artifact.reference`."""
    if not isinstance(value, dict) or value.get("kind") not in KINDS:
        return False
    name, sha256 = value.get("name"), value.get("sha256")
    return isinstance(name, str) and isinstance(sha256, str) and bool(_NAME.fullmatch(name))


def is_foreign(root: Path, kind: str, name: str) -> bool:
    """True if the file of this name was not made by corrtool."""
    try:
        read_artifact(root, kind, name)
    except ForeignFileError:
        return True
    except ArtifactError:
        pass
    return False


def find_artifacts(root: Path, kind: str) -> list[Artifact]:
    """All readable artifacts of a kind, newest first."""
    return remembered(("artifacts", root, kind), functools.partial(_find_artifacts, root, kind))


def _find_artifacts(root: Path, kind: str) -> list[Artifact]:
    found = []
    for name in artifact_names(root, kind):
        try:
            found.append(read_artifact(root, kind, name))
        except ArtifactError:
            continue  # a damaged one is nobody's newest; `status` and `verify` name it
    return sorted(found, key=lambda artifact: str(artifact.manifest.get("created")), reverse=True)


def select_artifact(
    root: Path,
    kind: str,
    name: str | None,
    mismatch: Callable[[Manifest], str | None],
    wanted: str,
    made_by: str,
) -> Artifact:
    """The artifact called ``name``, or the newest that fits.

    Args:
        mismatch: given a manifest, why the artifact does not fit, or None if it does.
        wanted, made_by: what is looked for and the command that makes it, in words, for the error
            message.

    Raises:
        ArtifactError: there is none, or the named one does not fit.
    """
    if name is not None:
        artifact = read_artifact(root, kind, name)
        reason = mismatch(artifact.manifest)
        if reason:
            raise ArtifactError(f"{artifact} does not fit: {reason}")
        return artifact
    fitting = (a for a in find_artifacts(root, kind) if mismatch(a.manifest) is None)
    newest = next(fitting, None)
    _check_that_none_is_newer(root, kind, newest)
    if newest is not None:
        return newest
    raise MissingInputError(
        [(f"this project has no {wanted}", f"make it with 'corrtool {made_by}'")]
    )


def _check_that_none_is_newer(root: Path, kind: str, newest: Artifact | None) -> None:
    """Raise :class:`ArtifactError` where an unreadable one may be newer than the newest readable.

    Its manifest does not say when it was made, nor on which task; its file's time has to do.
    """
    unreadable = functools.partial(_unreadable_names, root, kind)
    for name in remembered(("unreadable", root, kind), unreadable):
        if newest is not None and _changed(root, kind, name) < _changed(root, kind, newest.name):
            continue
        try:
            read_artifact(root, kind, name)
        except NewerFormatError:
            raise
        except ArtifactError:
            pass
        doubt = "" if newest is None else f", and may be newer than {newest.name}"
        raise ArtifactError(
            f"{KIND_LABELS[kind]} {name} is damaged{doubt}",
            "see 'corrtool verify'" if newest is None else "remove it, or name the one to take",
        )


def _unreadable_names(root: Path, kind: str) -> list[str]:
    """The names of those that cannot be read, and are corrtool's as far as one can tell."""
    whole = {artifact.name for artifact in find_artifacts(root, kind)}
    others = (name for name in artifact_names(root, kind) if name not in whole)
    return [name for name in others if not is_foreign(root, kind, name)]


def _changed(root: Path, kind: str, name: str) -> int:
    """When an artifact's file changed last, in ns."""
    path = unchecked_artifact_path(root, kind, name)
    manifest = path / MEMORY_MANIFEST
    return (manifest if manifest.exists() else path).lstat().st_mtime_ns


def select_all(wanted: dict[str, Callable[[], Artifact]]) -> dict[str, Artifact]:
    """The artifacts that ``wanted`` select.

    Raises :class:`MissingInputError` with all missing ones.
    """
    found, missing, names = dict[str, Artifact](), list[tuple[str, str]](), list[str]()
    for use, select in wanted.items():
        try:
            found[use] = select()
        except MissingInputError as error:
            missing += error.missing
            names += error.names
    if missing:
        raise MissingInputError(missing, tuple(names))
    return found


def read_weights(artifact: Artifact) -> bytes:
    """The bytes of a weights file, every one checked.

    Raises:
        ArtifactError: the file is damaged, or a weight is NaN or infinite: corrtool never writes
            such a file.
    """
    content, _ = read_sealed_content(artifact.path)
    name = tensor_not_finite(content, artifact.path)
    if name is not None:
        raise DamagedError(
            artifact.path, f"holds NaN or infinity in {name}", "make it again with --overwrite"
        )
    return content


def artifact_problems(root: Path, kind: str, name: str) -> list[ArtifactError]:
    """Everything that is wrong with an artifact; empty when it is whole."""
    try:
        artifact = read_artifact(root, kind, name)
        if kind == "memory":
            return memory_problems(artifact.path, artifact.manifest)
        read_weights(artifact)
    except ArtifactError as error:
        return [error]
    return []
