"""Sweeps with commands that run in this process, or only tell an exit code."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import one_line_error, run_in_process
from support.sweeps import FakeEngine, Told, planned_sweep, run_sweep, states

from corrtool.errors import ArtifactError, CorrtoolError, UsageError
from corrtool.project.artifacts import find_artifacts
from corrtool.project.directory import Project
from corrtool.project.locks import lock_artifacts
from corrtool.runs.sweeps import read_sweep, sweep_path
from corrtool.workflows.report import report as write_report
from corrtool.workflows.sweeps import running
from corrtool.workflows.sweeps.engine import Outcome, outcome_of
from corrtool.workflows.sweeps.local import LocalEngine, Shares, share_out

TINY = ("--preset", "tiny", "--device", "cpu")
SHORT = "gradient-steps=3"
NO_GAMES = "eval-games=0"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of CartPole up to F, once for all tests here."""
    lab = tmp_path_factory.mktemp("sweeps") / "lab"
    init = ("init", lab, "--source", "CartPole-v1", "--target-view", "scale:-1,1,1,1", "--quiet")
    assert run_in_process(*init) == 0
    for stage in ("train-dqn", "collect", "train-model"):
        assert run_in_process(stage, "-p", lab, *TINY, "--quiet") == 0
    return lab


@pytest.fixture
def lab(template: Path, tmp_path: Path) -> Path:
    return shutil.copytree(template, tmp_path / "lab")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between attempts."""
    monkeypatch.setattr(running, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(running, "LOOK_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(running, "LONGEST_PAUSE_SECONDS", 0.0)


def weights(lab: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in (lab / "weights" / "corr").glob("*")}


def asked(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    capsys.readouterr()
    assert run_in_process("sweep", *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


class TestTheGrid:
    def test_each_cell_once_and_never_again(self, lab: Path) -> None:
        grid = ("lambda-q=0,1", "lambda-cyc=0,1", SHORT, NO_GAMES)
        sweep, engine = planned_sweep(lab, *grid), FakeEngine()
        assert set(states(sweep.status()).values()) == {"missing"}
        result = run_sweep(sweep, engine)
        assert set(states(result).values()) == {"done"} and len(result["cells"]) == 4
        assert sorted(engine.submitted) == sorted(states(result))
        assert states(result).keys() == {f"linear-cyc{c}-q{q}-m1" for c in (0, 1) for q in (0, 1)}
        assert result["cells"][1]["grid"]["lambda_cyc"] == 1.0
        assert result["cells"][1]["settings"]["lambda_cyc"] == 1.0
        assert result["cells"][0]["outcome"] is not None  # the score, without games

        made, again = weights(lab), FakeEngine()
        sweep_path(lab, sweep.name).unlink()  # losing the manifest loses nothing
        assert states(run_sweep(planned_sweep(lab, *grid), again)) == states(result)
        assert again.submitted == [] and weights(lab) == made

    def test_names_of_cells_that_would_share_one(self, lab: Path) -> None:
        grid = ("learning-rate=1e-3,1e-4", SHORT, NO_GAMES)
        result = run_sweep(planned_sweep(lab, *grid, seeds=2), FakeEngine())
        assert states(result).keys() == {
            "linear-cyc1-q1-m1-learning-rate0.001",
            "linear-cyc1-q1-m1-learning-rate0.001-seed1",
            "linear-cyc1-q1-m1-learning-rate0.0001",
            "linear-cyc1-q1-m1-learning-rate0.0001-seed1",
        }

    def test_a_grid_that_grows_does_only_what_is_new(self, lab: Path) -> None:
        fixed = (SHORT, NO_GAMES)
        first = run_sweep(planned_sweep(lab, "learning-rate=1e-3", *fixed, name="s"), FakeEngine())
        assert states(first) == {"linear-cyc1-q1-m1": "done"}
        engine = FakeEngine()
        grown = run_sweep(planned_sweep(lab, "learning-rate=1e-3,1e-4", *fixed, name="s"), engine)
        assert engine.submitted == ["linear-cyc1-q1-m1-learning-rate0.0001"]
        assert states(grown)["linear-cyc1-q1-m1"] == "done"  # it keeps the name that it had

    def test_a_run_that_was_made_by_hand_is_a_cell(self, lab: Path) -> None:
        flags = ("--gradient-steps", "3", "--eval-games", "0", "--name", "mine", "--quiet")
        assert run_in_process("learn-corr", "-p", lab, *TINY, *flags) == 0
        engine = FakeEngine()
        result = run_sweep(planned_sweep(lab, "lambda-q=1,0", SHORT, NO_GAMES), engine)
        assert states(result) == {"mine": "done", "linear-cyc1-q0-m1": "done"}
        assert engine.submitted == ["linear-cyc1-q0-m1"]

    def test_another_run_of_the_name_is_left_alone(self, lab: Path) -> None:
        flags = ("--gradient-steps", "4", "--eval-games", "0", "--quiet")
        assert run_in_process("learn-corr", "-p", lab, *TINY, *flags) == 0
        (name,) = states(planned_sweep(lab, SHORT, NO_GAMES).status())
        assert name.startswith("linear-cyc1-q1-m1-") and len(name) == len("linear-cyc1-q1-m1-") + 8

    def test_cells_keep_the_inputs_that_they_began_with(self, lab: Path) -> None:
        grid = ("lambda-q=0,1", SHORT, NO_GAMES)
        run_sweep(planned_sweep(lab, *grid), FakeEngine())
        newer = ("train-dqn", "-p", lab, *TINY, "--quiet", "--name", "newer", "--seed", "5")
        assert run_in_process(*newer) == 0
        assert set(states(planned_sweep(lab, *grid).status()).values()) == {"done"}
        sweep_path(lab, "learn-corr-lambda-q").unlink()
        with pytest.raises(UsageError, match="was made from something else") as raised:
            planned_sweep(lab, *grid)
        assert "--grid q=NAME" in raised.value.hint
        named = (*grid, "q=source-dqn", "source-memory=source-dqn-random")
        assert set(states(planned_sweep(lab, *named).status()).values()) == {"done"}

    def test_seeds_begin_at_that_of_the_project(self, lab: Path) -> None:
        text = (lab / "corrtool.toml").read_text()
        (lab / "corrtool.toml").write_text(f"{text}\n[defaults]\nseed = 7\n")
        cells = planned_sweep(lab, SHORT, NO_GAMES, seeds=2).status()["cells"]
        assert [(cell["name"], cell["seed"]) for cell in cells] == [
            ("linear-cyc1-q1-m1-seed7", 7),
            ("linear-cyc1-q1-m1-seed8", 8),
        ]

    def test_two_cells_that_are_one_run(self, lab: Path) -> None:
        with pytest.raises(UsageError, match="are the same run") as raised:
            planned_sweep(lab, "match-play=on,off", "source-memory=source-dqn")
        assert "match-play=true" in str(raised.value)

    def test_a_damaged_input_is_told_before_anything_runs(self, lab: Path) -> None:
        path = lab / "weights" / "q" / "source-dqn.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="is damaged"):
            planned_sweep(lab, "lambda-q=0,1")


class TestExitCodes:
    GRID = ("lambda-q=0,1", SHORT, NO_GAMES)
    FIRST, SECOND = "linear-cyc1-q0-m1", "linear-cyc1-q1-m1"

    @pytest.mark.parametrize(
        ("code", "means"),
        [
            (0, Outcome.DONE),
            *((code, Outcome.INTERRUPTED) for code in (130, 143, 137, -9, -15, -11)),
            (5, Outcome.HELD),
            *((code, Outcome.FAILED) for code in (1, 2, 3, 4, 6, 127)),
        ],
    )
    def test_what_they_mean(self, code: int, means: Outcome) -> None:
        assert outcome_of(code) is means

    def test_who_was_killed_goes_on(self, lab: Path) -> None:
        engine, told = FakeEngine({self.FIRST: [130, -9, 143]}), Told()
        result = run_sweep(planned_sweep(lab, *self.GRID), engine, told, retries=3)
        assert set(states(result).values()) == {"done"}
        assert told.deaths == 3 and engine.submitted.count(self.FIRST) == 4

    def test_but_not_for_ever(self, lab: Path) -> None:
        engine, told = FakeEngine({self.FIRST: [-9, -9, -9]}), Told()
        result = run_sweep(planned_sweep(lab, *self.GRID), engine, told, retries=1)
        assert states(result) == {self.FIRST: "failed", self.SECOND: "done"}
        assert told.lines == ["interrupted 2 times, exit code -9"]

        later = run_sweep(planned_sweep(lab, *self.GRID), FakeEngine(), retries=0)
        assert set(states(later).values()) == {"done"}  # the same command tries it again
        assert all(cell["failure"] is None for cell in read_sweep(lab, later["sweep"])["cells"])

    def test_what_somebody_has_is_looked_at_again(self, lab: Path) -> None:
        engine, told = FakeEngine({self.FIRST: [5, 5, 5, 5, 5]}), Told()
        result = run_sweep(planned_sweep(lab, *self.GRID), engine, told, retries=0)
        assert set(states(result).values()) == {"done"} and not told.lines
        assert engine.submitted[:2] == [self.FIRST] * 2

    @pytest.mark.parametrize("code", [1, 2, 3, 4])
    def test_a_failure_is_told_and_the_others_go_on(self, lab: Path, code: int) -> None:
        told = Told()
        sweep = planned_sweep(lab, *self.GRID)
        result = run_sweep(sweep, FakeEngine({self.FIRST: [code]}), told)
        assert states(result) == {self.FIRST: "failed", self.SECOND: "done"}
        assert told.lines == [f"exit code {code}"]
        assert states(sweep.status()) == states(result)

    def test_the_last_error_of_its_log_is_what_a_cell_failed_of(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        assert running.last_error(log) is None
        log.write_text(
            "corrtool: early; do\nlearn-corr x: 3/4 gradient steps\ncorrtool: late; do\n"
        )
        assert running.last_error(log) == "late; do"

    def test_a_command_that_ends_well_and_leaves_nothing(self, lab: Path) -> None:
        result = run_sweep(planned_sweep(lab, *self.GRID), FakeEngine({self.FIRST: [0]}))
        assert states(result)[self.FIRST] == "failed"

    def test_fail_fast_tells_those_that_run(self, lab: Path) -> None:
        engine = FakeEngine({self.FIRST: [None], self.SECOND: [1]}, slots=2)
        result = run_sweep(planned_sweep(lab, *self.GRID), engine, fail_fast=True)
        assert states(result) == {self.FIRST: "missing", self.SECOND: "failed"}
        assert engine.jobs[0].heard == [signal.SIGTERM]

    def test_no_more_at_once_than_there_are_slots(self, lab: Path) -> None:
        grid = ("lambda-q=0,1,2", SHORT, NO_GAMES)
        engine = FakeEngine({"linear-cyc1-q0-m1": [None]}, slots=1)
        told = Told()
        sweep = planned_sweep(lab, *grid)
        ticks = iter(range(3))

        def stop_after_three(_: object) -> None:
            if next(ticks, None) is None:
                raise KeyboardInterrupt

        told.tick = stop_after_three  # type: ignore[assignment, method-assign]
        with pytest.raises(KeyboardInterrupt):
            run_sweep(sweep, engine, told)
        assert engine.submitted == ["linear-cyc1-q0-m1"]
        assert engine.jobs[0].heard == [signal.SIGTERM]  # nobody is left behind

    def test_a_run_that_another_process_writes_is_not_begun(self, lab: Path) -> None:
        engine, told = FakeEngine({self.SECOND: [1]}, slots=2), Told()
        sweep = planned_sweep(lab, *self.GRID)
        with lock_artifacts(lab, [("corr", self.FIRST), ("corr", f"{self.FIRST}-last")]):
            assert states(sweep.status())[self.FIRST] == "running"
            run_sweep(sweep, engine, told, fail_fast=True)
        assert engine.submitted == [self.SECOND]


class TestWhatComesAfter:
    def test_evaluations_and_finetuning(self, lab: Path) -> None:
        grid = ("lambda-q=0,1", SHORT, NO_GAMES)
        then = ["evaluate", "finetune", "evaluate"]
        engine, told = FakeEngine(), Told()
        sweep = planned_sweep(lab, *grid, then=then)
        missing = sweep.status()["cells"][0]["steps"]
        assert [step["stage"] for step in missing] == ["learn-corr", *then]
        result = run_sweep(sweep, engine, told)
        assert set(states(result).values()) == {"done"}
        assert told.done == [(stage, True) for stage in ("learn-corr", *then)] * 2
        steps = result["cells"][0]["steps"]
        assert str(steps[1]["name"]).startswith("target-source-dqn-linear-cyc1-q0-m1-")
        assert steps[2]["name"] == "target-finetune-linear-cyc1-q0-m1"
        assert str(steps[3]["name"]).startswith(f"target-{steps[2]['name']}-linear-cyc1-q0-m1-")
        outcome = result["cells"][0]["outcome"]
        assert outcome is not None and outcome["what"] == "mean return of fresh games"
        parents = find_artifacts(lab, "q")[0].manifest["parents"]
        assert parents["corr"]["name"] == "linear-cyc1-q1-m1"

        again = FakeEngine()
        assert states(run_sweep(planned_sweep(lab, *grid, then=then), again)) == states(result)
        assert again.submitted == []
        written = write_report(Project(lab), lab.parent / "tables.md")
        table = next(t for t in written["tables"] if t["title"] == "Sweep learn-corr-lambda-q")
        assert [row[0] for row in table["rows"]] == ["0", "1"] and table["columns"][2] == (
            "95 % interval"
        )
        assert "Sweep learn-corr-lambda-q" in (lab.parent / "tables.md").read_text()
        assert "mean return of fresh games" in (lab / "report" / "report.html").read_text()

    def test_after_an_agent(self, lab: Path) -> None:
        sweep = planned_sweep(lab, "n-step=1,2", stage="train-dqn", then=["evaluate"])
        result = run_sweep(sweep, FakeEngine())
        assert set(states(result).values()) == {"done"}
        assert {cell["steps"][1]["stage"] for cell in result["cells"]} == {"evaluate"}
        assert all(str(c["steps"][1]["name"]).startswith("source-") for c in result["cells"])

    @pytest.mark.parametrize(
        ("stage", "then", "says"),
        [
            ("train-model", ["evaluate"], "nothing comes after train-model"),
            ("train-dqn", ["finetune"], "cannot come after train-dqn; evaluate can"),
            ("learn-corr", ["finetune", "finetune"], "cannot come after finetune"),
            ("learn-corr", ["report"], "'report' cannot come after learn-corr"),
            ("evaluate", [], "'evaluate' is no stage that learns"),
            ("nothing", [], "'nothing' is no stage that learns"),
        ],
    )
    def test_what_cannot(self, lab: Path, stage: str, then: list[str], says: str) -> None:
        with pytest.raises(UsageError) as raised:
            planned_sweep(lab, stage=stage, then=then)
        assert says in str(raised.value)

    def test_a_stage_that_refuses_fails_its_cell(
        self, lab: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sweep, told = planned_sweep(lab, SHORT, NO_GAMES, then=["evaluate"]), Told()

        def refuse(*_: object) -> None:
            raise CorrtoolError("no", "never")

        monkeypatch.setattr("corrtool.workflows.sweeps.planning.following", refuse)
        result = run_sweep(sweep, FakeEngine(), told)
        assert told.lines == ["no; never"] and list(states(result).values()) == ["failed"]


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

    @pytest.mark.parametrize("engine", ["ray", "slurm", "none"])
    def test_engines_that_are_not_there(
        self, lab: Path, capsys: pytest.CaptureFixture[str], engine: str
    ) -> None:
        assert run_in_process("sweep", "-p", lab, *self.GRID, "--engine", engine) == 2
        assert "--engine" in one_line_error(capsys)

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
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cartpole: Callable[..., Path]
    ) -> None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        seen: list[dict[str, str]] = []
        monkeypatch.setattr("subprocess.Popen", lambda _, *, env, **more: seen.append({**env}))
        LocalEngine(Shares(1, None)).submit(["learn-corr"], tmp_path / "log")
        assert "OMP_NUM_THREADS" not in seen[0]
