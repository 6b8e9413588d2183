"""`sweep --prune`: what becomes of a cell that is paused."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.commands import one_line_error, run_in_process, run_interrupted
from support.sweeps import EndedJob, FakeEngine, Told, planned_sweep, states

from corrtool.project.artifacts import find_artifacts
from corrtool.project.directory import Project
from corrtool.runs.sweeps import read_sweep, sweep_path
from corrtool.workflows.sweeps.planning import state_of_steps
from corrtool.workflows.sweeps.pruning import Pruning
from corrtool.workflows.sweeps.running import Limits, Pruner
from corrtool.workflows.sweeps.steps import Step
from corrtool.workflows.sweeps.sweep import Sweep

TINY = ("--preset", "tiny", "--device", "cpu")


@pytest.fixture
def lab(cartpole_lab: Path) -> Path:
    return cartpole_lab


@dataclass
class Says:
    """A pruner that says of one run that it should wait, once ``more`` others were asked about."""

    name: str
    more: int = 0
    asked: list[str] = field(default_factory=list)

    def worse(self, step: Step) -> str | None:
        self.asked.append(step.name)
        return "why" if step.name == self.name and self.asked.count(self.name) > self.more else None

    def left_out(self) -> list[str]:
        return []


GRID = ("lambda-q=0,1", "gradient-steps=3000", "eval-games=0")
NAMES = ("linear-cyc1-q0-m1", "linear-cyc1-q1-m1")


def run(sweep: Sweep, engine: FakeEngine, told: Told, says: Pruner | None) -> dict[str, str]:
    return states(sweep.run(engine, Limits(), told, says))


@pytest.mark.usefixtures("impatient")
class TestTheLoop:
    """Of two cells the first has a checkpoint, and the second never runs on its own."""

    @pytest.fixture
    def begun(self, lab: Path) -> Path:
        flags = ("--lambda-q", "0", "--gradient-steps", "3000", "--eval-games", "0", "--quiet")
        assert run_interrupted(lab, "learn-corr", *TINY, *flags, logged=True, seconds=0.1) == 143
        return lab

    def test_it_is_told_once_and_waits(self, begun: Path) -> None:
        engine, told = FakeEngine({NAMES[0]: [None], NAMES[1]: [1]}, slots=2), Told()
        found = run(planned_sweep(begun, *GRID), engine, told, Says(NAMES[0], more=1))
        assert found == {NAMES[0]: "paused", NAMES[1]: "failed"}
        assert engine.jobs[0].heard == [signal.SIGTERM] and told.pauses == [(NAMES[0], "why")]
        assert told.deaths == 0
        cells = read_sweep(begun, "learn-corr-lambda-q")["cells"]
        assert [cell["paused"] for cell in cells] == ["why", None]

        engine, told = FakeEngine({NAMES[1]: [1]}), Told()
        found = run(planned_sweep(begun, *GRID), engine, told, Says("nobody"))
        assert found == {NAMES[0]: "paused", NAMES[1]: "failed"}
        assert engine.submitted == [NAMES[1]] and told.pauses == []

        engine = FakeEngine({NAMES[0]: [1], NAMES[1]: [1]})
        assert run(planned_sweep(begun, *GRID), engine, Told(), None)[NAMES[0]] == "failed"
        assert sorted(engine.submitted) == sorted(NAMES)  # without a pruner it goes on

    def test_one_that_should_wait_is_not_begun(self, begun: Path) -> None:
        engine, told = FakeEngine({NAMES[1]: [1]}), Told()
        assert run(planned_sweep(begun, *GRID), engine, told, Says(NAMES[0]))[NAMES[0]] == "paused"
        assert engine.submitted == [NAMES[1]]

    def test_losing_the_manifest_loses_the_pause_alone(self, begun: Path) -> None:
        engine = FakeEngine({NAMES[0]: [None, 1], NAMES[1]: [1]})
        run(planned_sweep(begun, *GRID), engine, Told(), Says(NAMES[0], more=1))
        sweep_path(begun, "learn-corr-lambda-q").unlink()
        planned = planned_sweep(begun, *GRID)
        assert states(planned.status()) == {NAMES[0]: "interrupted", NAMES[1]: "missing"}

    def test_one_that_diverges_as_it_is_told_has_failed(
        self, begun: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(EndedJob, "signal", lambda job, _: setattr(job, "code", 1))
        engine = FakeEngine({NAMES[0]: [None], NAMES[1]: [1]})
        found = run(planned_sweep(begun, *GRID), engine, Told(), Says(NAMES[0], more=1))
        assert found[NAMES[0]] == "failed"

    def test_one_whose_metrics_are_damaged_stays_so(self, begun: Path) -> None:
        engine = FakeEngine({NAMES[0]: [None], NAMES[1]: [1]})
        run(planned_sweep(begun, *GRID), engine, Told(), Says(NAMES[0], more=1))
        metrics = begun / "runs" / "learn-corr" / NAMES[0] / "metrics.jsonl"
        metrics.write_text("{\n")
        sweep, told = planned_sweep(begun, *GRID), Told()
        pruning = Pruning(sweep.project, sweep.planned, "score", None)
        found = run(sweep, FakeEngine({NAMES[1]: [1]}), told, pruning)
        assert found == {NAMES[0]: "paused", NAMES[1]: "failed"}
        (line,) = told.not_compared
        assert line.startswith(f"{NAMES[0]}: {metrics} cannot be read (")

    def test_one_whose_metrics_are_damaged_goes_on(self, begun: Path) -> None:
        metrics = begun / "runs" / "learn-corr" / NAMES[0] / "metrics.jsonl"
        score = {"event": "score", "gradient_steps": "x", "value": 0.0}
        with metrics.open("a") as file:
            file.write(json.dumps(score) + "\n")
        sweep, told = planned_sweep(begun, *GRID), Told()
        pruning, engine = Pruning(sweep.project, sweep.planned, "score", None), FakeEngine()
        engine.codes = {NAMES[0]: [1], NAMES[1]: [1]}
        assert set(run(sweep, engine, told, pruning).values()) == {"failed"}
        assert told.not_compared == [
            f"{NAMES[0]}: {metrics} is damaged: a score has gradient_steps 'x'"
        ]
        assert engine.submitted == [*NAMES] and told.pauses == []

    def test_one_that_has_saved_nothing_begins_anew(self, begun: Path) -> None:
        engine = FakeEngine({NAMES[0]: [1], NAMES[1]: [None, 1]})
        found = run(planned_sweep(begun, *GRID), engine, Told(), Says(NAMES[1], more=0))
        assert found == {NAMES[0]: "failed", NAMES[1]: "failed"}
        assert engine.submitted == [NAMES[0], NAMES[1], NAMES[1]]

    def test_a_signal_while_it_saves(self, begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        engine, told = FakeEngine({NAMES[0]: [None], NAMES[1]: [1]}), Told()

        def stop(_: object) -> None:
            if engine.jobs and engine.jobs[0].heard:
                raise KeyboardInterrupt

        monkeypatch.setattr(told, "tick", stop)
        monkeypatch.setattr(EndedJob, "signal", lambda job, number: job.heard.append(number))
        monkeypatch.setattr(EndedJob, "poll", lambda job: 143 if len(job.heard) > 1 else job.code)
        sweep = planned_sweep(begun, *GRID)
        with pytest.raises(KeyboardInterrupt):
            run(sweep, engine, told, Says(NAMES[0], more=1))
        assert states(sweep.status())[NAMES[0]] == "paused"

    def test_one_cell_alone_leaves_the_others_paused(self, begun: Path) -> None:
        engine = FakeEngine({NAMES[0]: [None], NAMES[1]: [1, 1]})
        run(planned_sweep(begun, *GRID), engine, Told(), Says(NAMES[0], more=1))
        run(planned_sweep(begun, *GRID).with_only(1), engine, Told(), None)
        assert states(planned_sweep(begun, *GRID).status())[NAMES[0]] == "paused"
        engine = FakeEngine({NAMES[0]: [1]})
        assert run(planned_sweep(begun, *GRID).with_only(0), engine, Told(), None) == {
            NAMES[0]: "failed"
        }

    def test_what_comes_after_waits_as_well(self, begun: Path) -> None:
        engine, sweep = FakeEngine({NAMES[1]: [1]}), planned_sweep(begun, *GRID, then=["evaluate"])
        assert run(sweep, engine, Told(), Says(NAMES[0]))[NAMES[0]] == "paused"
        assert engine.submitted == [NAMES[1]]
        step = sweep.status()["cells"][0]["steps"][1]
        assert step == {"stage": "evaluate", "name": None, "state": "missing"}


def test_what_stands_as_paused() -> None:
    assert state_of_steps(["interrupted", "missing"], None, "why") == "paused"
    assert state_of_steps(["interrupted"], None) == "interrupted"
    assert state_of_steps(["done"], None, "why") == "done"  # by hand
    assert state_of_steps(["running"], None, "why") == "running"
    assert state_of_steps(["missing"], None, "why") == "missing"  # its checkpoint was deleted
    assert state_of_steps(["interrupted"], "damaged", "why") == "failed"


class TestTheCommand:
    WORDS = ("learn-corr", "--grid", "gradient-steps=40", "--grid", "eval-every=5", *TINY)

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("train-dqn", "--prune"), "cells of train-dqn: they log no score; learn-corr does"),
            (("collect", "--prune"), "cells of collect: they log no score"),
            ((*WORDS, "--prune", "--engine", "slurm"), "the engines local and ray have it"),
            ((*WORDS, "--prune", "--cell", "0"), "--prune has no effect with --cell"),
            ((*WORDS, "--prune", "--print-sbatch"), "--prune has no effect with --print-sbatch"),
            ((*WORDS, "--prune-by", "score"), "--prune-by has no effect; give it together with"),
            ((*WORDS, "--prune-after", "9"), "--prune-after has no effect; give it together with"),
            (("--status", "x", "--prune"), "give it the name alone"),
        ],
    )
    def test_what_is_refused(
        self,
        lab: Path,
        capsys: pytest.CaptureFixture[str],
        arguments: tuple[str, ...],
        says: str,
    ) -> None:
        capsys.readouterr()
        assert run_in_process("sweep", *arguments, "-p", lab) == 2
        assert says in one_line_error(capsys)
        assert not (lab / "sweeps").exists()

    def test_optuna_that_is_not_there(
        self, lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "optuna", None)
        capsys.readouterr()
        assert run_in_process("sweep", *self.WORDS, "--prune", "-p", lab) == 2
        assert "pip install 'corrtool[prune]'" in one_line_error(capsys)

    @pytest.mark.parametrize(
        ("code", "says"),
        [
            ("raise ImportError('libx.so: no such file')", "ImportError: libx.so: no such file"),
            ("import no_such_package", "No module named 'no_such_package'"),
            ("raise AttributeError('half')", "AttributeError: half"),
            ("", "AttributeError: module 'optuna' has no attribute"),
        ],
    )
    def test_optuna_that_does_not_work(
        self,
        lab: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        code: str,
        says: str,
    ) -> None:
        (tmp_path / "broken" / "optuna").mkdir(parents=True)
        (tmp_path / "broken" / "optuna" / "__init__.py").write_text(code)
        for name in [name for name in sys.modules if name.partition(".")[0] == "optuna"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(tmp_path / "broken")
        capsys.readouterr()
        try:
            assert run_in_process("sweep", *self.WORDS, "--prune", "-p", lab) == 2
        finally:
            sys.modules.pop("optuna", None)
        said = one_line_error(capsys)
        assert says in said and said.endswith("; pip install 'corrtool[prune]'")
        assert not (lab / "sweeps").exists()


class TestFromEndToEnd:
    GRID = """\
        [[grid]]
        learning-rate = 1e-2
        gradient-steps = 800
        generator = "mlp"
        eval-every = 50
        eval-games = 0

        [[grid]]
        learning-rate = 1e-6
        gradient-steps = 1600
        generator = "mlp"
        eval-every = 50
        eval-games = 0
    """

    def test_paused_then_promoted_to_the_weights_of_an_unbroken_run(
        self, lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("optuna")
        (lab / "grid.toml").write_text(self.GRID)
        prune = ("--prune", "--prune-by", "model-loss")
        whole = shutil.copytree(lab, tmp_path / "whole")
        result = self._sweep(capsys, lab, *prune)
        best, worse = result["cells"]
        assert (best["state"], worse["state"]) == ("done", "paused")
        why = r"relative model loss 1\.4\d+ after \d+ gradient steps, where the best has [01]\.\d+"
        assert re.fullmatch(why, worse["paused"])  # at which rung: as early as somebody looks
        assert worse["failure"] is None and "--prune" not in result["promote"]
        checkpoint = next(lab.glob(f"runs/learn-corr/{worse['name']}/checkpoint.safetensors"))
        saved = checkpoint.stat().st_mtime_ns

        assert states(self._sweep(capsys, lab, *prune)) == states(result)
        assert checkpoint.stat().st_mtime_ns == saved
        assert run_in_process("sweep", "--status", "s", "-p", lab) == 0
        told = capsys.readouterr()
        assert "2 cells: 1 done, 1 paused" in told.out and "1 cell is paused" in told.err

        metrics, words = checkpoint.with_name("metrics.jsonl"), self._words(lab)
        logged = metrics.read_bytes()
        metrics.write_bytes(logged.replace(b'"gradient_steps": 50', b'"gradient_steps": "x"'))
        assert run_in_process(*words, *prune) == 0
        line = (
            f"not compared: {worse['name']}: {metrics} is damaged: a score has gradient_steps 'x'"
        )
        assert capsys.readouterr().err.splitlines().count(line) == 1
        metrics.write_bytes(logged)

        assert set(states(self._sweep(capsys, lab)).values()) == {"done"}
        flags = ("--learning-rate", "1e-6", "--generator", "mlp", "--gradient-steps", "1600")
        more = ("--eval-every", "50", "--eval-games", "0", "--name", worse["name"], "--quiet")
        assert run_in_process("learn-corr", "-p", whole, *TINY, *flags, *more) == 0
        unbroken = {a.name: a.sha256 for a in find_artifacts(Project(whole).root, "corr")}
        promoted = {a.name: a.sha256 for a in find_artifacts(Project(lab).root, "corr")}
        assert promoted.keys() > unbroken.keys() == {worse["name"], f"{worse['name']}-last"}
        assert all(promoted[name] == sha for name, sha in unbroken.items())
        assert run_in_process("verify", "-p", lab) == 0

    def _sweep(self, capsys: pytest.CaptureFixture[str], lab: Path, *more: str) -> Any:
        capsys.readouterr()
        assert run_in_process(*self._words(lab), *more, "--json") == 0
        return json.loads(capsys.readouterr().out)

    def _words(self, lab: Path) -> tuple[object, ...]:
        words = ("learn-corr", "--grid", lab / "grid.toml", *TINY, "--name", "s", "--jobs", "1")
        return ("sweep", *words, "-p", lab)
