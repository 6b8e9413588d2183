"""Places beside a file, and those that dead processes left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import ROOT

from corrtool.files import staging
from corrtool.files.atomic import publish_directory, publish_file
from corrtool.files.staging import remove_abandoned, staged_beside

WAITING = """
import sys, time
from pathlib import Path
from corrtool.files.staging import staged_beside
with staged_beside(Path(sys.argv[1]), directory=sys.argv[2] == "directory") as staged:
    print(staged, flush=True)
    time.sleep(60)
"""


def hidden(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name.startswith("."))


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_a_killed_process_left_goes_and_what_is_written_stays(
    tmp_path: Path, kind: str
) -> None:
    final = tmp_path / "new" / "agent.onnx"
    writer = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(final), kind],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert writer.stdout is not None
    left = Path(writer.stdout.readline().strip())
    try:
        assert left.exists() and left.is_dir() == (kind == "directory")
        with staged_beside(final) as staged:
            assert staged != left
        remove_abandoned(final)
        assert hidden(final.parent) == [left.name], "another process is writing there"
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    assert hidden(final.parent) == [left.name]
    remove_abandoned(final.with_name("agent"))
    remove_abandoned(final)
    assert hidden(final.parent) == []


def test_it_is_moved_or_gone(tmp_path: Path) -> None:
    with staged_beside(tmp_path / "a") as staged:
        assert staged.read_bytes() == b""
        staged.write_bytes(b"all")
        publish_file(staged, tmp_path / "a")
    with staged_beside(tmp_path / "b", directory=True) as staged:
        (staged / "inner").write_bytes(b"all")
        publish_directory(staged, tmp_path / "b")
    with pytest.raises(KeyboardInterrupt), staged_beside(tmp_path / "c", directory=True) as staged:
        (staged / "inner").write_bytes(b"half")
        raise KeyboardInterrupt
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "inner"]


def test_names_of_others_stay(tmp_path: Path) -> None:
    for name in (".a.onnx.0a.partial", ".b.0a.partial", "a.partial", ".a.txt"):
        (tmp_path / name).touch()
    (tmp_path / ".a.onnx.0b.partial").symlink_to(tmp_path / ".b.0a.partial")
    remove_abandoned(tmp_path / "a.onnx")
    assert hidden(tmp_path) == [".a.onnx.0b.partial", ".a.txt", ".b.0a.partial"]


def test_a_file_system_without_locks_is_written_to_and_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int) -> bool:
        raise OSError("No locks available")

    (tmp_path / ".a.0a.partial").touch()
    monkeypatch.setattr(staging, "_hold", no_locks)
    with staged_beside(tmp_path / "a") as staged:
        publish_file(staged, tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.0a.partial", "a"]


def test_a_process_that_ends_at_once_removes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with staged_beside(tmp_path / "a"), staged_beside(tmp_path / "b", directory=True) as staged:
        (staged / "inner").write_bytes(b"half")
        with monkeypatch.context() as forked:
            forked.setattr("os.getpid", lambda: 1)
            staging.remove_staged()
        assert len(hidden(tmp_path)) == 2, "those are its parent's"
        staging.remove_staged()
        assert hidden(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such limit")
def test_a_disk_that_refuses_is_told_with_the_file(tmp_path: Path) -> None:
    """A file may be of 4 bytes: in a process of its own, since this one must write more."""
    code = """
import resource, signal, sys
from pathlib import Path
from corrtool.errors import as_corrtool_error
from corrtool.files.atomic import write_atomic
from corrtool.files.staging import staged_beside
def staged(path, content):
    with staged_beside(path) as place:
        place.write_bytes(content)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))
for write in (write_atomic, staged):
    try:
        write(Path(sys.argv[1]), b"12345")
    except OSError as error:
        print(as_corrtool_error(error))
"""
    path = tmp_path / "a"
    said = subprocess.run(
        [sys.executable, "-B", "-c", code, str(path)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(said) == 2 and all(line.startswith(f"{path}: File too large; ") for line in said)
    assert list(tmp_path.iterdir()) == []
