"""corrtool as a process to be killed: it saves often, and can die by its own hand at a place that another process dies at too.

Usage: python victim.py SAVE_SECONDS DIE_AT COMMAND…  DIE_AT counts what the stage's loop counts; 0 is never.
"""

from __future__ import annotations

import os
import signal
import sys

from corrtool.cli import main
from corrtool.stages import loop


def _save_often(seconds: float) -> None:
    loop.CHECKPOINT_SECONDS, loop.CHECKPOINT_SHARE = seconds, 1.0


def _die_at(count: int) -> None:
    """SIGKILL right after a checkpoint at the first step that reaches ``count``; a run that is beyond it goes on."""
    poll, begun = loop.Loop.poll, []

    def poll_or_die(self: loop.Loop) -> None:
        begun.append(self.done)
        if begun[0] < count <= self.done:
            self.save()
            os.kill(os.getpid(), signal.SIGKILL)
        poll(self)

    loop.Loop.poll = poll_or_die  # type: ignore[method-assign]


if __name__ == "__main__":
    _save_often(float(sys.argv[1]))
    if int(sys.argv[2]):
        _die_at(int(sys.argv[2]))
    sys.argv = ["corrtool", *sys.argv[3:]]
    main()
