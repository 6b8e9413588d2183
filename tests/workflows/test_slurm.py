"""`sweep --engine slurm`: through submitit's own executors, and through stand-ins for SLURM's."""

from __future__ import annotations

import json
import os
import pickletools
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.commands import one_line_error, run_in_process, run_interrupted
from support.processes import descendants, is_alive
from support.sweeps import planned_sweep
from support.waiting import wait_for

from corrtool.runs.records import read_record, run_directories
from corrtool.runs.sweeps import read_sweep
from corrtool.workflows.sweeps.cell_task import CellFailedError, CellTask
from corrtool.workflows.sweeps.running import Limits
from corrtool.workflows.sweeps.sbatch import cell_log, sweep_words
from corrtool.workflows.sweeps.slurm import Resources, cell_tasks, executor_of
from corrtool.workflows.sweeps.sweep import Asked

TINY = ("--preset", "tiny", "--device", "cpu")
NO_GAMES = "eval-games=0"
LONG = "gradient-steps=600"
SLURM = ("--engine", "slurm")
LOCAL = (*SLURM, "--slurm", "cluster=local")

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")


@pytest.fixture
def lab(cartpole_lab: Path) -> Path:
    return cartpole_lab


def states(lab: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert run_in_process("sweep", "--status", "s", "-p", lab, "--json") == 0
    return [cell["state"] for cell in json.loads(capsys.readouterr().out)["cells"]]


def has_logged(lab: Path) -> bool:
    return any(path.stat().st_size for path in lab.glob("runs/learn-corr/*/metrics.jsonl"))


def assert_resumed_once_and_whole(lab: Path) -> None:
    """One finished record of one resumption, and every step in the metrics once, in its order."""
    (run,) = run_directories(lab, "learn-corr")
    record = read_record(run)
    assert record["state"] == "finished" and record["resumptions"] == 1
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line["gradient_steps"] for line in lines if line["event"] == "progress"]
    assert steps and steps == sorted(set(steps))
    assert len(list((lab / "weights" / "corr").iterdir())) == 2  # the best and the last


def globals_of(pickle: Path) -> set[str]:
    """What a pickle would import, without loading it."""
    found, texts = set[str](), list[str]()
    for code, argument, _ in pickletools.genops(pickle.read_bytes()):
        if "UNICODE" in code.name:
            texts.append(str(argument))
        elif code.name == "STACK_GLOBAL":
            found.add(".".join(texts[-2:]))
        assert code.name not in ("GLOBAL", "INST", "REDUCE", "BUILD_EXT"), code.name
    return found


