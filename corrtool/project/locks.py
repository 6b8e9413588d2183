"""One lock per artifact being written. The kernel releases it when its holder dies, however it dies."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import filelock

from corrtool.errors import LockedError


@contextmanager
def lock_artifacts(root: Path, artifacts: list[tuple[str, str]]) -> Iterator[None]:
    """Holds the locks of ``artifacts``, pairs of kind and name, in a fixed order.

    Raises:
        LockedError: another process holds one; the message names it.
    """
    folder = root / "runs" / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for kind, name in sorted(artifacts):
            path = folder / f"{kind}-{name}.lock"
            holder_path = path.with_suffix(".holder")
            lock = filelock.FileLock(path, timeout=0)
            try:
                stack.enter_context(lock)
            except filelock.Timeout:
                holder = holder_path.read_text(encoding="utf-8") if holder_path.exists() else "another process"
                raise LockedError(
                    f"{kind} {name} is being written by {holder}", "wait for it, or use another --name"
                ) from None
            holder_path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
