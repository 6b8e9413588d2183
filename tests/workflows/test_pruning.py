"""Which cells of a sweep are clearly worse than others, and at which gradient step."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.sweeps import planned_sweep

from corrtool.errors import ArtifactError, UsageError
from corrtool.runs.standing import Standing
from corrtool.workflows.sweeps.pruning import PruneBy, Pruning, is_halved, is_rung
from corrtool.workflows.sweeps.steps import Step


@pytest.fixture
def lab(cartpole_lab: Path) -> Path:
    return cartpole_lab


class TestHalving:
    def test_rungs(self) -> None:
        assert [step for step in range(101) if is_rung(step, 10)] == [10, 20, 40, 80]

    @pytest.mark.parametrize(
        ("others", "goes_on", "not_so"),
        [
            ((), 0.0, None),  # of 1 the best 1: who is alone
            ((0.5,), 0.5, 0.49),  # of 2 the best 1
            ((0.5, 0.7), 0.7, 0.69),  # of 3 the best 1
            ((0.5, 0.7, 0.6), 0.6, 0.59),  # of 4 the best 2
            ((0.5, 0.7, 0.6, 0.4), 0.6, 0.59),  # of 5 the best 2
            ((0.5, 0.7, 0.6, 0.4, 0.1), 0.5, 0.49),  # of 6 the best 3
        ],
    )
    def test_the_better_half(
        self,
        others: tuple[float, ...],
        goes_on: float,
        not_so: float | None,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        pytest.importorskip("optuna")
        assert not is_halved(goes_on, others, 10)
        assert not_so is None or is_halved(not_so, reversed(others), 10)
        said = capsys.readouterr()
        assert said.out == said.err == ""


RATES = ("1e-2", "1e-3", "1e-4")


@dataclass
class Cells:
    """Three cells that have a score every 5 of 40 gradient steps, as a test says."""

    lab: Path
    more: tuple[str, ...] = ("gradient-steps=40", "eval-every=5")

    def __post_init__(self) -> None:
        rates = f"learning-rate={','.join(RATES)}"
        self.sweep = planned_sweep(self.lab, rates, "generator=mlp", "eval-games=0", *self.more)

    def pruning(self, by: PruneBy = "score", after: int | None = None) -> Pruning:
        return Pruning(self.sweep.project, self.sweep.planned, by, after)

    def step(self, number: int) -> Step:
        return self.sweep.planned[number].steps[0]

    def log(self, number: int, *lines: tuple[int, float, float], cut: bool = False) -> None:
        """Log scores and model losses, after a progress and a play test as a run does.

        Args:
            cut: as a run does that resumes from its beginning.
        """
        directory = self.lab / "runs" / "learn-corr" / self.step(number).name
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "metrics.jsonl").open("w" if cut else "a") as file:
            for step, value, loss in lines:
                score = {"event": "score", "value": value, "model_loss": loss}
                played = {"event": "play_test", "mean_return": -21.0, "value": 9.0}
                for line in ({"event": "progress", "gan": 1.0, "value": 9.0}, played, score):
                    file.write(json.dumps({**line, "gradient_steps": step}) + "\n")


@pytest.fixture
def cells(lab: Path, monkeypatch: pytest.MonkeyPatch) -> Cells:
    """Those that log what a test says, though nothing runs."""
    pytest.importorskip("optuna")
    made = Cells(lab)
    monkeypatch.setattr(Step, "standing", lambda *_: Standing("running"))
    return made


class TestWhatIsCompared:
    def test_scores_at_the_same_gradient_step(self, cells: Cells) -> None:
        pruning = cells.pruning()
        assert pruning.worse(cells.step(0)) is None  # it has logged nothing yet
        cells.log(0, (5, 0.8, 1.0))
        cells.log(1, (5, 0.5, 0.1))
        assert pruning.worse(cells.step(0)) is None
        said = "score 0.500 after 5 gradient steps, where the best has 0.800"
        assert pruning.worse(cells.step(1)) == said
        assert pruning.worse(cells.step(1)) is None  # it is said once
        cells.log(2, (5, 0.9, 1.0), (10, 0.2, 1.0))
        assert pruning.worse(cells.step(2)) is None  # nobody else has come to step 10
        cells.log(0, (10, 0.81, 1.0), (15, 0.0, 1.0))  # 15 is no rung
        assert pruning.worse(cells.step(0)) is None
        assert "score 0.200 after 10" in (pruning.worse(cells.step(2)) or "")

    def test_model_losses(self, cells: Cells) -> None:
        pruning = cells.pruning("model-loss")
        cells.log(0, (5, 0.5, 0.25))
        cells.log(1, (5, 0.8, 1.5))
        assert pruning.worse(cells.step(0)) is None
        said = "relative model loss 1.500 after 5 gradient steps, where the best has 0.250"
        assert pruning.worse(cells.step(1)) == said

    def test_who_was_there_first_is_compared_as_well(self, cells: Cells) -> None:
        pruning = cells.pruning()
        cells.log(0, (5, 0.1, 1.0))
        assert pruning.worse(cells.step(0)) is None
        cells.log(1, (5, 0.9, 1.0))
        assert pruning.worse(cells.step(1)) is None
        assert "the best has 0.900" in (pruning.worse(cells.step(0)) or "")

    def test_but_at_the_newest_step_alone(self, cells: Cells) -> None:
        pruning = cells.pruning()
        cells.log(0, (5, 0.1, 1.0), (10, 0.8, 1.0))
        cells.log(1, (5, 0.9, 1.0))
        assert pruning.worse(cells.step(1)) is None and pruning.worse(cells.step(0)) is None

    def test_who_is_hardly_worse_goes_on(self, cells: Cells) -> None:
        pruning = cells.pruning()
        for number, score in enumerate((0.5, 0.49, 0.47)):
            cells.log(number, (5, score, 1.0))
        found = [pruning.worse(cells.step(number)) for number in range(3)]
        assert found[:2] == [None, None] and found[2] is not None

    def test_what_a_resumed_run_logs_again(self, cells: Cells) -> None:
        pruning = cells.pruning()
        cells.log(0, (5, 0.8, 1.0), (10, 0.8, 1.0))
        cells.log(1, (5, 0.8, 1.0))
        assert pruning.worse(cells.step(0)) is None and pruning.worse(cells.step(1)) is None
        cells.log(1, (5, 0.1, 1.0), cut=True)
        assert pruning.worse(cells.step(1)) is None
        cells.log(1, (10, 0.1, 1.0))
        assert "after 10 gradient steps" in (pruning.worse(cells.step(1)) or "")

    def test_at_the_last_step_nothing_is_gained(self, cells: Cells) -> None:
        pruning = cells.pruning()
        for number, score in ((0, 0.9), (1, 0.1)):
            cells.log(number, (40, score, 1.0))
            assert pruning.worse(cells.step(number)) is None

    def test_what_is_left_of_a_run_that_saved_nothing(
        self, cells: Cells, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cells.log(0, (5, 0.1, 1.0))
        cells.log(1, (5, 0.9, 1.0))
        with monkeypatch.context() as nothing:
            nothing.setattr(Step, "standing", lambda *_: Standing("missing"))
            pruning = cells.pruning()
            assert pruning.worse(cells.step(1)) is None and pruning.worse(cells.step(0)) is None
        assert pruning.worse(cells.step(1)) is None
        assert pruning.worse(cells.step(0)) is not None  # it runs again, and has come there

    def test_a_sweep_that_was_killed_finds_the_same(self, cells: Cells) -> None:
        unbroken, told = cells.pruning(), set[int]()
        for number, step, score, worse in (
            (0, 5, 0.8, set()),
            (1, 5, 0.81, set()),  # the other one is hardly worse
            (2, 5, 0.5, {2}),
            (1, 10, 0.2, {2}),
            (0, 10, 0.9, {1, 2}),
        ):
            cells.log(number, (step, score, 1.0))
            told |= {i for i in (0, 1, 2, 0, 1, 2) if unbroken.worse(cells.step(i)) is not None}
            anew = cells.pruning()
            assert {i for i in (0, 1, 2) if anew.worse(cells.step(i)) is not None} == told == worse


class TestRungs:
    @pytest.fixture(autouse=True)
    def _has_optuna(self) -> None:
        pytest.importorskip("optuna")

    @pytest.mark.parametrize(("after", "first"), [(None, 5), (1, 5), (5, 5), (6, 10), (39, 40)])
    def test_the_first_one_has_a_score(self, lab: Path, after: int | None, first: int) -> None:
        cells = Cells(lab, ("gradient-steps=41", "eval-every=5"))
        assert cells.pruning(after=after).first == first

    def test_all_cells_have_a_score_there(self, lab: Path) -> None:
        assert Cells(lab, ("gradient-steps=40", "eval-every=4,6")).pruning().first == 12

    def test_cells_that_end_before(self, cells: Cells) -> None:
        with pytest.raises(UsageError, match="compared from gradient step 40 on"):
            cells.pruning(after=36)
        assert Cells(cells.lab, ("gradient-steps=10,80", "eval-every=40")).pruning().first == 40

    def test_cells_without_an_environment_model(self, lab: Path) -> None:
        with pytest.raises(UsageError, match="without F it has no score"):
            Cells(lab, ("lambda-m=1,0",)).pruning()


SCORE = {"event": "score", "gradient_steps": 5, "value": 0.1, "model_loss": 1.0}


class TestDamagedMetrics:
    """What one cell has logged is damaged: it is left out, and the others are compared."""

    @pytest.mark.parametrize(
        "content",
        [
            "{\n",
            "[]\n",
            *(
                json.dumps(SCORE | change) + "\n"
                for change in (
                    {"gradient_steps": "x"},
                    {"gradient_steps": None},
                    {"gradient_steps": 5.0},
                    {"gradient_steps": True},
                    {"value": "0.1"},
                    {"value": None},
                    {"value": [0.1]},
                    {"value": float("nan")},
                    {"value": 10**400},
                )
            ),
            json.dumps({"event": "score"}) + "\n",
        ],
    )
    def test_the_others_are_compared(self, cells: Cells, content: str) -> None:
        cells.log(1, (5, 0.5, 1.0))
        cells.log(2, (5, 0.1, 1.0))
        path = self._spoil(cells, 0, content)
        pruning = cells.pruning()
        (line,) = pruning.left_out()
        assert line.startswith(f"{cells.step(0).name}: {path} ") and "\n" not in line
        assert pruning.worse(cells.step(0)) is None and pruning.worse(cells.step(1)) is None
        assert "0.100 after 5 gradient steps" in (pruning.worse(cells.step(2)) or "")
        assert pruning.left_out() == []  # it is said once

    def test_while_it_runs(self, cells: Cells) -> None:
        pruning = cells.pruning()
        cells.log(0, (5, 0.9, 1.0))
        cells.log(1, (5, 0.1, 1.0))
        assert pruning.worse(cells.step(0)) is None
        self._spoil(cells, 0, "{\n")
        assert pruning.worse(cells.step(0)) is None and len(pruning.left_out()) == 1
        assert pruning.worse(cells.step(1)) is None  # it is alone now
        self._spoil(cells, 0, "{ \n")
        assert pruning.worse(cells.step(0)) is None and pruning.left_out() == []

    def test_a_record_of_a_run(self, cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
        cells.log(0, (5, 0.9, 1.0))
        monkeypatch.setattr(Step, "standing", damaged_record)
        pruning = cells.pruning()
        assert pruning.left_out() == [f"{cells.step(0).name}: run.json is damaged"]
        assert pruning.worse(cells.step(0)) is None

    def test_what_is_no_score_is_not_looked_at(self, cells: Cells) -> None:
        cells.log(1, (5, 0.5, 1.0))
        self._spoil(cells, 0, json.dumps({"event": "progress", "gradient_steps": "x"}) + "\n")
        assert cells.pruning().left_out() == []

    def _spoil(self, cells: Cells, number: int, content: str) -> Path:
        cells.log(number)
        path = cells.lab / "runs" / "learn-corr" / cells.step(number).name / "metrics.jsonl"
        path.write_text(content)
        return path


def damaged_record(*_: object) -> Standing:
    raise ArtifactError("run.json is damaged", "--overwrite it")
