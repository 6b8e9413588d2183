"""An experiment of the paper as a job array: a task for each cell and what comes after it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from support.commands import one_line_error, run_in_process
from support.experiments import CARTPOLE

from corrtool import experiments
from corrtool.cli.reproduce import Flags
from corrtool.project.artifacts import artifact_names
from corrtool.workflows.sweeps import slurm
from corrtool.workflows.sweeps.running import Limits

LOCAL = ("--engine", "slurm", "--slurm", "cluster=local")


def test_a_task_has_its_cell_and_what_is_finetuned_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = Flags("experiment-2", ("rotation-model", "reuse"), 2, None, "cpu", False, False)
    words = flags.task_words(tmp_path / "lab", "tiny", Limits(2))
    assert words[:5] == [sys.executable, "-m", "corrtool", "reproduce", "experiment-2"]
    for number, cells in {
        "1": ["rotation-model-seed1", "finetune-rotation-model-seed1"],
        "3": ["finetune-rotation-model-seed1"],
        "4": ["finetune-reuse-seed0"],
    }.items():
        assert run_in_process(*words[3:], "--cell", number, "--dry-run", "--json") == 0
        told = json.loads(capsys.readouterr().out)["cells"]
        assert [cell["name"] for cell in told] == cells
    assert run_in_process(*words[3:], "--cell", "6", "--dry-run") == 2
    assert "there is no cell 6; the last one is 5" in one_line_error(capsys)


def test_what_is_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the cells share is made first; then there is a task for each that waits for no other."""
    submitted: list[Any] = []

    def submit(tasks: Any, folder: Path, resources: Any, name: str, jobs: Any, begin: Any) -> Any:
        begin()
        submitted.extend(tasks)
        return ["7_0", "7_1", "7_2"]

    monkeypatch.setattr(slurm, "submit_tasks", submit)
    monkeypatch.setattr(experiments, "load_experiment", lambda name: CARTPOLE)
    lab = tmp_path / "lab"
    cells = ("--cell", "model", "--cell", "reuse", "--cell", "scratch")
    tiny = ("--device", "cpu", "--preset", "tiny", "--from-scratch")
    asked = ("reproduce", "experiment-2", "-p", lab, *tiny, *cells)
    assert run_in_process(*asked, *LOCAL, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["jobs"] == ["7_0", "7_1", "7_2"]
    finetuned = [f"finetune-{start}-seed0" for start in ("model", "scratch", "reuse")]
    assert [cell["name"] for cell in told["cells"]] == ["model-seed0", *finetuned]
    assert {cell["state"] for cell in told["cells"]} == {"missing"}
    assert artifact_names(lab, "q") and artifact_names(lab, "model")
    assert [task.words[-2:] for task in submitted] == [["--cell", str(n)] for n in (0, 2, 3)]
    assert run_in_process(*submitted[0].words[3:]) == 0
    capsys.readouterr()
    assert run_in_process(*asked, "--status", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [c["state"] for c in told["cells"]] == ["done", "done", "missing", "missing"]
    submitted.clear()
    assert run_in_process(*asked, *LOCAL, "--json") == 0
    assert [task.words[-1] for task in submitted] == ["2", "3"]
