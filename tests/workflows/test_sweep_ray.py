"""`corrtool sweep --engine ray` on a Ray of several nodes, of which one dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.commands import one_line_error, run_in_process
from support.waiting import wait_for

from corrtool.runs.metrics import read_metrics
from corrtool.runs.records import read_record, run_directories
from corrtool.runs.sweeps import read_sweep
from corrtool.workflows.sweeps import ray_engine
from corrtool.workflows.sweeps.ray_engine import CommandOnNode, Needs, RayEngine, RayJob
from corrtool.workflows.sweeps.running import last_error

TINY = ("--preset", "tiny", "--device", "cpu")
NO_GAMES = ("--grid", "eval-games=0")


@pytest.fixture
def lab(cartpole_lab: Path) -> Path:
    return cartpole_lab


class Nodes:
    """A Ray whose head takes no cells, and nodes of one CPU each."""

    def __init__(self) -> None:
        cluster_utils = pytest.importorskip("ray.cluster_utils")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        store = {"object_store_memory": 80_000_000}
        soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500}
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": soon, **store}
        self._store = store
        self._cluster: Any = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        self.address: str = self._cluster.address

    def add(self) -> Any:
        return self._cluster.add_node(num_cpus=1, **self._store)

    def kill(self, node: Any) -> None:
        self._cluster.remove_node(node, allow_graceful=False)

    def end(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """With one node that stays."""
    made = Nodes()
    made.add()
    yield made
    made.end()


def command(lab: Path, *more: str) -> list[str]:
    return ["sweep", "learn-corr", *TINY, *NO_GAMES, *more, "--name", "s", "-p", str(lab)]


def start(words: list[str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", "corrtool", *words],
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
    )


def logged(lab: Path) -> int:
    """How many runs have logged something."""
    return sum(m.stat().st_size > 0 for m in lab.glob("runs/learn-corr/*/metrics.jsonl"))


def made(lab: Path) -> dict[str, str]:
    """The digest of each artifact that the runs have made, and all of them are finished."""
    records = [read_record(path) for path in run_directories(lab, "learn-corr")]
    assert [record["state"] for record in records] == ["finished"] * len(records)
    pairs = [(made["name"], made["sha256"]) for record in records for made in record["artifacts"]]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def ended(job: RayJob, seconds: float = 60) -> int | None:
    """The exit code of a job."""
    wait_for(lambda: job.poll() is not None, seconds)
    return job.poll()


def test_a_node_dies_and_every_cell_ends_once_as_it_would_locally(
    lab: Path, nodes: Nodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = shutil.copytree(lab, tmp_path / "here")
    grid = ("--grid", "lambda-q=0,1,2", "--grid", "gradient-steps=200")
    dying = nodes.add()
    sweep = start(command(lab, *grid, "--engine", "ray", "--ray-address", nodes.address))
    wait_for(lambda: logged(lab) == 2)
    nodes.kill(dying)
    out, err = sweep.communicate(timeout=120)
    assert sweep.returncode == 0, err
    assert "raylet" not in out + err and "node id" not in out + err
    lines = err.splitlines()
    assert lines[0] == "sweep s: 3 of 3 cells to do, 2 at once, 1 CPU each, on 2 nodes of Ray"
    # once more where Ray has sent it to the dead node before it knew
    assert 1 <= sum("(exit code -9); it goes on" in line for line in lines) <= 2, err
    assert sum(line.startswith("done: ") for line in lines) == 3
    assert read_sweep(lab, "s")["engine"] == "ray"
    for run in run_directories(lab, "learn-corr"):
        logged_at = [(m["event"], m["gradient_steps"]) for m in read_metrics(run / "metrics.jsonl")]
        assert len(set(logged_at)) == len(logged_at) > 2
    for weight in (0, 1, 2):
        alone = ("--lambda-q", weight, "--gradient-steps", 200, "--eval-games", 0, "--quiet")
        assert run_in_process("learn-corr", "-p", here, *TINY, *alone) == 0
    assert made(lab) == made(here)
    capsys.readouterr()  # nothing is left to do, so nobody looks for a Ray
    assert run_in_process(*command(lab, *grid, "--engine", "ray", "--ray-address", "x:9")) == 0
    assert "all 3 cells are done" in capsys.readouterr().err


def test_a_signal_is_passed_on_and_the_cell_saves(lab: Path, nodes: Nodes) -> None:
    grid = ("--grid", "gradient-steps=100000")
    sweep = start(command(lab, *grid, "--engine", "ray", "--ray-address", nodes.address))
    wait_for(lambda: logged(lab) == 1)
    os.killpg(sweep.pid, signal.SIGTERM)
    _, err = sweep.communicate(timeout=60)
    assert sweep.returncode == 143, err
    assert "run the same command again to resume" in err.splitlines()[-1]
    assert len(list(lab.glob("runs/learn-corr/*/checkpoint.safetensors"))) == 1
    said = [log.read_text() for log in (lab / "sweeps" / "s").iterdir()]
    assert "interrupted by signal 15, resumable" in said[0] and len(said) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing kills the cells as well")
def test_a_sweep_that_is_killed_takes_a_ray_of_its_own_along(lab: Path) -> None:
    pytest.importorskip("ray")
    sweep = start(command(lab, "--grid", "gradient-steps=100000", "--engine", "ray"))
    wait_for(lambda: logged(lab) == 1)
    holder = next((lab / "runs" / ".locks").glob("corr-*.holder"))
    pid = int(holder.read_text().split()[1])
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.communicate()
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), 20)


class TestJobs:
    """Those of an engine that is connected in this process."""

    @pytest.fixture
    def connected(
        self, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[RayEngine]:
        monkeypatch.setenv("CORRTOOL_PROJECT", str(tmp_path / "nowhere"))
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        with RayEngine(nodes.address, 5, Needs(), cores=1) as engine:
            now = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
            assert now == handlers
            yield engine

    def test_what_becomes_of_them(
        self, connected: RayEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # variables reach the node; exit codes and what is said come back
        log = tmp_path / "logs" / "status.log"
        job = connected.submit(["status"], log)
        assert ended(job) == 3
        assert str(tmp_path / "nowhere") in log.read_text()
        assert job.host == socket.gethostname()
        assert connected.needs.gpus == 0 and connected.slots == 1

        # one that Ray never begins is given up
        monkeypatch.setattr(ray_engine, "SILENCE_SECONDS", 2.0)
        connected.needs = Needs(cpus=2)
        job, began = connected.submit(["--version"], log), time.monotonic()
        assert job.poll() is None
        assert ended(job) == -signal.SIGKILL and time.monotonic() - began >= 2
        assert log.read_text().splitlines()[-1] == "corrtool: Ray had no place for it for 2 s"

        # one that waits for its place hears a signal at once
        job = connected.submit(["--version"], log)
        job.signal(signal.SIGTERM)
        assert job.poll() == -signal.SIGTERM
        assert connected.slots == 1  # no node holds two, but one job is to say so

    def test_a_node_that_does_not_see_the_project(
        self, connected: RayEngine, tmp_path: Path
    ) -> None:
        import ray

        actor: Any = ray.remote(CommandOnNode).remote()
        begun = actor.begin.remote(["--version"], "/nowhere/log", {}, "/", Needs())
        assert ended(RayJob(ray, actor, begun, tmp_path / "log")) == 1
        said = last_error(tmp_path / "log")
        assert said is not None and "does not see /nowhere" in said


GOOD_AND_WORSE = """\
    [[grid]]
    learning-rate = 1e-2
    gradient-steps = 800  # so there's a rung to compare at, however late somebody looks
    generator = "mlp"
    eval-every = 50
    eval-games = 0

    [[grid]]
    learning-rate = 1e-6
    gradient-steps = 100000
    generator = "mlp"
    eval-every = 50
    eval-games = 0
