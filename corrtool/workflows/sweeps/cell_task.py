"""What submitit runs for a cell: the sweep's own command, as a child process.

SLURM signals every process of a job step, and the sweep passes on what it hears: a stage would hear
twice, and the second signal ends it without saving. So the child is deaf to what SLURM sends. The
task alone hears it, and tells the child once, by another signal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from submitit import JobEnvironment
from submitit.helpers import DelayedSubmission

from corrtool.workflows.sweeps.engine import Outcome, outcome_of
from corrtool.workflows.sweeps.tether import Tether

PASSED_ON = signal.SIGUSR1
DEAF_TO = (signal.SIGUSR2, signal.SIGTERM)


class CellFailedError(RuntimeError):
    """The command of a cell has failed; its last line says why."""


class CellTask:
    """The command of one cell.

    submitit pickles it, so it holds words and nothing else; what belongs to a turn is no part of
    what a new one is made from.

    Args:
        words: the whole command line.
        log: the file to whose end goes what the command says.
    """

    def __init__(self, words: list[str], log: str) -> None:
        self.words, self.log = words, log

    # No attributes of an object until a turn begins: they are not pickled.
    _child: int | None = None
    _told = False

    def __call__(self) -> None:
        """Run the command, and ask for another turn where it was stopped.

        Raises:
            CellFailedError: it has failed.
        """
        with Path(self.log).open("ab") as log:
            begins = log.tell()
            process = subprocess.Popen(
                self.words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=Tether(os.getpid(), deaf_to=DEAF_TO, hears=[PASSED_ON]),
            )
        self._child = process.pid
        code = process.wait()
        if code == 0:
            return
        if outcome_of(code) is Outcome.INTERRUPTED and abs(code) % 128 != signal.SIGKILL:
            _ask_for_another_turn()
        from corrtool.workflows.sweeps.running import last_error  # what it imports takes seconds

        killed = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        raise CellFailedError(last_error(Path(self.log), begins) or killed)

    def checkpoint(self) -> DelayedSubmission:
        """Stop the command, once, and wait until it has saved; returns what the next turn runs.

        submitit calls it in the handler of a signal, maybe in the middle of ``Popen.wait``, which
        holds a lock: so the child is waited for without ``Popen``, and left for that to collect.
        """
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):  # it has ended
                if not self._told:
                    self._told = True
                    os.kill(self._child, PASSED_ON)
                os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOWAIT)
        signal.signal(_turn_signal(), signal.SIG_IGN)  # a second one would cut into the pickling
        return DelayedSubmission(CellTask(self.words, self.log))


def _turn_signal() -> signal.Signals:
    """The signal on which submitit saves and asks SLURM for another turn."""
    return signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]


def _ask_for_another_turn() -> None:
    """Do as if SLURM had signalled: somebody else has stopped the command, which has saved."""
    if callable(signal.getsignal(_turn_signal())):  # submitit runs a debug job without a handler
        signal.raise_signal(_turn_signal())
