"""A memory of a project as a file of another tool: ``export memory``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

from corrtool.errors import ArtifactError, UsageError
from corrtool.exchange.episodes import Episode, MemoryEpisodes
from corrtool.exchange.minari import open_minari, write_minari
from corrtool.exchange.minari_metadata import dataset_description, dataset_id, datasets_root
from corrtool.exchange.npz import npz_description, open_npz, write_npz
from corrtool.exchange.sources import Description, MemoryFormat, check_format, describe
from corrtool.files.staging import remove_abandoned
from corrtool.memory import read_rows
from corrtool.project.artifacts import read_artifact
from corrtool.project.directory import Project, check_output
from corrtool.project.memory_files import check_memory
from corrtool.runtime.console import Console
from corrtool.states import StateSpec

_OPENERS = {"minari": open_minari, "npz": open_npz}


class ExportedMemory(TypedDict):
    """What ``export memory --json`` prints.

    Attributes:
        path: the file, or the directory of the dataset.
        dataset: its id, of Minari's.
        records: transitions; ``steps`` are these and those that are there for their states only.
        state: ``"written"``, ``"there already"``, or ``"planned"`` in a dry run.
    """

    memory: str
    sha256: str
    format: str
    path: str
    dataset: str | None
    records: int
    episodes: int
    steps: int
    state: str


def export_memory(
    project: Project,
    console: Console,
    name: str,
    *,
    to: MemoryFormat,
    output: Path | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> ExportedMemory:
    """Write a memory as a Minari dataset or as ``.npz``.

    Args:
        output: the file; of Minari the directory of all datasets, by default Minari's own.

    Raises:
        ArtifactError: the memory is missing or damaged, or is in its place already, damaged.
        UsageError: something else is in its place, or Minari is not installed.
    """
    check_format(to)
    artifact = read_artifact(project.root, "memory", name)
    manifest = check_memory(artifact.path)
    root = (datasets_root() if output is None else output).absolute()  # Minari joins others twice
    if to == "npz":
        path = Path(f"{name}.npz") if output is None else output
        check_output(path, "--output", project)
    else:
        path = root / dataset_id(name)
        if root.exists() and not root.is_dir():
            raise UsageError(f"{root} is no directory", "give the directory of all datasets")
    description = describe(name, manifest)
    there = path.exists() and not overwrite
    found = _found(console, to, path, description) if there else []
    with console.transient_progress(f"reading {artifact}", manifest["rows"], "rows") as reading:
        rows = read_rows(artifact.path, manifest, reading.advance)
    episodes = MemoryEpisodes(rows)
    steps = int(episodes.lengths.sum())
    if there and found != _checksums(console, f"export {name}: comparing", episodes, steps):
        raise _damaged(path, "its episodes are not those of the memory")
    result: ExportedMemory = {
        "memory": name,
        "sha256": artifact.sha256,
        "format": to,
        "path": str(path),
        "dataset": dataset_id(name) if to == "minari" else None,
        "records": rows.records,
        "episodes": len(episodes),
        "steps": steps,
        "state": "there already" if there else "planned" if dry_run else "written",
    }
    if not dry_run:
        remove_abandoned(path)
    if there or dry_run:
        return result
    title = f"export {name}: writing"
    with console.transient_progress(title, steps, "steps") as writing:
        if to == "npz":
            write_npz(path, episodes, rows.spec, description, writing.advance)
        else:
            write_minari(root, name, episodes, rows.spec, description, writing.advance)
    return result


def _found(console: Console, to: MemoryFormat, path: Path, description: Description) -> list[str]:
    """The checksum of each episode of an earlier export, which is read before the memory is.

    Raises:
        ArtifactError: it is damaged.
        UsageError: it is of something else.
    """
    try:
        described = dataset_description(path) if to == "minari" else npz_description(path)
        if any(described.get(key) != description[key] for key in ("name", "sha256")):
            raise UsageError(
                f"{path} is there already", "choose another --output, or --overwrite it"
            )
        spec = StateSpec.from_json(description["states"])
        with _OPENERS[to](path, spec, description["actions"]) as there:
            if there.description != description:
                raise ArtifactError("its description is not what was written")
            title = f"export {description['name']}: checking what is there"
            return _checksums(console, title, there.episodes, there.steps)
    except ArtifactError as error:
        raise _damaged(path, error.message) from None


def _checksums(console: Console, title: str, episodes: Iterable[Episode], steps: int) -> list[str]:
    """The checksum of each episode, of ``steps`` in all."""
    found = []
    with console.transient_progress(title, steps, "steps") as reading:
        for episode in episodes:
            found.append(episode.sha256())
            reading.advance(len(episode.actions))
    return found


def _damaged(path: Path, reason: str) -> ArtifactError:
    return ArtifactError(
        f"{path} is there already, and is damaged or was made from something else ({reason})",
        "use --overwrite, or another --output",
    )
