"""Atomic writes: the old or the new, never a part."""

import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest

from corrtool.files import atomic as files
from corrtool.files.atomic import (
    publish_directory,
    recover_directory,
    remove_partial,
    sha256_of_file,
    sync_tree,
    write_atomic,
)


def tree(path: Path) -> dict[str, bytes]:
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def directory(path: Path, content: str) -> Path:
    (path / "c").mkdir(parents=True)
    (path / "c" / "0").write_text(content)
    return path


class TestWriteAtomic:
    def test_writes_and_replaces(self, tmp_path: Path) -> None:
        for content in (b"first", b"second, longer", b""):
            write_atomic(tmp_path / "file", content)
            assert tree(tmp_path) == {"file": content}

    def test_makes_the_directories_it_needs(self, tmp_path: Path) -> None:
        write_atomic(tmp_path / "a" / "b" / "file", b"x")
        assert tree(tmp_path) == {"a/b/file": b"x"}

    @pytest.mark.parametrize("old", [None, b"old"])
    def test_a_full_disk_leaves_the_old_content_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bytes | None
    ) -> None:
        if old is not None:
            write_atomic(tmp_path / "file", old)

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            write_atomic(tmp_path / "file", b"new")
        assert tree(tmp_path) == ({} if old is None else {"file": old})

    def test_an_interruption_leaves_nothing_half_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(descriptor: int) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_atomic(tmp_path / "file", b"new")
        assert tree(tmp_path) == {}

    def test_content_is_on_disk_before_it_has_its_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """fsync of the file, rename, fsync of the directory: in this order."""
        target, events, fsync = tmp_path / "file", [], os.fsync

        def watched(descriptor: int) -> None:
            kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
            events.append((kind, target.exists()))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", watched)
        write_atomic(target, b"content")
        assert events == [("file", False), ("directory", True)]

    def test_the_temporary_file_is_beside_the_target(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []
        monkeypatch.setattr(
            os, "fsync", lambda _: seen.append({p.name for p in (tmp_path / "sub").iterdir()})
        )
        write_atomic(tmp_path / "sub" / "file", b"x")
        (partial,) = seen[0]
        assert partial.startswith(".file.")
        assert partial.endswith(files.PARTIAL_SUFFIX)  # what remove_partial looks for


class TestPublishDirectory:
    def test_moves_it_to_its_place(self, tmp_path: Path) -> None:
        publish_directory(directory(tmp_path / "staged", "new"), tmp_path / "memories" / "m.zarr")
        assert tree(tmp_path) == {"memories/m.zarr/c/0": b"new"}

    def test_replaces_what_was_there(self, tmp_path: Path) -> None:
        final = tmp_path / "m.zarr"
        (directory(final, "old") / "only in the old one").write_text("x")
        publish_directory(directory(tmp_path / "staged", "new"), final)
        assert tree(tmp_path) == {"m.zarr/c/0": b"new"}

    @pytest.mark.parametrize("renames", [0, 1, 2])
    def test_a_crash_leaves_the_old_or_the_new(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
    ) -> None:
        """The process dies before the first rename, between the two, or after them.

        Then the old one is not deleted yet.
        """
        memories, staged = tmp_path / "memories", directory(tmp_path / "staged", "new")
        directory(memories / "m.zarr", "old")
        rename = Path.rename
        done: list[Path] = []

        class Died(BaseException):
            pass

        def counted(self: Path, target: Path) -> Path:
            if len(done) == renames:
                raise Died
            done.append(target)
            return rename(self, target)

        def died(*_: object, **__: object) -> None:
            raise Died

        monkeypatch.setattr(Path, "rename", counted)
        if renames == 2:
            monkeypatch.setattr(
                files, "sync_directory", lambda _: died() if len(done) == 2 else None
            )
        with pytest.raises(Died):
            publish_directory(staged, memories / "m.zarr")
        monkeypatch.undo()

        recover_directory(memories / "m.zarr")
        assert tree(memories) == {"m.zarr/c/0": b"new" if renames == 2 else b"old"}

    def test_works_again_after_a_crash_that_nobody_recovered(self, tmp_path: Path) -> None:
        final = tmp_path / "m.zarr"
        directory(tmp_path / ".m.zarr.replaced", "older")
        publish_directory(directory(tmp_path / "staged", "new"), final)
        assert tree(tmp_path) == {"m.zarr/c/0": b"new"}

    def test_recovery_leaves_everything_else_alone(self, tmp_path: Path) -> None:
        directory(tmp_path / "m.zarr", "whole")
        directory(tmp_path / ".hidden", "hidden")
        recover_directory(tmp_path / "m.zarr")
        assert tree(tmp_path) == {"m.zarr/c/0": b"whole", ".hidden/c/0": b"hidden"}

    def test_recovery_of_a_directory_that_is_not_there_does_nothing(self, tmp_path: Path) -> None:
        recover_directory(tmp_path / "nowhere" / "m.zarr")
        assert not (tmp_path / "nowhere").exists()


def test_sync_tree_reaches_every_file_and_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory(tmp_path / "a", "x")
    directory(tmp_path / "b", "y")
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    sync_tree(tmp_path)
    assert sorted(synced) == sorted(p.stat().st_ino for p in [tmp_path, *tmp_path.rglob("*")])


def test_sweeping_removes_what_killed_writers_left(tmp_path: Path) -> None:
    directory(tmp_path / ".0-5.partial", "x")
    directory(tmp_path / "kept.partial", "a name that a person gave")
    (tmp_path / ".run.json.0a1b2c3d.partial").write_bytes(b"half")
    (tmp_path / "run.json").write_bytes(b"whole")
    remove_partial(tmp_path)
    assert set(tree(tmp_path)) == {"run.json", "kept.partial/c/0"}


def test_sweeping_for_one_file_leaves_those_of_other_writers(tmp_path: Path) -> None:
    for name in (
        ".a.safetensors.0a.partial",
        ".a.safetensors.b.partial",
        ".ab.safetensors.0a.partial",
        ".[a].0a.partial",
    ):
        (tmp_path / name).write_bytes(b"half")
    remove_partial(tmp_path, "a.safetensors.")
    assert set(tree(tmp_path)) == {".ab.safetensors.0a.partial", ".[a].0a.partial"}
    remove_partial(tmp_path, "[a].")
    assert set(tree(tmp_path)) == {".ab.safetensors.0a.partial"}


@pytest.mark.parametrize(
    "content", [b"", b"abc", os.urandom(3_000_000)], ids=["empty", "short", "long"]
)
def test_sha256_of_a_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert sha256_of_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()
