"""A memory of a project as a file of another tool: ``export memory``."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from corrtool.errors import ArtifactError, UsageError
from corrtool.exchange.episodes import MemoryEpisodes
from corrtool.exchange.minari import dataset_description, dataset_id, datasets_root, write_minari
from corrtool.exchange.npz import npz_description, write_npz
from corrtool.exchange.sources import MemoryFormat, check_format, describe
from corrtool.files.staging import remove_abandoned
from corrtool.memory import read_rows
from corrtool.project.artifacts import read_artifact
from corrtool.project.directory import Project, check_output
from corrtool.project.memory_files import check_memory
from corrtool.runtime.console import Console


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
        ArtifactError: the memory is missing or damaged.
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
    there = _is_there(to, path, artifact.sha256, overwrite=overwrite)
    with console.transient_progress(f"reading {artifact}", manifest["rows"], "rows") as reading:
        rows = read_rows(artifact.path, manifest, reading.advance)
    episodes, description = MemoryEpisodes(rows), describe(name, manifest)
    result: ExportedMemory = {
        "memory": name,
        "sha256": artifact.sha256,
        "format": to,
        "path": str(path),
        "dataset": dataset_id(name) if to == "minari" else None,
        "records": rows.records,
        "episodes": len(episodes),
        "steps": int(episodes.lengths.sum()),
        "state": "there already" if there else "planned" if dry_run else "written",
    }
    if not dry_run:
        remove_abandoned(path)
    if there or dry_run:
        return result
    title = f"export {name}: writing"
    with console.transient_progress(title, result["steps"], "steps") as writing:
        if to == "npz":
            write_npz(path, episodes, rows.spec, description, writing.advance)
        else:
            write_minari(root, name, episodes, rows.spec, description, writing.advance)
    return result


def _is_there(to: MemoryFormat, path: Path, sha256: str, *, overwrite: bool) -> bool:
    """True if the memory was exported to ``path`` already.

    Raises:
        UsageError: something else is there.
    """
    if overwrite or not path.exists():
        return False
    try:
        described = dataset_description(path) if to == "minari" else npz_description(path)
    except ArtifactError:
        described = {}
    if described.get("sha256") == sha256:
        return True
    raise UsageError(f"{path} is there already", "choose another --output, or --overwrite it")
