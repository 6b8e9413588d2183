"""`corrtool sweep` from the command line, and what of the machine its commands get."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from support.commands import one_line_error, run_in_process
from support.sweeps import FakeEngine, planned_sweep, run_sweep

from corrtool.cli.engines import EngineChoice
from corrtool.workflows.sweeps.local import LocalEngine, Shares, share_out
from corrtool.workflows.sweeps.sweep import Sweep

pytestmark = pytest.mark.usefixtures("impatient")
TINY = ("--preset", "tiny", "--device", "cpu")
SHORT = "gradient-steps=3"
NO_GAMES = "eval-games=0"


@pytest.fixture
def lab(cartpole_lab: Path) -> Path:
    return cartpole_lab


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    capsys.readouterr()
    assert run_in_process("sweep", *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


class TestTheCommand:
    GRID = ("learn-corr", "--grid", "lambda-q=0,1", "--grid", SHORT, "--grid", NO_GAMES, *TINY)

    @pytest.mark.parametrize(
        ("arguments", "code", "says"),
        [
            (("learn-corr", "--grid", "lamda-q=0"), 2, "has no setting 'lamda-q'"),
            (("learn-corr", "--grid", "lambda-q=x"), 2, "--lambda-q is 'x'"),
            (("learn-corr", "--grid", "norm=batch"), 2, "--norm has no effect"),
            (("learn-corr", "--grid", "generator=resnet"), 2, "does not take vector states"),
            (("learn-corr", "--grid", "q=nobody"), 3, "no Q-function 'nobody'"),
            (("learn-corr", "--jobs", "0"), 2, "--jobs is '0'"),
            (("learn-corr", "--name", "../x"), 2, "is not an artifact name"),
            (("learn-corr", "--name", ""), 2, "is not an artifact name"),
            (("learn-corr", "--grid", "folder/"), 2, "give the path of a .toml file"),
            (("learn-corr", "--device", "cuda:99"), 4, "cuda:99 is not there"),
            (("finetune",), 3, "no correspondence"),
            ((), 2, "no stage is named"),
            (("learn-corr", "--status", "x"), 2, "give it the name alone"),
            (("--status", "x"), 3, "there is no sweep 'x'"),
        ],
    )
    def test_what_is_refused_before_anything_runs(
        self,
        lab: Path,
        capsys: pytest.CaptureFixture[str],
        arguments: tuple[str, ...],
        code: int,
        says: str,
    ) -> None:
        before = sorted(lab.rglob("*"))
        capsys.readouterr()
        assert run_in_process("sweep", "-p", lab, *arguments) == code
        assert says in one_line_error(capsys)
        assert sorted(lab.rglob("*")) == before

    @pytest.mark.parametrize("engine", ["slum", "none"])
    def test_engines_that_are_not_there(
        self, lab: Path, capsys: pytest.CaptureFixture[str], engine: str
    ) -> None:
        assert run_in_process("sweep", "-p", lab, *self.GRID, "--engine", engine) == 2
        assert "--engine" in one_line_error(capsys)

    def test_a_project_that_cannot_be_written_is_told_before_an_engine_begins(
        self,
        lab: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def read_only(sweep: Sweep) -> None:
            raise OSError(errno.EROFS, "Read-only file system", "sweeps")

        def begin(*_: object) -> None:
            raise AssertionError("an engine was begun")

        monkeypatch.setattr(Sweep, "write", read_only)
        monkeypatch.setattr(EngineChoice, "begun", begin)
        assert run_in_process("sweep", "-p", lab, *self.GRID) == 1
        assert "Read-only file system" in one_line_error(capsys)

    def test_dry_run_and_status(
        self,
        lab: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        engine = FakeEngine({"linear-cyc1-q1-m1": [2]})
        monkeypatch.setattr("corrtool.workflows.sweeps.local.LocalEngine", lambda *_: engine)
        before = sorted(lab.rglob("*"))
        planned = asked(capsys, "-p", lab, *self.GRID, "--dry-run")
        assert planned["dry_run"] and sorted(lab.rglob("*")) == before
        assert [cell["state"] for cell in planned["cells"]] == ["missing", "missing"]
        assert {"name", "state", "settings", "seed"} <= planned["cells"][0].keys()

        assert run_in_process("sweep", "-p", lab, *self.GRID) == 1
        said = capsys.readouterr()
        assert "1 of 2 cells are not done" in said.err and "the same command" in said.err
        told = asked(capsys, "-p", lab, "--status", "learn-corr-lambda-q")
        assert [cell["state"] for cell in told["cells"]] == ["done", "failed"]
        assert run_in_process("sweep", "-p", lab, "--status", "learn-corr-lambda-q") == 0
        table = capsys.readouterr().out
        assert "2 cells: 1 done, 1 failed" in table and "exit code 2" in table

        done = asked(capsys, "-p", lab, *self.GRID)
        assert [cell["state"] for cell in done["cells"]] == ["done", "done"]

    def test_a_sweep_of_another_stage_has_another_name(
        self, lab: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run_sweep(planned_sweep(lab, SHORT, NO_GAMES, name="s"), FakeEngine())
        capsys.readouterr()
        assert run_in_process("sweep", "train-model", "-p", lab, "--name", "s", *TINY) == 2
        assert "was one of learn-corr" in one_line_error(capsys)

    def test_variables_speak_as_they_do_to_the_stage(
        self,
        lab: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("CORRTOOL_LEARN_CORR_LAMBDA_CYC", "3")
        planned = asked(capsys, "-p", lab, *self.GRID, "--dry-run")
        assert {cell["settings"]["lambda_cyc"] for cell in planned["cells"]} == {3.0}


class TestTheMachine:
    def test_cores_are_shared_out(self) -> None:
        assert share_out(None, 10, cores=8) == Shares(8, 1)
        assert share_out(None, 3, cores=8) == Shares(3, 2)
        assert share_out(1, 10, cores=8) == Shares(1, None)  # torch takes every core by itself
        assert share_out(3, 10, cores=8) == Shares(3, 2)
        assert share_out(20, 10, cores=8) == Shares(20, 1)
        assert share_out(None, 0, cores=8) == Shares(1, None)

    def test_as_far_as_there_is_memory(self) -> None:
        assert share_out(None, 10, cores=8, free=5_000_000_000).jobs == 2
        assert share_out(None, 10, cores=8, free=0).jobs == 1
        assert share_out(4, 10, cores=8, free=0).jobs == 4  # who says so knows

    def test_a_job_for_each_gpu(self) -> None:
        assert share_out(None, 10, cores=16, gpus=["0", "1"]) == Shares(2, 8, ("0", "1"))
        assert share_out(4, 10, cores=16, gpus=["0", "1"]) == Shares(4, 4, ("0", "1"))

    def test_what_a_job_sees(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[dict[str, str]] = []
        ended: set[int] = set()

        class Process:
            def __init__(self, _: object, *, env: dict[str, str], **more: object) -> None:
                self.number = len(seen)
                assert more["process_group"] == 0  # Ctrl-C reaches the sweep alone
                seen.append({**env})

            def poll(self) -> int | None:
                return 0 if self.number in ended else None

        monkeypatch.setattr("subprocess.Popen", Process)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        monkeypatch.setenv("CORRTOOL_LEARN_CORR_EPOCHS", "2")
        engine = LocalEngine(Shares(3, 4, ("2", "5")), without=["CORRTOOL_LEARN_CORR_EPOCHS"])
        for _ in range(3):
            engine.submit(["learn-corr"], tmp_path / "logs" / "log")
        ended.add(1)
        engine.submit(["learn-corr"], tmp_path / "logs" / "log")
        assert [e["CUDA_VISIBLE_DEVICES"] for e in seen] == ["2", "5", "2", "5"]
        assert seen[0]["OMP_NUM_THREADS"] == "2"  # no more than the user allows
        assert seen[0]["MKL_NUM_THREADS"] == "4"
        assert "CORRTOOL_LEARN_CORR_EPOCHS" not in seen[0]

    def test_one_job_has_the_environment_as_it_is(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        seen: list[dict[str, str]] = []
        monkeypatch.setattr("subprocess.Popen", lambda _, *, env, **more: seen.append({**env}))
        LocalEngine(Shares(1, None)).submit(["learn-corr"], tmp_path / "log")
        assert "OMP_NUM_THREADS" not in seen[0]
