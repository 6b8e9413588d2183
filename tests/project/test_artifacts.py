"""Artifacts: their names, how they are found, and that damage is seen."""

import json
import os
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from corrtool.errors import ArtifactError, UsageError
from corrtool.files.sealed_tensors import content_sha256
from corrtool.project.artifacts import (
    KINDS,
    Artifact,
    artifact_names,
    artifact_path,
    artifact_problems,
    check_name,
    find_artifacts,
    read_artifact,
    select_artifact,
)
from corrtool.project.manifests import Manifest
from corrtool.project.memory_files import (
    MEMORY_MANIFEST,
    check_memory,
    memory_problems,
    seal_memory,
    stray_files,
)
from corrtool.project.weights import load_weights, save_weights

STRAYS = [
    ".DS_Store",
    "Thumbs.db",
    ".nfs000001",
    "._zarr.json",
    "._0",
    "notes.txt",
    "@eaDir/frames@SynoEAStream",
]
WEIGHTS = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.zeros(2)}


def save(
    root: Path, name: str, created: str = "2026-01-01", kind: str = "q", **more: object
) -> Artifact:
    """Weights with a manifest that also says ``more``, be it of the wrong types."""
    manifest = cast(Manifest, {"created": created, **more})
    return save_weights(root, kind, name, WEIGHTS, manifest)


@pytest.mark.parametrize(
    "more",
    [
        {"parents": []},
        {"parents": {"q": 3}},
        {"parents": {"q": {"name": "x"}}},
        {"summary": 3},
        {"network": ["resnet"]},
        {"parameters": "many"},
        {"settings": "none"},
    ],
)
def test_a_manifest_whose_parts_are_of_another_kind_is_damaged(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    save(tmp_path, "odd", **more)
    with pytest.raises(ArtifactError, match="is damaged"):
        read_artifact(tmp_path, "q", "odd")
    assert find_artifacts(tmp_path, "q") == []


def memory(root: Path, name: str = "m", **more: object) -> Path:
    """A memory of three files, the first of them empty."""
    path = artifact_path(root, "memory", name)
    for file, content in {
        "zarr.json": b"",
        "frames/c/0": b"\x00" * 50,
        "valid/c/0": b"\x01\x02",
    }.items():
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).write_bytes(content)
    seal_memory(
        path,
        {"name": name, "created": "2026-01-01", "records": 2, "actions": 2, "states": {}, **more},
    )
    return path


class TestNames:
    @pytest.mark.parametrize(
        "name", ["a", "0", "resnet-cyc1-q1-m1", "A.b_c-9", "x" * 100, "target-q.zarr"]
    )
    def test_that_are_allowed(self, name: str) -> None:
        assert check_name(name) == name

    @pytest.mark.parametrize(
        "name",
        [
            "", ".", "..", "../x", "a/b", "/a", "a\\b", ".hidden", "-flag", "_a", "a b", "a\n",
            "\na", "a\nb", "a\0", "ä", "x" * 101, "m.partial", "m.replaced", "a:b", "~", "$HOME",
            "*",
        ],
    )  # fmt: skip
    def test_that_are_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(UsageError, match="is not an artifact name"):
            check_name(name)
        for kind in KINDS:
            with pytest.raises(UsageError):
                artifact_path(tmp_path, kind, name)

    def test_are_listed_by_kind(self, tmp_path: Path) -> None:
        memory(tmp_path, "m2")
        memory(tmp_path, "m1")
        save(tmp_path, "q1")
        save(tmp_path, "f", kind="model")
        (tmp_path / "memories" / ".m3.zarr.replaced").mkdir()
        (tmp_path / "memories" / ".hidden.zarr").mkdir()
        (tmp_path / "weights" / "q" / ".q1.safetensors.0a.partial").write_bytes(b"")
        (tmp_path / "weights" / "q" / "notes.txt").write_text("")
        assert {kind: artifact_names(tmp_path, kind) for kind in KINDS} == {
            "memory": ["m1", "m2"], "q": ["q1"], "model": ["f"], "corr": [],
        }  # fmt: skip

    def test_of_the_greatest_length_are_listed_as_well(self, tmp_path: Path) -> None:
        longest = "x" * 100
        memory(tmp_path, longest)
        save(tmp_path, longest)
        assert artifact_names(tmp_path, "memory") == [longest]
        assert artifact_names(tmp_path, "q") == [longest]


