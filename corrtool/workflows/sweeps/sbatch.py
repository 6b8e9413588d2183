"""``--print-sbatch``: a sweep as an array job of SLURM, which needs no Python package for it.

Each task of the array is the sweep's own command with ``--cell``. So a task that is preempted and
begun again goes on from its checkpoint, and one whose cell is done ends at once. SLURM signals the
script two minutes before the time limit, or before a preemption with a grace period; the script
passes that on and asks for another turn.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from corrtool.errors import UsageError
from corrtool.project.defaults import project_preset, project_seed
from corrtool.runs.sweeps import log_path
from corrtool.settings.base import flag_name
from corrtool.workflows.sweeps.running import Limits
from corrtool.workflows.sweeps.sweep import Asked, Sweep, stage_variables

SIGNAL_SECONDS = 120  # before the time limit: a checkpoint takes seconds, a play test is left

_SCRIPT = """\
#!/usr/bin/env bash
#SBATCH --job-name={job}
#SBATCH --array={array}
#SBATCH --requeue
#SBATCH --signal=B:USR1@{seconds}
#SBATCH --open-mode=append
#SBATCH --output={log}
# Say what a cell takes here, or to sbatch: --time, --cpus-per-task, --mem, --gpus, --partition.
set -u
{exports}
{words} --cell "$SLURM_ARRAY_TASK_ID" &
cell=$!
trap 'kill -USR1 "$cell"' USR1 TERM
wait "$cell"
code=$?
while kill -0 "$cell" 2>/dev/null; do  # a signal has ended the wait, not the cell
    wait "$cell"
    code=$?
done
if [ "$code" -gt 128 ]; then  # interrupted, with everything saved
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
fi
exit "$code"
"""


def sbatch_script(sweep: Sweep, command: list[str]) -> str:
    """The script of an array job with a task for each cell that is not done.

    Makes the folder of its logs, which SLURM does not.

    Args:
        command: :func:`sweep_words`.

    Raises:
        UsageError: all of them are done.
    """
    missing = missing_cells(sweep)
    log = str(cell_log(sweep, "NUMBER")).replace("%", "%%")
    variables = task_variables()
    return _SCRIPT.format(
        job=f"corrtool-{sweep.name}",
        array=ranges(missing),
        seconds=SIGNAL_SECONDS,
        log=shlex.quote(log.replace("cell-NUMBER.log", "cell-%a.log")),
        exports="\n".join(f"export {name}={shlex.quote(v)}" for name, v in variables.items()),
        words=shlex.join(command),
    )


def missing_cells(sweep: Sweep) -> list[int]:
    """The numbers of the cells that are not done, in the order of the plan.

    Without those that wait for another of them, whose task runs them as well.

    Raises:
        UsageError: all of them are done.
    """
    states = [cell["state"] for cell in sweep.status()["cells"]]
    missing = [number for number, state in enumerate(states) if state != "done"]
    if not missing:
        raise UsageError(f"all cells of {sweep.name!r} are done", "there is nothing to submit")
    others = set(missing)
    return [number for number in missing if sweep.waits_for(number) not in others]


def cell_log(sweep: Sweep, number: str) -> Path:
    """The place of what the task of a cell says; its folder is made."""
    named = log_path(sweep.project.root.resolve(), sweep.name, f"cell-{number}", "slurm")
    log = named.with_name(f"cell-{number}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    return log


def task_variables() -> dict[str, str]:
    """The stage variables that are set now: a task is to have them, whatever a node has."""
    return {name: os.environ[name] for name in sorted(stage_variables())}


def sweep_words(sweep: Sweep, asked: Asked, limits: Limits, device: str | None) -> list[str]:
    """The sweep's command line, from the interpreter on, with all that could be said elsewhere.

    With ``--cell NUMBER`` behind it, it is what a task runs.
    """
    common = sweep.calls[asked.stage].common
    said: dict[str, Sequence[object]] = {
        "grid": [text if "=" in text else Path(text).resolve() for text in asked.grid],
        "skip": asked.skip,
        "then": asked.then,
        "seeds": [asked.seeds],
        "name": [sweep.name],
        "seed": [project_seed(sweep.project, common.seed)],
        "preset": [project_preset(sweep.project, common.preset)],
        "device": [] if device is None else [device],
        "retries": [limits.retries],
        "jobs": [1],
        "project": [sweep.project.root.resolve()],
    }
    given = [(flag_name(name), str(value)) for name, values in said.items() for value in values]
    corrtool = [sys.executable, "-m", "corrtool"]
    return [*corrtool, "sweep", asked.stage, *(word for pair in given for word in pair)]


def ranges(numbers: Sequence[int]) -> str:
    """``0-2,5``: numbers in their order, as ``--array`` takes them."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and groups[-1][-1] == number - 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return ",".join(f"{g[0]}" if len(g) == 1 else f"{g[0]}-{g[-1]}" for g in groups)
