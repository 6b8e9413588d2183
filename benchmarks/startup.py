"""The seconds until ``corrtool --help`` and a completion have answered."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from benchmarks.measuring import Row, alternate, per_second

LIMIT_SECONDS = 0.3
COMPLETION = {
    "_CORRTOOL_COMPLETE": "complete_bash",
    "COMP_WORDS": "corrtool learn-",
    "COMP_CWORD": "1",
}
SMALLEST = """
import typer
app = typer.Typer(pretty_exceptions_enable=False)
@app.command()
def one(): "One."
@app.command()
def two(): "Two."
app(prog_name="smallest")
"""


def measure(rounds: int) -> list[Row]:
    """Whole processes, as a shell starts them.

    Beside the limit stands what Python and Typer take for a program that does nothing.
    """

    def start(*arguments: str, **more: str) -> Callable[[], float]:
        environment = os.environ | more
        command = [sys.executable, *arguments]
        return lambda: (
            1
            / per_second(
                1, lambda: subprocess.run(command, check=True, capture_output=True, env=environment)
            )
        )

    smallest = {
        name.replace("CORRTOOL", "SMALLEST"): words.replace("learn-", "t")
        for name, words in COMPLETION.items()
    }
    ours, bare, completion, bare_completion = alternate(
        start("-m", "corrtool", "--help"), start("-c", SMALLEST, "--help"),
        start("-m", "corrtool", **COMPLETION), start("-c", SMALLEST, **smallest),
        rounds=3 * rounds,
    )  # fmt: skip
    limit = [LIMIT_SECONDS] * (3 * rounds)
    return [
        Row(work, peer, "s", values, theirs, goal, less_is_better=True)
        for work, peer, values, theirs, goal in (
            ("corrtool --help", "the limit", ours, limit, 1.0),
            ("corrtool --help", "--help of a Typer program that does nothing", ours, bare, None),
            ("completion", "the limit", completion, limit, 1.0),
            (
                "completion",
                "that of a Typer program that does nothing",
                completion,
                bare_completion,
                None,
            ),
        )
    ]
