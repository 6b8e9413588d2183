"""Atomic and durable writes.

A file or a directory is there whole, or not at all, even after a power cut.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corrtool.errors import ArtifactError

PARTIAL_SUFFIX = ".partial"
REPLACED_SUFFIX = ".replaced"
_OF_DISKS = {  # what a write is refused with; Windows has no quotas of this kind
    getattr(errno, name)
    for name in ("EFBIG", "ENOSPC", "EDQUOT", "EIO", "EROFS")
    if hasattr(errno, name)
}


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Around what writes to ``path``: an error of the disk, which names no file, gets its name."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in _OF_DISKS:
            error.filename = str(path)
        raise


def write_atomic(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a crash leaves the old file or the new one.

    A temporary file beside it, fsync, rename, fsync of the directory.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")
    try:
        with naming_file(path), partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def copy_atomic(path: Path, copy: Path) -> None:
    """Give the file ``path`` a second name, or copy it where the file system knows none."""
    partial = copy.with_name(f".{copy.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")
    try:
        try:
            os.link(path, partial)
        except OSError:
            shutil.copyfile(path, partial)
        publish_file(partial, copy)
    finally:
        partial.unlink(missing_ok=True)


def inside(root: Path, path: Path) -> Path:
    """``path``, which lies in ``root``.

    A project from elsewhere must not make corrtool write or delete anywhere else.

    Raises:
        ArtifactError: a symbolic link leads out of ``root``.
    """
    try:
        leads_out = not path.resolve().is_relative_to(root.resolve())
    except (
        OSError,
        RuntimeError,
    ):  # links in a circle: which of the two depends on the version of Python
        raise ArtifactError(f"{path}: its links lead nowhere", "remove them") from None
    if leads_out:
        raise ArtifactError(
            f"{path} leads out of the project",
            "move the project as a whole instead of linking parts of it",
        )
    return path


def regular_file(path: Path) -> Path:
    """``path``, which is to be read.

    A project from elsewhere may hold named pipes and devices, whose reading never ends.

    Raises:
        OSError: something else than a file is there.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file")
    return path


def sync_directory(path: Path) -> None:
    """Make renames inside ``path`` survive a power cut; only POSIX can open directories."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """fsync of every file and directory below ``path``."""
    for directory, _, names in os.walk(path):
        for name in names:
            with (Path(directory) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_directory(Path(directory))


def sync_file(path: Path, root: Path) -> None:
    """fsync of a file in ``root`` and of the directories that lead to it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    for directory in path.parents:
        sync_directory(directory)
        if directory == root:
            return


def publish_file(staged: Path, final: Path) -> None:
    """Move the finished file ``staged`` to ``final`` in the same directory.

    Fsync, rename, fsync of the directory.
    """
    with staged.open("rb") as file:
        os.fsync(file.fileno())
    staged.replace(final)
    sync_directory(final.parent)


def publish_directory(staged: Path, final: Path) -> None:
    """Move the finished directory ``staged`` to ``final``, replacing what is there.

    A directory cannot be renamed over another one, so the old one steps aside first;
    :func:`recover_directory` puts it back if the process dies between the two renames.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    sync_tree(staged)
    if final.exists():
        set_aside(final)
    staged.rename(final)
    sync_directory(final.parent)
    shutil.rmtree(replaced_path(final), ignore_errors=True)


def replaced_path(final: Path) -> Path:
    """The place of the directory ``final`` while its successor is incomplete."""
    return final.with_name(f".{final.name}{REPLACED_SUFFIX}")


def set_aside(final: Path) -> None:
    """Make room for a successor of the directory ``final``; :func:`recover_directory` undoes it."""
    shutil.rmtree(replaced_path(final), ignore_errors=True)
    final.rename(replaced_path(final))
    sync_directory(final.parent)


def recover_directory(final: Path) -> None:
    """Undo a replacement of ``final`` that was cut short, or drop what a whole one replaced.

    Call under its lock.
    """
    if final.exists():
        shutil.rmtree(replaced_path(final), ignore_errors=True)
    elif replaced_path(final).exists():
        replaced_path(final).rename(final)
        sync_directory(final.parent)


def remove_partial(directory: Path, name: str = "") -> None:
    """Delete what killed writers left in ``directory``: of the file ``name``, or all.

    Call under the lock of what is written there.
    """
    for leftover in directory.glob(f".{glob.escape(name)}*{PARTIAL_SUFFIX}"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def sha256_of_file(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
