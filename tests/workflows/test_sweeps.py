"""Sweeps with commands that run in this process, or only tell an exit code."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from support.commands import run_in_process
from support.sweeps import FakeEngine, Told, planned_sweep, run_sweep, states

from corrtool.errors import ArtifactError, CorrtoolError, UsageError
from corrtool.project.artifacts import find_artifacts
from corrtool.project.directory import Project
from corrtool.project.locks import lock_artifacts
from corrtool.reporting.results import read_results
from corrtool.runs.sweeps import read_sweep, sweep_path
from corrtool.workflows.report import report as write_report
from corrtool.workflows.sweeps import running
from corrtool.workflows.sweeps.engine import Outcome, outcome_of

pytestmark = pytest.mark.usefixtures("impatient")
TINY = ("--preset", "tiny", "--device", "cpu")
SHORT = "gradient-steps=3"
NO_GAMES = "eval-games=0"


@pytest.fixture
def lab(cartpole_lab: Path) -> Path:
    return cartpole_lab


def weights(lab: Path) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in (lab / "weights" / "corr").glob("*")}


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
        newer = ("train-dqn", "-p", lab, *TINY, "--quiet", "--name", "newer", "--env-steps", "240")
        assert run_in_process(*newer) == 0
        assert set(states(planned_sweep(lab, *grid).status()).values()) == {"done"}
        sweep_path(lab, "learn-corr-lambda-q").unlink()
        # Without it what needs an agent needs the newest, under a name of its own.
        of_the_newest = {"linear-cyc1-q0-m1": "done", "linear-cyc1-q1-m1-newer": "missing"}
        assert states(planned_sweep(lab, *grid).status()) == of_the_newest
        named = (*grid, "q=source-dqn", "source-memory=source-dqn-random")
        assert set(states(planned_sweep(lab, *named).status()).values()) == {"done"}

        newer = ("collect", "-p", lab, *TINY, "--quiet", "--name", "newer-play", "--seed", "5")
        assert run_in_process(*newer) == 0
        with pytest.raises(UsageError, match="was made from something else") as raised:
            planned_sweep(lab, *grid)
        assert "--grid q=NAME" in raised.value.hint

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
    def test_evaluations_and_finetuning(self, lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CORRTOOL_FINETUNE_ENV_STEPS", "120")
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
        assert [row[0] for row in table["rows"]] == ["0", "1"]
        assert table["columns"][1:3] == [f"{outcome['what']} after finetune", "95 % interval"]
        assert [row[4] for row in table["rows"]] == [
            f"{cell['outcome']['value']:.3g}" for cell in result["cells"] if cell["outcome"]
        ]  # what --status says
        assert "Sweep learn-corr-lambda-q" in (lab.parent / "tables.md").read_text()
        assert "mean return of fresh games" in (lab / "report" / "report.html").read_text()

    def test_after_an_agent(self, lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CORRTOOL_TRAIN_DQN_ENV_STEPS", "240")
        sweep = planned_sweep(lab, "n-step=1,2", stage="train-dqn", then=["evaluate"])
        result = run_sweep(sweep, FakeEngine())
        assert set(states(result).values()) == {"done"}
        assert {cell["steps"][1]["stage"] for cell in result["cells"]} == {"evaluate"}
        assert all(str(c["steps"][1]["name"]).startswith("source-") for c in result["cells"])

    def test_after_an_agent_of_the_target(self, lab: Path) -> None:
        sweep = planned_sweep(lab, "task=target", stage="train-dqn", then=["evaluate"])
        result = run_sweep(sweep, FakeEngine())
        (found,) = read_results(Project(lab)).sweeps
        (cell,) = result["cells"]
        assert cell["outcome"] == {"what": found.what, "value": found.points[0].numbers[0]}
        assert found.what == "mean return of fresh games"

    @pytest.mark.parametrize(
        ("stage", "then", "says"),
        [
            ("train-model", ["evaluate"], "nothing comes after train-model"),
            ("train-dqn", ["finetune"], "cannot come after train-dqn; evaluate can"),
            ("learn-corr", ["finetune", "evaluate", "finetune"], "cannot come after finetune"),
            ("learn-corr", ["finetune", "finetune"], "finetune is given twice in a row"),
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
