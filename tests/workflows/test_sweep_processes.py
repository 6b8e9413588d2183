"""Sweeps as processes: killed, interrupted, beside each other, and with a cell that fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.commands import run_in_process
from support.processes import is_alive
from support.waiting import wait_for

from corrtool.project.locks import lock_artifacts
from corrtool.runs.records import read_record, run_directories
from corrtool.runs.sweeps import read_sweep

TINY = ("--preset", "tiny", "--device", "cpu")
LONG = ("--grid", "gradient-steps=200", "--grid", "eval-games=0")
LONGER = ("--grid", "gradient-steps=800", "--grid", "eval-games=0")  # one waits for the other
SHORT = ("--grid", "gradient-steps=3", "--grid", "eval-games=0")


@pytest.fixture
def lab(cartpole_lab: Path) -> Path:
    return cartpole_lab


_LISTENING = """\
import signal, sys
from corrtool.cli import main
from corrtool.workflows.sweeps import running
running.LOOK_AGAIN_SECONDS = 0.5
# pytest may run in the background, where a shell has SIGINT ignored
signal.signal(signal.SIGINT, signal.default_int_handler)
main(sys.argv[1:])
"""


def command(lab: Path, *grid: str) -> list[str]:
    return ["sweep", "learn-corr", *grid, *TINY, "--name", "s", "--jobs", "2", "-p", str(lab)]


def start(lab: Path, *grid: str) -> subprocess.Popen[str]:
    """A sweep in a session of its own, as a shell starts it."""
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", _LISTENING, *command(lab, *grid)]
    return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def holders(lab: Path) -> set[int]:
    """The processes that write something now."""
    found = set()
    for path in (lab / "runs" / ".locks").glob("*.holder"):
        words = path.read_text().split()
        if len(words) == 4 and is_alive(int(words[1])):
            found.add(int(words[1]))
    return found


def finish(capsys: pytest.CaptureFixture[str], lab: Path, *grid: str) -> set[str]:
    """The states of the cells once the same command has ended.

    It runs in this process, which spares importing torch; its cells are processes as ever.
    """
    capsys.readouterr()
    assert run_in_process(*command(lab, *grid), "--json") == 0
    return {cell["state"] for cell in json.loads(capsys.readouterr().out)["cells"]}


def logs(lab: Path) -> list[str]:
    """What the commands of the cells have said."""
    return [log.read_text() for log in (lab / "sweeps" / "s").glob("*.log")]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing kills the cells as well")
def test_killed_twice_and_finished_by_the_same_command(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = ("--grid", "lambda-q=0,1", *LONGER)
    for _ in range(2):
        sweep = start(lab, *grid)
        wait_for(lambda: holders(lab))
        time.sleep(0.3)
        writing = holders(lab)
        os.kill(sweep.pid, signal.SIGKILL)
        sweep.communicate()
        wait_for(lambda pids=writing: not any(map(is_alive, pids)), 10)  # type: ignore[misc]
        assert not holders(lab)
    assert finish(capsys, lab, *grid) == {"done"}
    names = sorted(path.name for path in (lab / "weights" / "corr").iterdir())
    assert len(names) == 4  # of each cell the best and the last
    made = {path: path.stat().st_mtime_ns for path in (lab / "weights").rglob("*.safetensors")}
    assert finish(capsys, lab, *grid) == {"done"}
    assert made == {path: path.stat().st_mtime_ns for path in made}
    assert run_in_process("verify", "-p", lab) == 0


def test_signals_are_passed_on_and_everything_is_saved(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = ("--grid", "lambda-q=0,1", *LONGER)

    def interrupt(sweep: subprocess.Popen[str], number: signal.Signals, code: int) -> None:
        os.killpg(sweep.pid, number)  # as Ctrl-C does
        _, err = sweep.communicate(timeout=60)
        assert sweep.returncode == code, err
        assert "run the same command again to resume" in err.splitlines()[-1]
        assert not holders(lab)
        assert len(list(lab.glob("runs/learn-corr/*/checkpoint.safetensors"))) == 2
        capsys.readouterr()
        assert run_in_process("sweep", "--status", "s", "-p", lab, "--json") == 0
        cells = json.loads(capsys.readouterr().out)["cells"]
        assert [cell["state"] for cell in cells] == ["interrupted"] * 2
        assert all(cell["saved_seconds_ago"] is not None for cell in cells)

    sweep = start(lab, *grid)
    wait_for(lambda: len(holders(lab)) == 2)
    metrics = "runs/learn-corr/*/metrics.jsonl"
    wait_for(lambda: sum(path.stat().st_size > 0 for path in lab.glob(metrics)) == 2)
    interrupt(sweep, signal.SIGINT, 130)
    sweep = start(lab, *grid)
    wait_for(lambda: ["resuming at" in log for log in logs(lab)] == [True, True])
    interrupt(sweep, signal.SIGTERM, 143)
    assert finish(capsys, lab, *grid) == {"done"}
    records = map(read_record, run_directories(lab, "learn-corr"))
    assert [record["resumptions"] for record in records] == [2, 2]


def test_a_cell_that_fails_while_it_runs(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_in_process(*command(lab, "--grid", "learning-rate=1e30,1e-3", *SHORT)) == 1
    err = capsys.readouterr().err
    assert "1 of 2 cells are not done" in err.splitlines()[-1]
    assert "gan became nan by" in err.splitlines()[-1]
    cells = read_sweep(lab, "s")["cells"]
    assert [cell["failure"] is None for cell in cells] == [False, True]
    assert "Traceback" not in err


def test_what_another_process_writes_is_waited_for(lab: Path) -> None:
    name = "linear-cyc1-q1-m1"
    with lock_artifacts(lab, [("corr", name), ("corr", f"{name}-last")]):
        sweep = start(lab, "--grid", "lambda-q=0,1", *SHORT)
        wait_for(lambda: (lab / "weights" / "corr" / "linear-cyc1-q0-m1.safetensors").exists())
        time.sleep(0.5)
        assert sweep.poll() is None
        assert not (lab / "weights" / "corr" / f"{name}.safetensors").exists()
    _, err = sweep.communicate(timeout=120)
    assert sweep.returncode == 0, err
    assert (lab / "weights" / "corr" / f"{name}.safetensors").exists()


def test_two_sweeps_at_once_do_each_cell_once(lab: Path) -> None:
    grid = ("--grid", "lambda-q=0,1", *LONG)
    sweeps = [start(lab, *grid) for _ in range(2)]
    for sweep in sweeps:
        _, err = sweep.communicate(timeout=240)
        assert sweep.returncode == 0, err
    said = logs(lab)
    assert len(said) == 2 and not any("resuming at" in log for log in said)
    records = [read_record(path) for path in run_directories(lab, "learn-corr")]
    assert [record["resumptions"] for record in records] == [0, 0]
    assert run_in_process("verify", "-p", lab) == 0