@needs_proc
def test_a_task_of_submitit_that_is_stopped_goes_on(
    lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = ("--grid", LONG, "--grid", NO_GAMES, "--name", "s", *TINY, "-p", str(lab))
    words = [sys.executable, "-m", "corrtool", "sweep", "learn-corr", *grid, *LOCAL, "--json"]
    with (tmp_path / "said").open("wb") as said:  # what submitit starts keeps it open
        subprocess.run(words, stdout=said, check=True)
    told: Any = json.loads((tmp_path / "said").read_text())
    assert told["engine"] == "slurm" and len(told["jobs"]) == 1
    assert [cell["state"] for cell in told["cells"]] != ["done"]  # it did not wait
    controller = int(told["jobs"][0])
    folder = lab / "sweeps" / "s" / "submitit"
    allowed = {
        "submitit.core.utils.DelayedSubmission",
        "corrtool.workflows.sweeps.cell_task.CellTask",
    }
    assert globals_of(folder / f"{controller}_submitted.pkl") == allowed

    wait_for(lambda: has_logged(lab))
    task = next(descendants(controller))
    os.kill(task, signal.SIGUSR2)  # as submitit does near the time limit
    wait_for(lambda: not is_alive(task))
    assert list(lab.glob("runs/learn-corr/*/checkpoint.safetensors"))
    assert globals_of(folder / f"{controller}_submitted.pkl") == allowed  # the next turn's

    wait_for(lambda: not is_alive(controller))
    assert states(lab, capsys) == ["done"]
    assert_resumed_once_and_whole(lab)
    assert "Requeued job" in (folder / f"{controller}_0_log.out").read_text()
    assert "resuming at" in next(lab.glob("sweeps/s/*.learn-corr.log")).read_text()


class StandIn:
    """What of SLURM submitit calls: an `sbatch` that keeps the script, `srun` and `scontrol`.

    Attributes:
        script: what was submitted.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.script, self._asked = folder / "job.sh", folder / "asked"
        self._add(folder, "sbatch", f'cp "$1" "{self.script}"; echo "Submitted batch job 7"')
        self._add(folder, "srun", 'shift 5; exec "$@"')  # --unbuffered --output FILE --error FILE
        self._add(folder, "scontrol", f'echo "$@" >> "{self._asked}"')
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def _add(self, folder: Path, name: str, body: str) -> None:
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)

    @property
    def requeued(self) -> list[str]:
        return self._asked.read_text().splitlines() if self._asked.exists() else []

    def begin(self, number: int) -> subprocess.Popen[bytes]:
        """A task of the array."""
        variables = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(number)}
        variables |= {"SLURM_JOB_ID": str(8 + number), "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}
        return subprocess.Popen(["bash", str(self.script)], env={**os.environ, **variables})


@needs_proc
def test_an_array_whose_processes_all_hear_the_signal(
    lab: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    slurm = StandIn(folder, monkeypatch)
    grid = ("learn-corr", "--grid", "lambda-q=0,1,2", "--grid", NO_GAMES, "--name", "s", *TINY)
    given = (*SLURM, "--slurm", "timeout_min=90", "--slurm", "slurm_setup=hostname", "--jobs", 5)
    with monkeypatch.context() as then:  # later the tasks say it
        then.setenv("CORRTOOL_LEARN_CORR_GRADIENT_STEPS", "600")
        capsys.readouterr()
        assert run_in_process("sweep", *grid, *given, "-p", lab) == 0
    said = capsys.readouterr().out
    assert "submitted 3 of 3 cells, as 7_0 … 7_2" in said and "sweep --status s" in said
    script = slurm.script.read_text()
    for line in ("array=0-2%3", "time=90", "signal=USR2@120", "requeue", "job-name=corrtool-s"):
        assert f"#SBATCH --{line}\n" in script
    assert "\nhostname\n" in script
    assert read_sweep(lab, "s")["engine"] == "slurm"

    task = slurm.begin(1)
    wait_for(lambda: has_logged(lab))
    below = [*descendants(task.pid)]
    assert len(below) == 3  # submitit, the sweep of one cell, its stage
    for number in (signal.SIGTERM, signal.SIGUSR2):  # as a preemption with `send_user_signal`
        for pid in below:
            os.kill(pid, number)
    task.wait(timeout=60)
    assert slurm.requeued == ["requeue 7_1"]
    assert states(lab, capsys) == ["missing", "interrupted", "missing"]
    assert list(lab.glob("runs/learn-corr/*/checkpoint.safetensors"))

    assert slurm.begin(1).wait(timeout=120) == 0
    assert states(lab, capsys) == ["missing", "done", "missing"]
    assert_resumed_once_and_whole(lab)
    assert slurm.requeued == ["requeue 7_1"]
    manifest = read_sweep(lab, "s")
    assert manifest["engine"] == "slurm" and "--cell" not in manifest["command"]

    monkeypatch.setenv("CORRTOOL_LEARN_CORR_GRADIENT_STEPS", "600")
    capsys.readouterr()
    assert run_in_process("sweep", *grid, *SLURM, "-p", lab, "--json") == 0
    assert json.loads(capsys.readouterr().out)["jobs"] == ["7_0", "7_1"]  # two are left
    assert "array=0-1%2\n" in slurm.script.read_text()


def test_of_a_sweep_that_is_done_nothing_is_submitted(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = ("learn-corr", "--grid", "gradient-steps=3", "--grid", NO_GAMES, "--name", "s", *TINY)
    assert run_in_process("sweep", *grid, "-p", lab) == 0
    capsys.readouterr()
    assert run_in_process("sweep", *grid, *LOCAL, "-p", lab, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["jobs"] == [] and [cell["state"] for cell in told["cells"]] == ["done"]


def test_a_cell_that_is_done_and_one_that_fails(lab: Path) -> None:
    grid = ("learning-rate=1e30,1e-3", "gradient-steps=3", NO_GAMES)
    sweep = planned_sweep(lab, *grid, name="s")
    sweep.write()
    asked = Asked("learn-corr", grid, name="s")
    tasks = cell_tasks(sweep, sweep_words(sweep, asked, Limits(), "cpu"), {})
    folder = lab / "sweeps" / "s" / "submitit"
    executor = executor_of(folder, Resources("debug", {}), "s", 2)
    raised: list[Any] = [job.exception() for job in executor.submit_array(tasks)]
    failed, done = raised
    assert isinstance(failed, CellFailedError) and "gan became nan by" in str(failed)
    assert done is None
    assert [cell["state"] for cell in sweep.status()["cells"]][1] == "done"
    assert "begun: learn-corr" in cell_log(sweep, "1").read_text()


@pytest.mark.parametrize(
    ("code", "requeued"),
    [(0, False), (130, True), (138, True), (140, True), (143, True)]
    + [(code, False) for code in (1, 2, 3, 5, 137)],
)
def test_what_an_exit_code_means(tmp_path: Path, code: int, requeued: bool) -> None:
    asked = []
    before = signal.signal(signal.SIGUSR2, lambda *_: asked.append(True))
    says = f"print('corrtool: it says so', flush=True); raise SystemExit({code})"
    try:
        task = CellTask([sys.executable, "-c", says], str(tmp_path / "log"))
        if code == 0:
            task()
        else:
            with pytest.raises(CellFailedError, match=r"^it says so$"):
                task()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert bool(asked) is requeued


def test_a_command_that_is_killed_says_nothing_of_the_turn_before(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("corrtool: interrupted by signal 10, resumable: 3 of 9 games are saved\n")
    says = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(CellFailedError, match=r"^killed by signal 9$"):
        CellTask([sys.executable, "-c", says], str(log))()


_SAVES_SLOWLY = """\
import pathlib, signal, sys, time
heard = pathlib.Path(sys.argv[1])
def save(*_):
    heard.open("a").write("x")
    time.sleep(1)
    raise SystemExit(143)
signal.signal(signal.SIGUSR1, save)
heard.touch()
time.sleep(60)
"""


def test_a_second_signal_does_not_reach_the_command_that_saves(tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    words = [sys.executable, "-c", _SAVES_SLOWLY, str(heard)]
    task = CellTask(words, str(tmp_path / "log"))
    made = []

    def stop() -> None:
        wait_for(heard.exists)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGUSR2)
            time.sleep(0.4)

    before = signal.signal(signal.SIGUSR2, lambda *_: made.append(task.checkpoint()))
    thread = threading.Thread(target=stop)
    try:
        thread.start()
        with pytest.raises(CellFailedError):
            task()
        thread.join()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard.read_text() == "x" and len(made) == 2
    assert vars(made[0].function) == {"words": words, "log": str(tmp_path / "log")}


def test_the_signal_of_a_batch_system_stops_a_stage(lab: Path) -> None:
    stage = ("learn-corr", *TINY, "--gradient-steps", 2000, "--eval-games", 0, "--quiet")
    code = run_interrupted(lab, *stage, logged=True, seconds=0.0, number=signal.SIGUSR2)
    assert code == 143  # as after every signal but SIGINT
    (run,) = run_directories(lab, "learn-corr")
    assert read_record(run)["state"] != "finished" and (run / "checkpoint.safetensors").exists()


class TestWhatIsRefused:
    GRID = ("learn-corr", "--grid", "lambda-q=0,1", "--name", "s", *TINY)

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ((*LOCAL, "--jobs", "2"), "--jobs has no effect with cluster=local"),
            ((*LOCAL, "--fail-fast"), "--fail-fast has no effect with --engine slurm"),
            ((*LOCAL, "--cell", "0"), "--cell has no effect"),
            ((*LOCAL, "--print-sbatch"), "--print-sbatch has no effect"),
            ((*LOCAL, "--slurm", "slurm_partition=gpu"), "slurm_partition has no effect"),
            (("--slurm", "timeout_min=5"), "--slurm has no effect"),
            ((*SLURM, "--slurm", "timeout_min"), "give it KEY=VALUE"),
            ((*SLURM, "--slurm", "slurm_tim=5"), "Unknown argument 'tim'"),
            ((*SLURM, "--slurm", "partition=gpu"), "slurm_partition"),
            ((*SLURM, "--slurm", "timeout_min=x"), '"timeout_min" expected type'),
            ((*SLURM, "--slurm", "timeout_min=2"), "slurm_signal_delay_s is 120"),
            ((*SLURM, "--slurm", "mem_gb=8", "--slurm", "mem_gb=9"), "given twice"),
            ((*SLURM, "--slurm", "slurm_time=5"), "give it as timeout_min"),
            ((*SLURM, "--slurm", "cluster=debug"), "it can be slurm or local"),
            (SLURM, "there is no sbatch here: this machine is no login node of SLURM"),
            (SLURM, "--print-sbatch"),
        ],
    )
    def test_in_one_line(
        self,
        lab: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        given: tuple[str, ...],
        says: str,
    ) -> None:
        monkeypatch.setenv("PATH", "")
        capsys.readouterr()
        assert run_in_process("sweep", *self.GRID, "-p", lab, *given) == 2
        assert says in one_line_error(capsys)
        assert not (lab / "sweeps").exists()

    @pytest.mark.parametrize("given", [SLURM, ("--slurm", "mem_gb=8")])
    def test_beside_status(
        self, lab: Path, capsys: pytest.CaptureFixture[str], given: tuple[str, ...]
    ) -> None:
        assert run_in_process("sweep", "--status", "s", "-p", lab, *given) == 2
        assert "give it the name alone" in one_line_error(capsys)

    def test_without_submitit(
        self, lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "submitit", None)
        assert run_in_process("sweep", *self.GRID, "-p", lab, *LOCAL) == 2
        assert "pip install 'corrtool[slurm]'" in one_line_error(capsys)
        assert run_in_process("sweep", *self.GRID, "-p", lab, *LOCAL, "--dry-run") == 0
