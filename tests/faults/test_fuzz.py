"""Every file that corrtool reads, with generated content.

It is read or refused by an error of ours, and nothing else happens.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from faults.forgery import with_header
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from corrtool.errors import ArtifactError, CorrtoolError, UsageError
from corrtool.files.sealed import read_sealed_json, seal_json
from corrtool.files.sealed_tensors import read_sealed_tensors, seal_tensors
from corrtool.memory import MemoryRows, read_rows, write_rows
from corrtool.memory.rows import FIELDS
from corrtool.project.directory import PROJECT_FILE, Project
from corrtool.project.manifests import Manifest
from corrtool.project.memory_files import MEMORY_MANIFEST, seal_memory
from corrtool.runs.checkpoints import load_checkpoint
from corrtool.runs.metrics import read_metrics
from corrtool.runs.records import read_checkpoint, read_record
from corrtool.settings.resolve import resolve
from corrtool.settings.stages import STAGE_SETTINGS, TASK_ROLES
from corrtool.states import StateSpec
from corrtool.tasks.views import Affine

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4)
    ),
    max_leaves=12,
)


def changed(value: Any) -> st.SearchStrategy[Any]:
    """The JSON value with some of its parts replaced by anything, left out or added to."""
    if isinstance(value, dict):
        fields = {key: changed(item) for key, item in value.items()}
        whole = st.fixed_dictionaries({}, optional=fields) | st.fixed_dictionaries(fields)
        added = st.builds(lambda a, b: {**a, **b}, whole, st.dictionaries(st.text(), JSON))
        return st.just(value) | whole | added | JSON
    if isinstance(value, list):
        items = st.tuples(*map(changed, value)).map(list)
        return st.just(value) | items | st.lists(JSON, max_size=4)
    return st.just(value) | st.just(value) | JSON


def fuzz(content: st.SearchStrategy[Any], examples: int, attack: Callable[[Any], None]) -> None:
    """Call ``attack`` with that many contents. Each must end in a value or in an error of ours."""

    @settings(
        max_examples=examples,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(content)
    def check(drawn: Any) -> None:
        attack(drawn)

    check()


# Sealed files: anything, sealed JSON of any shape, and safetensors with any header.

_HEADERS = st.dictionaries(
    st.sampled_from(["a", "b", "0:x"]),
    st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["F32", "U8", "I64", "BF16", "X"]),
            "shape": JSON,
            "data_offsets": JSON,
        }
    )
    | JSON,
)
_STATES = (
    st.sampled_from([{"$tensor": "a"}, {"$array": "b"}, {"$tensor": ["a"]}, {"$integer_keys": 3}])
    | JSON
    | st.dictionaries(
        st.text(max_size=3),
        st.sampled_from([{"$tensor": "a"}, {"$array": "b"}, {"$array": "none"}]),
    )
)


def _tensor_file(state: Any, changes: dict[str, Any]) -> bytes:
    content = seal_tensors(
        {"a": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.uint8)}, {"state": state}
    )
    return with_header(content, lambda header: header.update(changes))


_SEALED = st.one_of(
    st.binary(max_size=300),
    st.dictionaries(st.text(max_size=8).filter(lambda key: key != "seal"), JSON, max_size=4).map(
        seal_json
    ),
    st.builds(_tensor_file, _STATES, _HEADERS),
)


def sealed_files(directory: Path, examples: int) -> None:
    path = directory / "file"

    def attack(content: bytes) -> None:
        path.write_bytes(content)
        for load in (read_sealed_tensors, read_sealed_json, load_checkpoint):
            try:
                load(path)
            except ArtifactError as error:
                assert str(path) in str(error)

    fuzz(_SEALED, examples, attack)


# Memories: the metadata and chunks of Zarr, below a list of files that fits them.


def small_memory(path: Path) -> Manifest:
    """A memory of six rows of two lanes; gives its manifest."""
    fields: dict[str, np.ndarray] = {name: np.zeros(6, dtype) for name, dtype in FIELDS.items()}
    fields["valid"][:4] = True
    rows = MemoryRows(StateSpec("vector", (2,), 1), 2, np.ones((6, 2), np.float32), fields)
    return seal_memory(path, {**write_rows(path, rows), "actions": 2})


def memories(directory: Path, examples: int) -> None:
    path = directory / "m.zarr"
    manifest = small_memory(path)
    whole = {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
    described = {file: content for file, content in whole.items() if file.suffix == ".json"}
    described.pop(path / MEMORY_MANIFEST)
    metadata = st.sampled_from(list(described)).flatmap(
        lambda file: st.tuples(
            st.just(file),
            changed(json.loads(described[file])).map(lambda v: json.dumps(v).encode()),
        )
    )
    bytes_ = st.tuples(st.sampled_from(list(whole)), st.binary(max_size=100))
    says = changed({key: manifest[key] for key in ("rows", "lanes", "records", "states")})

    def attack(drawn: tuple[tuple[Path, bytes], Any]) -> None:
        (file, content), says = drawn
        file.write_bytes(content)
        try:
            rows = read_rows(path, cast(Manifest, says) if isinstance(says, dict) else manifest)
            assert len(rows.frames) <= 6  # nothing is made up: there never were more
        except ArtifactError as error:
            assert path.name in str(error)
        finally:
            file.write_bytes(whole[file])

    fuzz(st.tuples(metadata | bytes_, st.just(None) | says), examples, attack)


# Project files.

_WORDS = st.sampled_from(
    ["ALE/Pong-v5", "CartPole-v1", "rotate:90", "rotate:1e400", "affine:../x", "mosaic-rotate:3",
     "permute:0", "pad:99999999", "camera:-1", "actions:1,0", "cuda:99", "default", "tiny",
     "paper", "source", "", "../x", "\x1b[2J", "q:", "q:../x", "no.such.module:Id"]
)  # fmt: skip
_VALUES = st.recursive(
    st.integers()
    | st.floats()
    | st.booleans()
    | _WORDS
    | st.text(max_size=8)
    | st.dates().map(str),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=5,
)


def _toml(value: Any) -> str:
    """A value in TOML. JSON's texts and lists are TOML's too."""
    if isinstance(value, dict):
        return "{" + ", ".join(_pairs(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


def _pairs(table: dict[str, Any]) -> list[str]:
    return [f"{json.dumps(key)} = {_toml(value)}" for key, value in table.items()]


def _table(name: str, keys: list[str]) -> st.SearchStrategy[str]:
    tables = st.dictionaries(st.sampled_from(keys) | st.text(max_size=5), _VALUES, max_size=4)
    return tables.map(lambda table: f"[{name}]\n" + "\n".join(_pairs(table)))


_TASK = _table("source", ["kwargs", "views", "preprocessing"]).map(
    lambda text: text + '\nid = "CartPole-v1"'
)
_TABLES = {role: ["id", "kwargs", "views", "preprocessing"] for role in TASK_ROLES} | {
    "defaults": ["seed", "device", "preset"],
    **{stage: list(cls.__dataclass_fields__) for stage, cls in STAGE_SETTINGS.items()},
    "surprise": ["x"],
}
_PROJECTS = st.lists(
    st.sampled_from(list(_TABLES)).flatmap(lambda n: _table(n, _TABLES[n])) | _TASK, max_size=4
).map("\n\n".join) | st.text(max_size=100)


def project_files(directory: Path, examples: int) -> None:
    def attack(content: str) -> None:
        (directory / PROJECT_FILE).write_text(content, encoding="utf-8")
        try:
            project = Project(directory)
        except UsageError:
            return
        for role in TASK_ROLES:
            with contextlib.suppress(UsageError):
                project.task(role)
        for stage, settings_class in STAGE_SETTINGS.items():
            values = project.stage_values(stage)
            with contextlib.suppress(UsageError):
                resolve(
                    settings_class,
                    preset="default",
                    state_kind="vector",
                    project_values=values,
                    given={},
                )

    fuzz(_PROJECTS, examples, attack)


# What runs leave: records, checkpoints and metrics; and the JSON of an affine view.

_RECORD = {
    "stage": "collect", "name": "x", "state": "finished", "fingerprint": "f", "command": "c",
    "seed": 0, "settings": {}, "tasks": {}, "machine": {}, "identity": {"settings": {}},
    "parents": {"memory": {"kind": "memory", "name": "x", "sha256": "0"}},
    "locks": [["memory", "x"]], "artifacts": [], "created": "", "result": {}, "metrics_sha256": "0",
}  # fmt: skip
_CHECKPOINT = {
    "metrics": {"bytes": 3, "sha256": "0"},
    "stage": {"files": {"a": "0"}, "journal": {"blocks": [[0, 1]]}},
}
_LINE = {"event": "game", "return": 1.0, "env_steps": 100}
_AFFINE = {"matrix": [[1.0, 0.0], [0.0, 1.0]], "offset": [0.0, 1.0]}


def sealed_state(value: Any) -> bytes:
    return seal_tensors({}, {"state": value})


def lines(values: list[Any]) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


def json_text(value: Any) -> bytes:
    return json.dumps(value).encode()


RUN_FILES: dict[str, tuple[str, st.SearchStrategy[bytes], Callable[[Path], Any]]] = {
    "records": (
        "run.json",
        changed(_RECORD).filter(lambda v: isinstance(v, dict) and "seal" not in v).map(seal_json),
        lambda path: read_record(path.parent),
    ),
    "checkpoints": (
        "checkpoint.safetensors",
        changed(_CHECKPOINT).map(sealed_state),
        read_checkpoint,
    ),
    "metrics": (
        "metrics.jsonl",
        st.lists(changed(_LINE), max_size=4).map(lines) | st.binary(max_size=99),
        read_metrics,
    ),
    "affine views": (
        "affine.json",
        changed(_AFFINE).map(json_text) | st.binary(max_size=99),
        Affine.from_file,
    ),
}


def run_files(name: str, directory: Path, examples: int) -> None:
    file, content, read = RUN_FILES[name]
    path = directory / file
    (directory / "metrics.jsonl").write_bytes(b"{}\n")

    def attack(content: bytes) -> None:
        path.write_bytes(content)
        try:
            read(path)
        except CorrtoolError as error:
            assert directory.name in str(error)

    fuzz(content, examples, attack)


TARGETS: dict[str, Callable[[Path, int], None]] = {
    "sealed files": sealed_files,
    "memories": memories,
    "project files": project_files,
    **{name: partial(run_files, name) for name in RUN_FILES},
}
FULL = {"sealed files": 40_000, "memories": 10_000} | dict.fromkeys(
    ("project files", *RUN_FILES), 10_000
)


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_breaks_a_loader(target: str, tmp_path: Path) -> None:
    TARGETS[target](tmp_path, 150)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.faults_full
@pytest.mark.timeout(7200)
def test_nothing_of_a_hundred_thousand_breaks_a_loader(target: str, tmp_path: Path) -> None:
    assert sum(FULL.values()) >= 100_000
    TARGETS[target](tmp_path, FULL[target])
    print(f"{target}: {FULL[target]:,} inputs")


_DEEP = "[" * 100_000


@pytest.mark.parametrize("name", RUN_FILES)
def test_nesting_without_end_is_refused(tmp_path: Path, name: str) -> None:
    file, _, read = RUN_FILES[name]
    (tmp_path / file).write_text(_DEEP + "\n")
    with pytest.raises(CorrtoolError, match=file.partition(".")[0]):
        read(tmp_path / file)