"""


def test_a_cell_is_paused_and_saved_on_its_node(
    lab: Path, nodes: Nodes, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    on_ray = ("--engine", "ray", "--ray-address", nodes.address, "--jobs", "1")
    (lab / "grid.toml").write_text(GOOD_AND_WORSE)
    grid = ("--grid", lab / "grid.toml", "--prune", "--prune-by", "model-loss")
    capsys.readouterr()
    words = ("sweep", "learn-corr", *TINY, *grid, *on_ray, "--name", "s", "-p", lab)
    assert run_in_process(*words, "--json") == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [cell["state"] for cell in cells] == ["done", "paused"]
    assert cells[1]["saved_seconds_ago"] is not None


def test_no_node_has_what_a_cell_takes(
    lab: Path, nodes: Nodes, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    on_ray = ("--engine", "ray", "--ray-address", nodes.address, "--cpus-per-cell", "3")
    assert run_in_process(*command(lab, *on_ray)) == 1
    assert "no node of Ray has the 3 CPUs that a cell takes" in one_line_error(capsys)


_TELLS_ITS_ENVIRONMENT = """\
import json, os, sys, time
print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]), flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="it has no masks of signals")
def test_what_a_command_gets_of_its_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corrtool").mkdir()
    (tmp_path / "corrtool" / "__init__.py").touch()
    (tmp_path / "corrtool" / "__main__.py").write_text(_TELLS_ITS_ENVIRONMENT)
    monkeypatch.setenv("CORRTOOL_PRESET", "of the node")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    variables = {"CORRTOOL_SEED": "3", "PYTHONPATH": str(tmp_path)}
    log, actor = tmp_path / "log", CommandOnNode()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # as in Ray's processes
    try:
        assert actor.begin(["x"], str(log), variables, str(tmp_path), Needs(cpus=2)) != ""
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    wait_for(lambda: log.read_text().endswith("\n"))
    words, environment, folder = json.loads(log.read_text())
    assert words == ["x"] and folder == str(tmp_path)
    assert environment["CORRTOOL_SEED"] == "3" and "CORRTOOL_PRESET" not in environment
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "2"
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert actor.wait(0.01) is None
    actor.signal(signal.SIGINT)
    assert actor.wait(10) in (-signal.SIGINT, 1)
    actor.signal(signal.SIGINT)  # it hears nothing any more


