"""corrtool as a process to be killed.

It saves often, and can die by its own hand at a place that another process dies at too. It is
forked from a process that has imported torch already: some hundreds of them would spend most of
their life on that.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

from corrtool.cli import main
from corrtool.runs import loop


def live(
    arguments: list[str],
    out: Connection,
    err: Connection,
    save_seconds: float,
    die_at: int,
    before: Callable[[], None] | None,
) -> None:
    """Run the command line, with its streams in pipes.

    Args:
        save_seconds: between checkpoints.
        die_at: in what the stage's loop counts; 0 is never.
        before: is called first, such as to limit what may be written.
    """
    # The tests may run under nohup, or in the background of a script.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for number, stream in ((1, out), (2, err)):
        os.dup2(stream.fileno(), number)
        stream.close()
    sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
    for key in [key for key in os.environ if key.startswith("CORRTOOL_")]:
        del os.environ[key]
    sys.argv = ["corrtool", *arguments]
    loop.CHECKPOINT_SECONDS, loop.CHECKPOINT_SHARE = save_seconds, 1.0
    if die_at:
        _die_at(die_at)
    if before is not None:
        before()
    main()


def _die_at(count: int) -> None:
    """SIGKILL right after a checkpoint at the first step that reaches ``count``.

    A run that is beyond it goes on.
    """
    poll, begun = loop.Loop.poll, []

    def poll_or_die(self: loop.Loop) -> None:
        begun.append(self.done)
        if begun[0] < count <= self.done:
            self.save()
            os.kill(os.getpid(), signal.SIGKILL)
        poll(self)

    loop.Loop.poll = poll_or_die  # type: ignore[method-assign]
