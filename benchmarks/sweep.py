"""Planning, ``--status`` and ``report`` of a project with a thousand finished cells.

The cells are real artifacts and real records of runs: one tiny cell is learnt, and its weights,
metrics and result are published a thousand times by way of the project's own API.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from benchmarks.measuring import Row, alternate
from corrtool.cli import run
from corrtool.cli.stage_command import calls_from_environment
from corrtool.project.artifacts import read_artifact
from corrtool.project.directory import Project
from corrtool.project.manifests import About
from corrtool.project.weights import load_weights
from corrtool.runs.metrics import metrics_path
from corrtool.runs.opening import open_run
from corrtool.runs.records import read_record, run_directory
from corrtool.runs.results import LearnCorrResult
from corrtool.settings.common import CommonOptions
from corrtool.workflows.sweeps.steps import QUIET, Step
from corrtool.workflows.sweeps.sweep import Asked, Sweep, plan_sweep

LIMIT_SECONDS = 5.0
LEAST_SHARE = 0.8  # of the memory for a tenth of the cells, in that for all
SEEDS = 5
TINY = ("--preset", "tiny", "--device", "cpu")


def grid(cells: int) -> list[str]:
    """So many cells, with :data:`SEEDS` seeds each: 20 values of λ_Cyc, the rest of λ_Q."""
    return [
        f"lambda-cyc={','.join(str(n) for n in range(20))}",
        f"lambda-q={','.join(str(n) for n in range(cells // 20 // SEEDS))}",
    ]


def make_project(lab: Path, cells: int) -> Project:
    """A project of CartPole with ``cells`` finished cells of one sweep."""
    init = ("init", str(lab), "--source", "CartPole-v1", "--target-view", "scale:-1,1,1,1")
    commands = [(*init, "--quiet")] + [
        (stage, "-p", str(lab), *TINY, "--quiet", *more)
        for stage, *more in (
            ("train-dqn",),
            ("collect",),
            ("train-model",),
            ("learn-corr", "--name", "one"),
        )
    ]
    for command in commands:
        if run(command) != 0:
            raise RuntimeError(f"corrtool {' '.join(command)} failed")
    project = Project(lab)
    sweep = planned(project, cells)
    for number, one in enumerate(sweep.planned):
        publish(project, one.steps[0], number)
    sweep.write()
    return project


def planned(project: Project, cells: int) -> Sweep:
    calls = calls_from_environment(CommonOptions(device="cpu", preset="tiny"))
    asked = Asked("learn-corr", grid(cells), seeds=SEEDS, name="grid")
    return plan_sweep(project, calls, asked, "corrtool sweep learn-corr …")


def publish(project: Project, step: Step, number: int) -> None:
    """Finish the run of a cell with what the run ``one`` made, and returns of its own."""
    if step.standing(project).state == "done":
        return
    made = run_directory(project.root, "learn-corr", "one")
    lines = [json.loads(line) for line in metrics_path(made).read_text().splitlines()]
    result = {**read_record(made)["result"], "corr": step.name}
    result["best_mean_return"] = 10.0 + number // SEEDS % 17 + number % SEEDS
    request = step.call.request(project, QUIET)
    machine = read_record(made)["machine"]  # to ask git a thousand times takes minutes
    with open_run(project, request, machine=machine, overwrite=False, tensorboard=False) as opened:
        opened.start(QUIET.say)
        for line in lines:
            opened.metrics.write(int(line.get("gradient_steps", 0)), line)
        for kind, name in request.produces:
            one = read_artifact(project.root, kind, "one-last" if name.endswith("-last") else "one")
            about = ("network", "source_task_sha256", "target_task_sha256", "summary", "selection")
            manifest = cast(dict[str, Any], one.manifest)
            said = cast(About, {key: manifest[key] for key in about})
            opened.publish_weights(kind, name, load_weights(one), said)
        opened.finish(cast(LearnCorrResult, result))


def process(lab: Path, *words: str) -> tuple[float, float]:
    """Seconds of processor time and peak memory, in MiB, of a command as a shell starts it.

    Not wall time: the commands have one thread and wait for nothing, and machines have other work.
    """
    command = [sys.executable, "-m", "corrtool", *words, "-p", str(lab), "--quiet"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done, peak = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment), 0.0
    while True:
        ended, status, used = os.wait4(done.pid, os.WNOHANG)
        if ended:
            break
        peak = max(peak, _peak_mib(done.pid))
        time.sleep(0.02)
    if status:
        raise RuntimeError(f"corrtool {' '.join(words)} failed")
    return used.ru_utime + used.ru_stime, peak


def _peak_mib(pid: int) -> float:
    """The peak memory of a process so far, of itself: ``ru_maxrss`` counts what it was forked from.

    0 once it has ended.
    """
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def measure(rounds: int) -> list[Row]:
    """Each command at a thousand cells, and its memory beside that at a hundred."""
    with tempfile.TemporaryDirectory() as folder:
        many, few = (Path(folder) / name for name in ("many", "few"))
        make_project(many, 1_000)
        make_project(few, 100)
        rows = []
        for name, words in (
            ("sweep --dry-run", lambda n: ("sweep", "learn-corr", *_flags(n), "--dry-run")),
            ("sweep --status", lambda n: ("sweep", "--status", "grid")),
            ("report", lambda n: ("report",)),
        ):
            rows += _rows(name, many, few, words, rounds)
    return rows


def _flags(cells: int) -> list[str]:
    axes = [word for axis in grid(cells) for word in ("--grid", axis)]
    return [*axes, "--seeds", str(SEEDS), "--name", "grid", *TINY]


def _rows(
    name: str, many: Path, few: Path, words: Callable[[int], tuple[str, ...]], rounds: int
) -> list[Row]:
    memory: dict[Path, list[float]] = {many: [], few: []}

    def side(lab: Path, cells: int) -> float:
        seconds, used = process(lab, *words(cells))
        memory[lab].append(used)
        return seconds

    ours, _ = alternate(lambda: side(many, 1_000), lambda: side(few, 100), rounds=rounds)
    limit = [LIMIT_SECONDS] * rounds
    return [
        Row(f"{name}, 1,000 cells", "the limit", "CPU s", ours, limit, 1.0, less_is_better=True),
        Row(
            f"{name}, 1,000 cells",
            "100 cells",
            "MiB",
            memory[many],
            memory[few],
            LEAST_SHARE,
            less_is_better=True,
        ),
    ]