@pytest.mark.parametrize(
    ("needs", "resources", "places"),
    [
        (Needs(), {"CPU": 4.0}, 4),
        (Needs(cpus=3), {"CPU": 8.0}, 2),
        (Needs(), {"memory": 1e9}, 0),
        (Needs(gpus=1), {"CPU": 8.0}, 0),
        (Needs(gpus=0.1), {"CPU": 64.0, "GPU": 2.0}, 20),
        (Needs(gpus=0.3), {"CPU": 64.0, "GPU": 2.0}, 6),
        (Needs(cpus=4, gpus=2), {"CPU": 64.0, "GPU": 4.0}, 2),
    ],
)
def test_how_many_cells_a_node_holds(
    needs: Needs, resources: dict[str, float], places: int
) -> None:
    assert needs.places(resources) == places


class TestTheCommand:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("--ray-address", "auto"), "--ray-address has no effect"),
            (("--cpus-per-cell", "2"), "--cpus-per-cell has no effect"),
            (("--gpus-per-cell", "0"), "--gpus-per-cell has no effect"),
            (("--engine", "ray", "--print-sbatch"), "--print-sbatch has no effect"),
            (("--engine", "ray", "--ray-address", "ray://x:1"), "--ray-address is 'ray://x:1'"),
            (("--engine", "ray", "--gpus-per-cell", "1"), "no effect with --device cpu"),
            (("--engine", "ray", "--device", "cuda:1"), "Ray chooses the GPU"),
            (("--engine", "ray", "--device", "cuda", "--gpus-per-cell", "0"), "no GPU"),
            (("--engine", "ray", "--device", "auto", "--gpus-per-cell", "1.5"), "whole GPUs"),
        ],
    )
    def test_what_is_refused(
        self,
        lab: Path,
        capsys: pytest.CaptureFixture[str],
        arguments: tuple[str, ...],
        says: str,
    ) -> None:
        before = sorted(lab.rglob("*"))
        capsys.readouterr()
        assert run_in_process(*command(lab, *arguments)) == 2
        assert says in one_line_error(capsys)
        assert sorted(lab.rglob("*")) == before

    @pytest.mark.parametrize("more", [("--engine", "ray"), ("--cpus-per-cell", "1")])
    def test_status_asks_no_engine(
        self, lab: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
    ) -> None:
        capsys.readouterr()
        assert run_in_process("sweep", "--status", "s", "-p", str(lab), *more) == 2
        assert "give it the name alone" in one_line_error(capsys)

    def test_ray_that_is_not_there(
        self,
        lab: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        capsys.readouterr()
        assert run_in_process(*command(lab, "--engine", "ray")) == 2
        assert "pip install 'corrtool[ray]'" in one_line_error(capsys)

    def test_an_address_at_which_nobody_listens(
        self, lab: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("ray")
        capsys.readouterr()
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = f"127.0.0.1:{server.getsockname()[1]}"
        on_ray = ("--engine", "ray", "--ray-address", address)
        assert run_in_process(*command(lab, *on_ray)) == 1
        assert f"no Ray answers at {address}" in one_line_error(capsys)
