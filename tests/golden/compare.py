"""Whether this checkout computes what another commit did, to the last bit.

`python tests/golden/compare.py COMMIT`

Both run the chains of `chain.py` on this machine with one thread. Compared are the digest of every
array of every artifact, the objects of `--json`, the fields of every `metrics.jsonl` and the
`--help` of every command. Exits with 1 where something differs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from chain import run_chain

CHECKOUT = Path(__file__).parents[2]
COMMANDS = (
    "init", "quickstart", "train-dqn", "collect", "train-model", "learn-corr", "evaluate",
    "finetune", "report",
    "reproduce", "status", "verify", "doctor",
)  # fmt: skip


def run(package: Path, *arguments: str) -> str:
    """One command of a checkout in a process of its own; what it printed."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("CORRTOOL_")}
    env = clean | {  # not the working directory, which may hold another checkout
        "PYTHONPATH": str(package),
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "corrtool", *arguments], env=env, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"corrtool {' '.join(arguments)} exited with {done.returncode}: {done.stderr}")
    return done.stdout


def record_of(package: Path, directory: Path) -> dict[str, Any]:
    return run_chain(directory, partial(run, package)) | {
        "help": {command: run(package, command, "--help") for command in COMMANDS}
    }


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Each place where two JSON values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from differences(old.get(key, "absent"), new.get(key, "absent"), f"{where}/{key}")
    elif old != new:
        yield f"{where}: {json.dumps(old)[:200]} is now {json.dumps(new)[:200]}"


def main(commit: str) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        old = Path(scratch) / "old"
        subprocess.run(
            ["git", "-C", str(CHECKOUT), "worktree", "add", "--detach", "-q", str(old), commit],
            check=True,
        )
        try:
            before = record_of(old, Path(scratch) / "one")
        finally:
            subprocess.run(
                ["git", "-C", str(CHECKOUT), "worktree", "remove", "--force", str(old)], check=True
            )
        found = list(differences(before, record_of(CHECKOUT, Path(scratch) / "two")))
    for line in found:
        print(line)
    print(f"{len(found)} differences from {commit}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
