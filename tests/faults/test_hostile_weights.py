"""Weights that somebody else made: headers and manifests that lie."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from faults.forgery import SIZES, lie, with_header
from support.commands import run_in_process

from corrtool.correspondence.saved import load_correspondence
from corrtool.environment_model.saved import load_model
from corrtool.errors import ArtifactError, CorrtoolError
from corrtool.files.sealed_tensors import read_sealed_tensors, seal_tensors
from corrtool.project.artifacts import find_artifacts, read_artifact
from corrtool.project.weights import load_weights
from corrtool.q_learning.saved import load_q_function

CPU = torch.device("cpu")


LOADERS: dict[str, Callable[..., Any]] = {
    "q": load_q_function,
    "model": load_model,
    "corr": load_correspondence,
}


LIES: dict[str, Callable[[dict[str, Any]], None]] = {
    "a shape too large": lambda h: lie(h, shape=[10**15]),
    "a negative shape": lambda h: lie(h, shape=[-1, 4]),
    "a shape of text": lambda h: lie(h, shape=["a"]),
    "offsets out of the file": lambda h: lie(h, data_offsets=[0, 10**12]),
    "offsets that overlap": lambda h: lie(h, data_offsets=[8, 64]),
    "offsets backwards": lambda h: lie(h, data_offsets=[64, 0]),
    "an unknown type": lambda h: lie(h, dtype="O8"),
    "no offsets": lambda h: next(v for n, v in h.items() if n != "__metadata__").pop(
        "data_offsets"
    ),
    "another tensor": lambda h: h.update(
        more={"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    ),
}


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("name", LIES)
def test_a_weights_file_whose_header_lies_is_refused(pong_copy: Path, kind: str, name: str) -> None:
    artifact = find_artifacts(pong_copy, kind)[0]
    artifact.path.write_bytes(with_header(artifact.path.read_bytes(), LIES[name]))
    with pytest.raises(ArtifactError, match=artifact.path.name):
        LOADERS[kind](read_artifact(pong_copy, kind, artifact.name), CPU)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(pong_copy: Path, value: float) -> None:
    artifact = find_artifacts(pong_copy, "q")[0]
    tensors = load_weights(artifact)
    tensors[next(iter(tensors))].flatten()[0] = value
    artifact.path.write_bytes(
        seal_tensors(tensors, {k: v for k, v in artifact.manifest.items() if k != "format_version"})
    )
    assert (
        run_in_process(
            "evaluate", "-p", pong_copy, "--task", "source", "--q", artifact.name, "--quiet"
        )
        == 3
    )


# Torch's: a network may be of no size, and says so.
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
@pytest.mark.parametrize("kind", LOADERS)
def test_a_manifest_that_lies_about_its_network_is_refused(pong_copy: Path, kind: str) -> None:
    """Every number in it, at the most impertinent sizes; nothing of that size is ever allocated."""
    artifact = find_artifacts(pong_copy, kind)[0]
    tensors, cases = load_weights(artifact), 0

    def places(table: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        found = []
        for key, value in table.items():
            found += places(value, (*path, key)) if isinstance(value, dict) else [(*path, key)]
        return found

    network = artifact.manifest["network"]
    for place in places(network):
        for size in SIZES:
            table = lied = json.loads(json.dumps(network))
            for key in place[:-1]:
                table = table[key]
            if table[place[-1]] == size and type(table[place[-1]]) is type(size):
                continue
            table[place[-1]] = size
            manifest = {
                k: v for k, v in artifact.manifest.items() if k not in ("network", "format_version")
            }
            artifact.path.write_bytes(seal_tensors(tensors, {**manifest, "network": lied}))
            cases += 1
            # A value that changes nothing about the weights may be read.
            with contextlib.suppress(CorrtoolError):
                LOADERS[kind](read_artifact(pong_copy, kind, artifact.name), CPU)
    assert cases > 50


def test_names_in_a_manifest_cannot_lead_anywhere(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = find_artifacts(pong_copy, "model")[0]
    manifest = {k: v for k, v in artifact.manifest.items() if k != "format_version"}
    tensors, _ = read_sealed_tensors(artifact.path)
    for name in ("../../x", "/etc/passwd", "a\nb", "\x1b[2J"):
        manifest["parents"] = {
            "source_memory": {"kind": "memory", "name": name, "sha256": "0" * 64}
        }
        artifact.path.write_bytes(seal_tensors(tensors, manifest))
        assert run_in_process("status", "-p", pong_copy) == 0
        shown = capsys.readouterr().out
        assert "damaged" in shown and name not in shown
