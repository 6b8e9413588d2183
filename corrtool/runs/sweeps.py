"""The manifest of a sweep: which cells it has, and which runs they are.

The truth is the project's runs. A manifest says which of them belong together, along which axes
they differ, what the last attempt at a cell that failed had to say, and why a cell waits that
``--prune`` has paused. Whoever loses it loses nothing but that: the same command writes it again,
and finds what is done.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, NotRequired, TypeAlias, TypedDict, cast

from corrtool.errors import ArtifactError
from corrtool.files.atomic import inside, write_atomic
from corrtool.files.sealed import damaged, read_sealed_json, seal_json
from corrtool.project.artifacts import KINDS, check_name, is_name
from corrtool.project.locks import kernel_lock
from corrtool.settings.grid import Value
from corrtool.settings.stages import LEARNING_STAGES, STAGE_SETTINGS

CellState: TypeAlias = Literal["missing", "running", "interrupted", "done", "failed", "paused"]
FOLDER = "sweeps"
REMEDY = "the command of that sweep writes it anew, and finds what is done; or delete it"


class SweepStep(TypedDict):
    """A run of a cell: its own stage, or one that comes after it.

    Attributes:
        name, fingerprint: None as long as what it reads is not there.
        produces: kind and name of each artifact that it makes.
    """

    stage: str
    name: str | None
    fingerprint: str | None
    produces: list[list[str]]


class SweepCell(TypedDict):
    """A point of the grid with one seed.

    Attributes:
        name: that of its first run.
        point: the values that the grid gives it, by the name of the setting.
        settings: all settings of its own stage, resolved.
        inputs: names of the artifacts that its own stage reads, by use.
        failure: what its last attempt said where that failed, else None.
        paused: why it waits, else None; older manifests lack it.
    """

    name: str
    seed: int
    point: dict[str, Value]
    settings: dict[str, Any]
    inputs: dict[str, str]
    steps: list[SweepStep]
    failure: str | None
    paused: NotRequired[str | None]


class SweepManifest(TypedDict):
    """What ``sweeps/NAME.json`` holds.

    Attributes:
        command: the words of the command, for people.
        engine: where the cells ran.
    """

    name: str
    stage: str
    command: str
    engine: str
    created: str
    cells: list[SweepCell]


def sweep_path(root: Path, name: str) -> Path:
    """The place of a manifest. Raises :class:`UsageError` for what is no name."""
    return inside(root, root / FOLDER / f"{check_name(name)}.json")


def log_path(root: Path, sweep: str, run: str, stage: str) -> Path:
    """The place of what the commands of one run of a sweep say."""
    return inside(root, root / FOLDER / check_name(sweep) / f"{run}.{stage}.log")


def sweep_names(root: Path) -> list[str]:
    """The names of all sweeps of a project."""
    folder = inside(root, root / FOLDER)
    return sorted(path.stem for path in folder.glob("*.json") if is_name(path.stem))


def sweep_lock(root: Path, name: str) -> AbstractContextManager[None]:
    """Around reading a manifest and writing it anew, since the cells of one run side by side."""
    folder = inside(root, root / "runs" / ".locks")
    folder.mkdir(parents=True, exist_ok=True)
    return kernel_lock(folder / f"sweep-{check_name(name)}.lock", timeout=-1)


def write_sweep(root: Path, manifest: SweepManifest) -> None:
    """Write the manifest of a sweep, in place of an earlier one."""
    write_atomic(sweep_path(root, manifest["name"]), seal_json(manifest))


def read_sweep(root: Path, name: str) -> SweepManifest:
    """The manifest of a sweep, every field checked: anybody can seal a file.

    Raises:
        ArtifactError: there is none of this name, or it is damaged.
    """
    path = sweep_path(root, name)
    if not path.exists():
        have = sweep_names(root)
        raise ArtifactError(
            f"there is no sweep {name!r} in this project",
            f"there is {', '.join(have)}" if have else "begin one with 'corrtool sweep'",
        )
    manifest = read_sealed_json(path, REMEDY)
    if not _well_formed(manifest, name):
        raise damaged(path, REMEDY)
    return cast(SweepManifest, manifest)


_CELL: dict[str, Any] = {
    "name": str,
    "seed": int,
    **dict.fromkeys(("point", "settings", "inputs"), dict),
    "steps": list,
    "failure": (str, type(None)),
    "paused": (str, type(None)),
}
_LONGEST_KEY = 100  # of a setting; a table and a figure have room for it
_TOO_LARGE = 2**63  # for a seed, and for a whole number of any setting


def _well_formed(manifest: dict[str, Any], name: str) -> bool:
    """True if all that is read of the manifest of this name is there, in its type and range."""
    texts = ("stage", "command", "engine", "created")
    if not all(isinstance(manifest.get(text), str) for text in texts):
        return False
    cells = manifest.get("cells")
    return (
        manifest.get("name") == name  # it becomes part of the names of files
        and manifest["stage"] in LEARNING_STAGES
        and isinstance(cells, list)
        and bool(cells)
        and all(isinstance(cell, dict) and _is_cell(cell) for cell in cells)
    )


def _is_cell(cell: dict[str, Any]) -> bool:
    return (
        all(isinstance(cell.get(name), kind) for name, kind in _CELL.items())
        and not isinstance(cell["seed"], bool)
        and 0 <= cell["seed"] < _TOO_LARGE
        and all(map(_is_value, cell["point"].values()))
        and all(len(key) <= _LONGEST_KEY for key in cell["point"])
        and all(map(_is_name, cell["inputs"].values()))
        and bool(cell["steps"])
        and all(isinstance(step, dict) and _is_step(step) for step in cell["steps"])
        and cell["steps"][0]["stage"] in LEARNING_STAGES
    )


def _is_value(value: Any) -> bool:
    """True for what a grid can give a setting: a text, or a number that the setting could have."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str) or (isinstance(value, int) and abs(value) < _TOO_LARGE)


def _is_step(step: dict[str, Any]) -> bool:
    stage, name, made = (step.get(key) for key in ("stage", "name", "produces"))
    return (
        isinstance(stage, str)
        and stage in STAGE_SETTINGS
        and (name is None or _is_name(name))
        and isinstance(step.get("fingerprint"), str | None)
        and isinstance(made, list)
        and all(isinstance(pair, list) and len(pair) == 2 for pair in made)
        and all(kind in KINDS and _is_name(artifact) for kind, artifact in made)
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and is_name(value)
