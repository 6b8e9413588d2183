"""The seconds until ``corrtool --help`` and a completion have answered."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.measuring import Row, per_second

LIMIT_SECONDS = 0.3
COMPLETION = {"_CORRTOOL_COMPLETE": "complete_bash", "COMP_WORDS": "corrtool learn-", "COMP_CWORD": "1"}


def measure(rounds: int) -> list[Row]:
    """Whole processes, as a shell starts them."""

    def seconds(arguments: list[str], more: dict[str, str]) -> float:
        command = [sys.executable, "-m", "corrtool", *arguments]
        environment = os.environ | more
        return 1 / per_second(1, lambda: subprocess.run(command, check=True, capture_output=True, env=environment))

    limit = [LIMIT_SECONDS] * (3 * rounds)
    starts = {"corrtool --help": (["--help"], {}), "completion": ([], COMPLETION)}
    return [
        Row(work, "the limit", "s", [seconds(*start) for _ in limit], limit, 1.0, less_is_better=True)
        for work, start in starts.items()
    ]