class TestWeights:
    def test_round_trip(self, tmp_path: Path) -> None:
        saved = save(tmp_path, "q1", seed=3, tasks={"source": {"id": "Pong"}})
        found = read_artifact(tmp_path, "q", "q1")
        assert found.path == saved.path == tmp_path / "weights" / "q" / "q1.safetensors"
        assert found.sha256 == saved.sha256 == content_sha256(WEIGHTS)
        assert found.reference() == {"kind": "q", "name": "q1", "sha256": saved.sha256}
        assert (
            found.manifest.items()
            >= {"parameters": 8, "seed": 3, "tasks": {"source": {"id": "Pong"}}}.items()
        )
        loaded = load_weights(found)
        assert set(loaded) == set(WEIGHTS)
        assert all(torch.equal(loaded[name], tensor) for name, tensor in WEIGHTS.items())

    def test_the_hash_is_of_what_was_learnt_not_of_the_manifest(self, tmp_path: Path) -> None:
        assert save(tmp_path, "a", seed=1).sha256 == save(tmp_path, "b", seed=2).sha256

    def test_that_are_missing_name_those_there_are(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="no Q-function 'q1'") as raised:
            read_artifact(tmp_path, "q", "q1")
        assert raised.value.hint == "make it with 'corrtool train-dqn'"
        save(tmp_path, "q2")
        with pytest.raises(ArtifactError) as raised:
            read_artifact(tmp_path, "q", "q1")
        assert raised.value.hint == "there is q2; 'corrtool train-dqn' makes another"

    def test_of_another_kind_are_refused(self, tmp_path: Path) -> None:
        path = save(tmp_path, "x", kind="model").path
        (tmp_path / "weights" / "q").mkdir()
        shutil.copy(path, tmp_path / "weights" / "q" / "x.safetensors")
        with pytest.raises(ArtifactError, match="holds no Q-function"):
            read_artifact(tmp_path, "q", "x")

    def test_that_are_damaged_are_found(self, tmp_path: Path) -> None:
        artifact = save(tmp_path, "q1")
        assert artifact_problems(tmp_path, "q", "q1") == []
        content = bytearray(artifact.path.read_bytes())
        content[-1] ^= 1
        artifact.path.write_bytes(content)
        (problem,) = artifact_problems(tmp_path, "q", "q1")
        assert "q1.safetensors is damaged" in str(problem)
        with pytest.raises(ArtifactError, match="is damaged"):
            load_weights(read_artifact(tmp_path, "q", "q1"))


class TestSelection:
    def test_takes_the_newest_that_fits(self, tmp_path: Path) -> None:
        for name, created, role in (
            ("old", "1", "source"),
            ("new", "3", "source"),
            ("other", "4", "target"),
        ):
            save(tmp_path, name, f"2026-01-0{created}T00:00:00+00:00", role=role)

        def fits(manifest: Manifest) -> str | None:
            return None if manifest["role"] == "source" else "it belongs to the target task"

        assert [artifact.name for artifact in find_artifacts(tmp_path, "q")] == [
            "other",
            "new",
            "old",
        ]
        assert (
            select_artifact(tmp_path, "q", None, fits, "Q-function of the source", "train-dqn").name
            == "new"
        )
        assert (
            select_artifact(
                tmp_path, "q", "old", fits, "Q-function of the source", "train-dqn"
            ).name
            == "old"
        )
        with pytest.raises(
            ArtifactError, match="Q-function other does not fit: it belongs to the target task"
        ):
            select_artifact(tmp_path, "q", "other", fits, "Q-function of the source", "train-dqn")

    def test_without_any_says_how_to_make_one(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="this project has no model of it") as raised:
            select_artifact(tmp_path, "model", None, lambda _: None, "model of it", "train-model")
        assert raised.value.hint == "make it with 'corrtool train-model'"

    def test_says_so_where_the_only_one_is_damaged(self, tmp_path: Path) -> None:
        save(tmp_path, "q1").path.write_bytes(b"nonsense")
        assert find_artifacts(tmp_path, "q") == []
        with pytest.raises(ArtifactError, match="Q-function q1 is damaged"):
            select_artifact(tmp_path, "q", None, lambda _: None, "Q-function", "train-dqn")

    def test_an_older_one_does_not_stand_in_for_one_that_is_damaged(self, tmp_path: Path) -> None:
        old, new = save(tmp_path, "old"), save(tmp_path, "new")
        new.path.write_bytes(b"")
        for changed, path in enumerate((old.path, new.path)):
            os.utime(path, (changed, changed))

        def newest() -> str:
            return select_artifact(tmp_path, "q", None, lambda _: None, "Q", "train-dqn").name

        with pytest.raises(
            ArtifactError, match="Q-function new is damaged, and may be newer than old"
        ):
            newest()
        os.utime(old.path, (2, 2))
        assert newest() == "old"

    def test_an_empty_directory_is_no_memory(self, tmp_path: Path) -> None:
        (tmp_path / "memories" / "m.zarr").mkdir(parents=True)
        assert artifact_names(tmp_path, "memory") == []

    def test_a_directory_in_the_place_of_weights_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "weights" / "q" / "q1.safetensors").mkdir(parents=True)
        (problem,) = artifact_problems(tmp_path, "q", "q1")
        assert "not a regular file" in str(problem)

    @pytest.mark.parametrize("name", ["../q1", "a\n", ".q"])
    def test_of_a_name_that_is_none_is_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(UsageError, match="is not an artifact name"):
            select_artifact(tmp_path, "q", name, lambda _: None, "Q-function", "train-dqn")


