"""`reproduce suite --engine slurm`: through submitit's local executor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import one_line_error, run_in_process
from support.processes import descendants, is_alive
from support.waiting import wait_for

from corrtool.experiments.pairs import choose_pairs
from corrtool.workflows.suites.projects import Cell, Suite
from corrtool.workflows.suites.running import lanes_of
from corrtool.workflows.suites.submission import lane_words
from corrtool.workflows.suites.suite import PlannedSuite
from corrtool.workflows.sweeps.running import Limits

TINY = ("--preset", "tiny", "--device", "cpu")
LOCAL = ("--engine", "slurm", "--slurm", "cluster=local")


def test_a_task_is_the_command_with_what_is_missing_of_one_source_and_seed(tmp_path: Path) -> None:
    pairs = choose_pairs(["cartpole/padded", "cartpole/actions", "acrobot/padded"])
    planned = PlannedSuite(Suite(tmp_path, TINY), pairs, range(3, 5), ("ours", "gan"), "tiny")
    padded, actions, acrobot = pairs
    missing = [Cell(padded, 3, "gan"), Cell(actions, 3, "gan"), Cell(acrobot, 3, "ours")]
    missing += [Cell(padded, 4, "ours"), Cell(padded, 4, "gan")]
    known = tmp_path / "known.json"
    commands = [lane_words(planned, lane, [known], Limits(2)) for lane in lanes_of(missing)]
    begin = [sys.executable, "-m", "corrtool", "reproduce", "suite", "--project", str(tmp_path)]
    end = ["--known", str(known), "--retries", "2", *TINY]
    both, ours = ["--methods", "ours,gan"], ["--methods", "ours"]
    assert commands == [
        [*begin, "--pairs", "cartpole/padded,cartpole/actions", *both, "--first-seed", "3", *end],
        [*begin, "--pairs", "acrobot/padded", *ours, "--first-seed", "3", *end],
        [*begin, "--pairs", "cartpole/padded", *both, "--first-seed", "4", *end],
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_suite_is_submitted_preempted_and_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "suite"
    asked = ("-p", str(root), "--pairs", "cartpole/padded", "--methods", "ours", *TINY)
    words = [sys.executable, "-m", "corrtool", "reproduce", "suite", *asked, *LOCAL, "--json"]
    with (tmp_path / "said").open("wb") as said:  # what submitit starts keeps it open
        subprocess.run(words, stdout=said, check=True)
    told = json.loads((tmp_path / "said").read_text())
    assert [cell["state"] for cell in told["cells"]] == ["missing"] and told["files"] == []
    controller = int(told["jobs"][0])
    log = root / "slurm" / "cartpole-0.log"
    wait_for(lambda: log.exists() and b"suite in" in log.read_bytes())
    wait_for(lambda: (root / "cartpole" / "source-0").exists())
    task = next(descendants(controller))
    os.kill(task, signal.SIGUSR2)  # as submitit does near the time limit
    wait_for(lambda: not is_alive(task))
    assert "interrupted by signal 10" in log.read_text()

    wait_for(lambda: not is_alive(controller))
    capsys.readouterr()
    assert run_in_process("reproduce", "suite", *asked, *LOCAL, "--status", "--json") == 0
    assert [cell["state"] for cell in json.loads(capsys.readouterr().out)["cells"]] == ["done"]
    assert (root / "suite.md").exists()
    assert run_in_process("reproduce", "suite", *asked, *LOCAL, "--json") == 0
    assert json.loads(capsys.readouterr().out)["jobs"] == []
    assert run_in_process("reproduce", "suite", "-p", root / "cartpole" / "source-0", *LOCAL) == 2
    assert "is a project of one pair" in one_line_error(capsys)
