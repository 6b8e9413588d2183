"""Memories that somebody else made: metadata and manifests that lie."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.forgery import SIZES
from support.commands import run_in_process

from corrtool.errors import ArtifactError, CorrtoolError
from corrtool.files.sealed import read_sealed_json, seal_json
from corrtool.memory import read_rows
from corrtool.project.memory_files import MEMORY_MANIFEST, check_memory, seal_memory


def hostile_memory(
    lab: Path, change: Callable[[dict[str, Any]], None], array: str = "frames"
) -> Path:
    """A memory whose array has other metadata, sealed again. Gives its directory."""
    directory = lab / "memories" / "source-dqn.zarr"
    path = directory / array / "zarr.json"
    metadata = json.loads(path.read_text())
    change(metadata)
    path.write_text(json.dumps(metadata))
    own = ("files", "format_version", "kind", "sha256")
    seal_memory(
        directory,
        {k: v for k, v in read_sealed_json(directory / MEMORY_MANIFEST).items() if k not in own},
    )
    return directory


METADATA: dict[str, Callable[[dict[str, Any]], None]] = {
    "terabytes": lambda m: m.update(shape=[10**12, *m["shape"][1:]]),
    "one huge chunk": lambda m: m["chunk_grid"]["configuration"].update(
        chunk_shape=[10**9, 1, 84, 84]
    ),
    "objects": lambda m: m.update(data_type="object"),
    "text": lambda m: m.update(data_type="string"),
    "doubles": lambda m: m.update(data_type="float64"),
    "another codec": lambda m: m.update(
        codecs=[{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 1}}]
    ),
    "a pickle codec": lambda m: m.update(
        codecs=[{"name": "numcodecs.pickle", "configuration": {}}]
    ),
    "an unknown codec": lambda m: m.update(codecs=[{"name": "evil"}]),
    "no codec": lambda m: m.update(codecs=[]),
    "another fill value": lambda m: m.update(fill_value=7),
    "Zarr 2": lambda m: m.update(zarr_format=2),
    "a negative shape": lambda m: m.update(shape=[-1, *m["shape"][1:]]),
    "nothing": lambda m: m.clear(),
}


@pytest.mark.parametrize("array", ["frames", "rewards"])
@pytest.mark.parametrize("name", METADATA)
def test_zarr_metadata_from_elsewhere_is_refused(pong_copy: Path, name: str, array: str) -> None:
    directory = hostile_memory(pong_copy, METADATA[name], array)
    with pytest.raises(ArtifactError, match="source-dqn"):
        read_rows(directory, check_memory(directory))
    assert (
        run_in_process(
            "train-model", "-p", pong_copy, "--memory", "source-dqn", "--name", "x", "--quiet"
        )
        == 3
    )


@pytest.mark.parametrize("field", ["rows", "lanes", "records", "states", "files", "actions"])
@pytest.mark.parametrize("value", [*SIZES, {}, "../x", {"../../x": "0" * 64}], ids=str)
def test_a_memory_manifest_that_lies_is_refused_or_harmless(
    pong_copy: Path, field: str, value: Any
) -> None:
    directory = pong_copy / "memories" / "source-dqn.zarr"
    manifest = {
        k: v
        for k, v in read_sealed_json(directory / MEMORY_MANIFEST).items()
        if k != "format_version"
    }
    (directory / MEMORY_MANIFEST).write_bytes(seal_json({**manifest, field: value}))
    arguments = (
        "train-model",
        "-p",
        pong_copy,
        "--preset",
        "tiny",
        "--memory",
        "source-dqn",
        "--name",
        "x",
        "--dry-run",
        "--quiet",
    )
    assert run_in_process(*arguments) in (0, 3)
    assert run_in_process("status", "-p", pong_copy, "--quiet") == 0
    with contextlib.suppress(CorrtoolError):
        read_rows(directory, check_memory(directory))
