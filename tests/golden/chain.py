"""The six stages at `--preset tiny` on Pong and CartPole.

They are called by the command line alone, so that any version of corrtool can be asked.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from safetensors.numpy import load_file

STAGES = ("train-dqn", "collect", "train-model", "learn-corr", "evaluate", "finetune")
PAIRS = {
    "pong": (
        "--source",
        "ALE/Pong-v5",
        "--target-view",
        "rotate:90",
        "--max-episode-frames",
        "1200",
    ),
    "cartpole": ("--source", "CartPole-v1", "--target-view", "scale:-1,1,1,1"),
}
# More of what a stage can do, under names of their own.
VARIANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "pong": {
        "learn-corr": ("--generator", "affine-resnet", "--gan-loss", "log",
                       "--model-loss", "relative", "--batch-size", "2", "--angle-starts", "2",
                       "--gradient-steps", "6"),
        "train-dqn": ("--double-q", "--priority-exponent", "0.5", "--optimizer", "rmsprop",
                      "--loss", "squared", "--env-steps", "240", "--random-records", "40"),
    },
    "cartpole": {
        "learn-corr": ("--generator", "mlp", "--lambda-q", "0", "--batch-size", "4",
                       "--cycle-loss", "printed"),
        "train-model": ("--batch-size", "16"),
    },
}  # fmt: skip


def run_chain(directory: Path, run: Callable[..., str]) -> dict[str, Any]:
    """Everything that the chains print and leave.

    Args:
        directory: where the projects are made.
        run: runs one command; returns what it printed.

    Returns:
        By pair and stage the object of `--json`; by pair the arrays of each artifact and the events
        of each `metrics.jsonl`.
    """
    record: dict[str, Any] = {}
    for pair, tasks in PAIRS.items():
        lab = directory / pair
        run("init", str(lab), *tasks, "--quiet")
        common = ("-p", str(lab), "--preset", "tiny", "--device", "cpu", "--seed", "3", "--json")
        results = {stage: json.loads(run(stage, *common)) for stage in STAGES}
        for stage, flags in VARIANTS[pair].items():
            results[f"{stage} variant"] = json.loads(
                run(stage, *common, *flags, "--name", f"{stage}-variant")
            )
        record[pair] = {
            "results": results,
            "artifacts": artifacts_of(lab),
            "metrics": metrics_of(lab),
        }
    return record


def artifacts_of(lab: Path) -> dict[str, Any]:
    """By path the names of an artifact's arrays, each with its shape, type and SHA-256."""
    found = {}
    for path in sorted(lab.glob("weights/*/*.safetensors")):
        found[path.relative_to(lab).as_posix()] = {
            name: described(array) for name, array in load_file(path).items()
        }
    for path in sorted(lab.glob("memories/*.zarr")):
        group = zarr.open_group(path, mode="r")
        found[path.relative_to(lab).as_posix()] = {
            name: described(np.asarray(array[:])) for name, array in sorted(group.arrays())
        }
    return found


def described(array: np.ndarray) -> list[Any]:
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return [list(array.shape), str(array.dtype), digest]


def metrics_of(lab: Path) -> dict[str, Any]:
    """By run the kinds of events of its `metrics.jsonl`, each with the names of its fields."""
    found: dict[str, Any] = {}
    for path in sorted(lab.glob("runs/*/*/metrics.jsonl")):
        events: dict[str, list[str]] = {}
        for line in map(json.loads, path.read_text().splitlines()):
            fields = sorted(set(events.get(line["event"], [])) | line.keys())
            events[line["event"]] = fields
        found[path.relative_to(lab).parent.as_posix()] = dict(sorted(events.items()))
    return found


def shape_of(value: Any, name: str = "") -> Any:
    """A JSON value without what depends on the processor.

    Settings and names stay as they are, of numbers the type.
    """
    if name == "settings":
        return value
    if isinstance(value, dict):
        of_luck = {"like_reuse"}  # there where a few games say so
        return {key: shape_of(value[key], key) for key in value if key not in of_luck}
    if isinstance(value, list):
        return (
            [shape_of(value[0])]
            if value and not isinstance(value[0], str | dict)
            else [*map(shape_of, value)]
        )
    if name.endswith("sha256"):
        return "sha256"
    if isinstance(value, str):
        return without_digest(value)
    return value if isinstance(value, bool | None) else type(value).__name__


def without_digest(name: str) -> str:
    """The name of an evaluation ends with digits of a digest of its inputs."""
    return re.sub(r"-[0-9a-f]{8}$", "-DIGEST", name)


def shape_of_record(record: dict[str, Any]) -> dict[str, Any]:
    """What of :func:`run_chain` is the same on every machine.

    Arrays lose their digests, results their numbers.
    """
    return {
        pair: {
            "results": {stage: shape_of(result) for stage, result in found["results"].items()},
            "artifacts": {
                path: {name: array[:2] for name, array in arrays.items()}
                for path, arrays in found["artifacts"].items()
            },
            "metrics": {without_digest(run): events for run, events in found["metrics"].items()},
        }
        for pair, found in record.items()
    }
