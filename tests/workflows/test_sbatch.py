"""`sweep --print-sbatch` and `--cell`: the array job, run as SLURM would run its tasks."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from support.commands import one_line_error, run_in_process

from corrtool.runs.sweeps import read_sweep
from corrtool.workflows.sweeps.sbatch import ranges

TINY = ("--preset", "tiny", "--device", "cpu")
GRID = ("learn-corr", "--grid", "lambda-q=0,1", "--grid", "eval-games=0", "--name", "s")


@pytest.fixture
def lab(cartpole_lab: Path) -> Path:
    return cartpole_lab


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert run_in_process("sweep", *arguments) == 0
    return capsys.readouterr().out


class Slurm:
    """What of SLURM a task sees: its variables, and a `scontrol` that writes down what it is told.

    Attributes:
        requeued: the tasks that have asked for another turn.
    """

    def __init__(self, folder: Path, script: str) -> None:
        self.script = folder / "job.sh"
        self.script.write_text(script)
        self._asked = folder / "asked"
        scontrol = folder / "bin" / "scontrol"
        scontrol.parent.mkdir()
        scontrol.write_text(f'#!/bin/sh\necho "$@" >> "{self._asked}"\n')
        scontrol.chmod(0o755)
        self._path = f"{scontrol.parent}{os.pathsep}{os.environ['PATH']}"

    @property
    def requeued(self) -> list[str]:
        return self._asked.read_text().splitlines() if self._asked.exists() else []

    def begin(self, number: int) -> subprocess.Popen[str]:
        variables = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(number)}
        return subprocess.Popen(
            ["bash", str(self.script)],
            env={**os.environ, "PATH": self._path, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def states(lab: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    shown: Any = json.loads(printed(capsys, "--status", "s", "-p", lab, "--json"))
    return [cell["state"] for cell in shown["cells"]]


def test_numbers_become_ranges() -> None:
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
    assert (ranges([3]), ranges([])) == ("3", "")


def test_an_array_job_that_is_preempted_and_goes_on(
    lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:  # later the script says it
        then.setenv("CORRTOOL_LEARN_CORR_GRADIENT_STEPS", "500")
        script = printed(capsys, *GRID, *TINY, "-p", lab, "--print-sbatch")
    assert "#SBATCH --array=0-1\n" in script and "--requeue" in script
    slurm = Slurm(tmp_path, script)
    (output,) = re.findall(r"--output=(.*)", script)
    assert Path(output).parent.is_dir() and Path(output).name == "cell-%a.log"

    task = slurm.begin(1)
    logs = lab / "runs" / "learn-corr"
    while not any(path.stat().st_size for path in logs.glob("*/metrics.jsonl")):
        assert task.poll() is None, task.communicate()[0]
        time.sleep(0.05)
    task.send_signal(signal.SIGUSR1)  # as --signal=B:USR1@120 does
    said, _ = task.communicate(timeout=60)
    assert task.returncode > 128, said
    assert slurm.requeued == ["requeue 7_1"]
    assert states(lab, capsys) == ["missing", "interrupted"]

    both = [slurm.begin(number) for number in (0, 1)]  # at once, as an array runs
    for task in both:
        said, _ = task.communicate(timeout=120)
        assert task.returncode == 0, said
    assert states(lab, capsys) == ["done", "done"]
    assert slurm.requeued == ["requeue 7_1"]
    record = json.loads((logs / "linear-cyc1-q1-m1" / "run.json").read_text())
    assert record["resumptions"] == 1 and record["settings"]["gradient_steps"] == 500

    monkeypatch.setenv("CORRTOOL_LEARN_CORR_GRADIENT_STEPS", "500")
    assert run_in_process("sweep", *GRID, *TINY, "-p", lab, "--print-sbatch") == 2
    assert "all cells of 's' are done; there is nothing to submit" in one_line_error(capsys)


def test_one_cell_alone_leaves_what_is_told_of_the_others(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = ("learn-corr", "--grid", "learning-rate=1e30,1e-3", "--grid", "gradient-steps=3")
    command = (*grid, "--grid", "eval-games=0", "--name", "s", *TINY, "-p", lab, "--jobs", 1)
    assert run_in_process("sweep", *command, "--cell", 0) == 1
    assert "1 of 1 cell" in capsys.readouterr().err
    (result,) = json.loads(printed(capsys, *command, "--cell", 1, "--json"))["cells"]
    assert result["state"] == "done"
    assert states(lab, capsys) == ["failed", "done"]
    first, second = read_sweep(lab, "s")["cells"]
    assert first["failure"] is not None and second["failure"] is None
    assert "#SBATCH --array=0\n" in printed(capsys, *command, "--print-sbatch")


@pytest.mark.parametrize("more", [("--cell", 2), ("--status", "s", "--cell", 0)])
def test_what_is_refused(
    lab: Path, capsys: pytest.CaptureFixture[str], more: tuple[object, ...]
) -> None:
    given = more if "--status" in more else (*GRID, *TINY, *more)
    assert run_in_process("sweep", *given, "-p", lab) == 2
    assert "cell" in one_line_error(capsys) or "--status" in more
