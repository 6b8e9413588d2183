"""One lock per artifact being written.

The kernel releases it when its holder dies, however it dies.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import filelock

from corrtool.errors import ArtifactError, CorrtoolError, LockedError
from corrtool.files.atomic import inside

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextmanager
def kernel_lock(path: Path, timeout: float = 0) -> Iterator[None]:
    """Hold a lock of the kernel.

    Where it has none, filelock would make marker files, which outlive a holder that was killed.

    Raises:
        CorrtoolError: the file system knows no locks.
        filelock.Timeout: another process holds it.
    """
    with ExitStack() as held:
        try:
            held.enter_context(filelock.FileLock(path, timeout=timeout, fallback_to_soft=False))
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise CorrtoolError(
                f"the file system of {path.parent} cannot lock files ({error.strerror})",
                "move the project to a local disk, or have the file system mounted with locks "
                "(Lustre: flock)",
            ) from None
        yield


@contextmanager
def lock_artifacts(root: Path, artifacts: list[tuple[str, str]]) -> Iterator[None]:
    """Hold the locks of ``artifacts``, pairs of kind and name, in a fixed order.

    Raises:
        LockedError: another process holds one; the message names it.
    """
    inside(root, root / "runs" / ".locks").mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for kind, name in sorted(artifacts):
            path = _lock_path(root, kind, name)
            holder_path = path.with_suffix(".holder")
            for file in (path, holder_path):
                if file.is_symlink():
                    raise ArtifactError(f"{file} is a link", "remove it")
            try:
                stack.enter_context(kernel_lock(path))
            except filelock.Timeout:
                raise _locked(kind, name, _read_holder(holder_path) or "another process") from None
            holder_path.write_text(_this_process(), encoding="utf-8")
            stack.callback(holder_path.unlink, missing_ok=True)
        yield


def check_unlocked(root: Path, artifacts: list[tuple[str, str]]) -> None:
    """Raise :class:`LockedError` where a process of this machine writes one of ``artifacts``."""
    for kind, name in artifacts:
        holder = lock_holder(root, kind, name)
        if holder is not None:
            raise _locked(kind, name, holder)


def _locked(kind: str, name: str, holder: str) -> LockedError:
    return LockedError(
        f"{kind} {name} is being written by {holder}", "wait for it, or use another --name"
    )


def lock_holder(root: Path, kind: str, name: str) -> str | None:
    """The process of this machine that is writing an artifact right now.

    None when nobody is, or when it lives elsewhere.

    Tries the lock only while a process of the holder's number lives, since trying could get in a
    new writer's way.
    """
    path = _lock_path(root, kind, name).with_suffix(".holder")
    holder = _read_holder(path)
    words = holder.split()
    if len(words) != 4 or words[3] != socket.gethostname() or not words[1].isdecimal():
        return None
    try:
        os.kill(int(words[1]), 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass
    try:
        with kernel_lock(
            _lock_path(root, kind, name)
        ):  # its number may belong to another process by now
            return None
    except filelock.Timeout:
        return holder


def recorded_holder(root: Path, kind: str, name: str) -> str:
    """The process that said last that it writes an artifact, wherever it lives; empty for none.

    One that was killed did not take that back.
    """
    return _read_holder(_lock_path(root, kind, name).with_suffix(".holder"))


def _read_holder(path: Path) -> str:
    """The text that the holder of a lock wrote; empty if there is none."""
    return (
        path.read_text(encoding="utf-8", errors="replace")
        if path.is_file() and not path.is_symlink()
        else ""
    )


def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _lock_path(root: Path, kind: str, name: str) -> Path:
    return root / "runs" / ".locks" / f"{kind}-{name}.lock"
