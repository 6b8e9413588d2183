"""Places beside a file for what is to be moved there, and what killed writers left in such places.

Where no lock tells who writes, the kernel does: a writer holds its place by ``flock``, which ends
with the process, however it dies.
"""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corrtool.files.atomic import PARTIAL_SUFFIX, naming_file

_OLD_SECONDS = 86_400  # after which nobody writes there any more, where the kernel cannot tell
_places: set[tuple[int, Path]] = set()  # where processes write; a fork knows those of its parent


@contextmanager
def staged_beside(final: Path, *, directory: bool = False) -> Iterator[Path]:
    """A new file, or directory, beside ``final``: empty, held by this process, gone in the end.

    Unless it was moved. What dead processes left for ``final`` is removed first.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(final)
    staged, descriptor = _made(final, directory)
    _places.add(place := (os.getpid(), staged))
    try:
        with naming_file(final):
            yield staged
    finally:
        _remove(staged)
        _places.discard(place)
        if descriptor is not None:
            os.close(descriptor)


def remove_staged() -> None:
    """Delete all that this process has begun to write, for one that ends at once."""
    for process, staged in list(_places):
        if process == os.getpid():
            with contextlib.suppress(OSError):
                _remove(staged)


def remove_abandoned(final: Path) -> None:
    """Delete what :func:`staged_beside` made for ``final`` in processes that are dead."""
    for left in final.parent.glob(f".{glob.escape(final.name)}.*{PARTIAL_SUFFIX}"):
        with contextlib.suppress(OSError):  # gone by now, or not ours to remove
            _remove_abandoned(left)


def _remove_abandoned(left: Path) -> None:
    if sys.platform == "win32":
        if time.time() - left.lstat().st_mtime > _OLD_SECONDS:
            _remove(left)
        return
    descriptor = os.open(left, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if _hold(descriptor):
            _remove(left)
    finally:
        os.close(descriptor)


def _made(final: Path, directory: bool) -> tuple[Path, int | None]:
    """The place, and what holds it. Another process may remove it before it is held."""
    while True:
        staged = final.with_name(f".{final.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")
        if directory:
            staged.mkdir()
        else:
            staged.touch(exist_ok=False)
        if sys.platform == "win32":  # an open file cannot be moved there
            return staged, None
        try:
            descriptor = os.open(staged, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            held = _hold(descriptor)
        except OSError:  # a file system without locks: nobody takes it for abandoned either
            held = True
        if held and staged.exists():
            return staged, descriptor
        os.close(descriptor)


def _hold(descriptor: int) -> bool:
    """True if nobody else holds it; then this process does, until the descriptor is closed."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
