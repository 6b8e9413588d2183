"""One writer per artifact, among real processes."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corrtool.errors import CorrtoolError, LockedError
from corrtool.project.directory import create_project
from corrtool.project.locks import lock_artifacts, lock_holder
from corrtool.runs.opening import open_run
from corrtool.runs.requests import RunRequest
from corrtool.settings.stages import CollectSettings
from corrtool.workflows import doctor as doctor

HOLD = """
import sys
from pathlib import Path
from corrtool.project.locks import lock_artifacts

with lock_artifacts(Path(sys.argv[1]), [("memory", "m")]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def holder(root: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of memory m until its input closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.communicate()


def test_a_second_process_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(LockedError) as raised, lock_artifacts(tmp_path, [("memory", "m")]):
            pass
        assert f"process {process.pid} on " in raised.value.message
        assert "memory m" in raised.value.message
        assert raised.value.exit_code == 5
    with lock_artifacts(tmp_path, [("memory", "m")]):  # free again when its holder ends
        pass


def test_a_killed_holder_blocks_nobody(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with lock_artifacts(tmp_path, [("memory", "m")]):
            pass


def test_other_artifacts_are_free(tmp_path: Path) -> None:
    with holder(tmp_path), lock_artifacts(tmp_path, [("memory", "n"), ("q", "m")]):
        pass


def test_a_lock_that_fails_lets_go_of_those_taken_before(tmp_path: Path) -> None:
    with lock_artifacts(tmp_path, [("q", "b")]):
        with pytest.raises(LockedError), lock_artifacts(tmp_path, [("q", "b"), ("memory", "a")]):
            pass
        with lock_artifacts(tmp_path, [("memory", "a")]):
            pass


def test_the_same_process_cannot_take_a_lock_twice(tmp_path: Path) -> None:
    with (
        lock_artifacts(tmp_path, [("memory", "m")]),
        pytest.raises(LockedError, match=str(os.getpid())),
        lock_artifacts(tmp_path, [("memory", "m")]),
    ):
        pass


def test_an_error_under_a_lock_frees_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock_artifacts(tmp_path, [("memory", "m")]):
        _ = 1 / 0
    with lock_artifacts(tmp_path, [("memory", "m")]):
        pass


def test_a_run_leaves_a_memory_alone_that_another_process_is_replacing(tmp_path: Path) -> None:
    """Between the two renames of ``publish_directory`` the old memory stands aside.

    Only its lock's holder may act.
    """
    project = create_project(
        tmp_path, {"source": {"id": "CartPole-v1"}, "target": {"id": "CartPole-v1"}}, {}
    )
    aside = tmp_path / "memories" / ".m.zarr.replaced"
    aside.mkdir(parents=True)
    request = RunRequest(
        CollectSettings(),
        "n",
        0,
        tasks={},
        inputs={},
        produces=[("memory", "n")],
        state_kind="vector",
    )
    with holder(tmp_path):
        with open_run(project, request, machine={}, overwrite=False, tensorboard=False):
            pass
        assert aside.exists()
        assert not (tmp_path / "memories" / "m.zarr").exists()


def test_a_run_sweeps_what_a_killed_writer_of_its_artifact_left(tmp_path: Path) -> None:
    project = create_project(
        tmp_path, {"source": {"id": "CartPole-v1"}, "target": {"id": "CartPole-v1"}}, {}
    )
    request = RunRequest(
        CollectSettings(), "n", 0, tasks={}, inputs={}, produces=[("q", "n")], state_kind="vector"
    )
    mine, other = (
        tmp_path / "weights" / "q" / f".{name}.safetensors.0a1b2c3d.partial" for name in ("n", "m")
    )
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"half")
    other.write_bytes(b"half")
    with open_run(project, request, machine={}, overwrite=False, tensorboard=False):
        assert not mine.exists() and other.exists()


def test_where_the_kernel_has_no_locks_nothing_stands_in_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lustre without ``flock``.

    A marker file would outlive a holder that was killed on another machine.
    """

    def missing(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", missing)
    with (
        pytest.raises(CorrtoolError, match="cannot lock files") as raised,
        lock_artifacts(tmp_path, [("q", "m")]),
    ):
        pass
    assert raised.value.exit_code == 1 and "local disk" in raised.value.hint
    monkeypatch.undo()
    with lock_artifacts(tmp_path, [("q", "m")]):  # nothing was left that would block for ever
        pass
    monkeypatch.setattr("fcntl.flock", missing)
    with pytest.raises(CorrtoolError, match="cannot lock files"):
        doctor._locks(tmp_path)


def test_who_is_writing_right_now(tmp_path: Path) -> None:
    assert lock_holder(tmp_path, "memory", "m") is None
    with holder(tmp_path) as process:
        held_by = lock_holder(tmp_path, "memory", "m")
        assert held_by is not None and held_by.startswith(f"process {process.pid} on ")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert (
            lock_holder(tmp_path, "memory", "m") is None
        )  # it left its name behind, but lives no more
    with lock_artifacts(tmp_path, [("memory", "m")]):
        held_by = lock_holder(tmp_path, "memory", "m")
        assert held_by is not None and str(os.getpid()) in held_by
    assert lock_holder(tmp_path, "memory", "m") is None