class TestMemories:
    def test_round_trip(self, tmp_path: Path) -> None:
        path = memory(tmp_path, "m", lanes=4)
        found = read_artifact(tmp_path, "memory", "m")
        assert found.path == path == tmp_path / "memories" / "m.zarr"
        assert found.manifest == check_memory(path)
        assert (
            found.manifest.items()
            >= {"kind": "memory", "name": "m", "records": 2, "lanes": 4}.items()
        )
        assert set(found.manifest["files"]) == {"zarr.json", "frames/c/0", "valid/c/0"}
        assert memory_problems(path, found.manifest) == []

    def test_the_hash_is_of_the_files_not_of_the_manifest(self, tmp_path: Path) -> None:
        one, other = memory(tmp_path, "a", seed=1), memory(tmp_path, "b", seed=2)
        assert check_memory(one)["sha256"] == check_memory(other)["sha256"]
        (other / "valid" / "c" / "0").write_bytes(b"other")
        assert seal_memory(other, {})["sha256"] != check_memory(one)["sha256"]

    @pytest.mark.parametrize("file", ["zarr.json", "frames/c/0", "valid/c/0"])
    def test_a_missing_file_is_named(self, tmp_path: Path, file: str) -> None:
        path = memory(tmp_path)
        (path / file).unlink()
        (problem,) = artifact_problems(tmp_path, "memory", "m")
        assert f"{file} is missing" in problem.message
        with pytest.raises(ArtifactError, match=f"{file} is missing"):
            check_memory(path)

    @pytest.mark.parametrize(
        "file, content",
        [("zarr.json", b" "), ("frames/c/0", b"\x00" * 49), ("valid/c/0", b"\x01\x03")],
    )
    def test_a_changed_file_is_named(self, tmp_path: Path, file: str, content: bytes) -> None:
        path = memory(tmp_path)
        (path / file).write_bytes(content)
        (problem,) = artifact_problems(tmp_path, "memory", "m")
        assert f"{file} is damaged" in problem.message
        with pytest.raises(ArtifactError, match=f"{file} is damaged"):
            check_memory(path)

    @pytest.mark.parametrize(
        "file", ["frames/c/1", "valid/zarr.json", "notes/zarr.json", ".zattrs", "frames/0.0"]
    )
    def test_a_file_too_many_is_named(self, tmp_path: Path, file: str) -> None:
        path = memory(tmp_path)
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).write_bytes(b"x")
        (problem,) = artifact_problems(tmp_path, "memory", "m")
        assert f"{file} does not belong to the memory" in problem.message
        with pytest.raises(ArtifactError, match="does not belong"):
            check_memory(path)

    @pytest.mark.parametrize("file", STRAYS)
    def test_what_cannot_be_read_as_data_does_no_harm(self, tmp_path: Path, file: str) -> None:
        path = memory(tmp_path)
        for folder in (path, path / "frames", path / "frames" / "c"):
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_bytes(b"x")
        assert artifact_problems(tmp_path, "memory", "m") == []
        assert len(stray_files(path)) == 3
        check_memory(path)
        seal_memory(path, {"name": "m"})  # not sealed as a part of it either
        assert set(check_memory(path)["files"]) == {"zarr.json", "frames/c/0", "valid/c/0"}

    def test_every_damaged_file_is_named(self, tmp_path: Path) -> None:
        path = memory(tmp_path)
        (path / "zarr.json").unlink()
        (path / "valid" / "c" / "0").write_bytes(b"x")
        (path / "frames" / "c" / "1").write_bytes(b"x")
        assert len(artifact_problems(tmp_path, "memory", "m")) == 3

    def test_a_file_in_the_place_of_a_directory_is_named(self, tmp_path: Path) -> None:
        path = memory(tmp_path)
        shutil.rmtree(path / "frames")
        (path / "frames").write_bytes(b"x")
        assert any(
            "frames/c/0 is missing" in str(problem)
            for problem in artifact_problems(tmp_path, "memory", "m")
        )

    def test_a_changed_manifest_is_refused(self, tmp_path: Path) -> None:
        path = memory(tmp_path)
        manifest = json.loads((path / MEMORY_MANIFEST).read_text())
        (path / MEMORY_MANIFEST).write_text(json.dumps(manifest | {"records": 3}))
        (problem,) = artifact_problems(tmp_path, "memory", "m")
        assert f"{MEMORY_MANIFEST} is damaged" in problem.message
        with pytest.raises(ArtifactError, match="is damaged"):
            check_memory(path)

    def test_a_memory_without_a_manifest_was_never_finished(self, tmp_path: Path) -> None:
        path = memory(tmp_path)
        (path / MEMORY_MANIFEST).unlink()
        (problem,) = artifact_problems(tmp_path, "memory", "m")
        assert f"{MEMORY_MANIFEST} is missing" in problem.message
        with pytest.raises(ArtifactError, match="is missing"):
            check_memory(path)
