"""What commands say of what they refuse, count and plan: it names the thing and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import odd_environments
import pytest
from support.commands import one_line_error, run_in_process

from corrtool.cli.sweep import describe
from corrtool.errors import UsageError
from corrtool.settings.grid import parse_grid, points_of
from corrtool.settings.stages import LearnCorrSettings
from corrtool.tasks.views.registry import parse_view
from corrtool.workflows.sweeps.cells import MOST_CELLS, check_count, check_stages
from corrtool.workflows.sweeps.local import Shares

TINY = ("--preset", "tiny", "--device", "cpu")


@pytest.mark.parametrize(
    ("view", "takes"),
    [
        ("gain:0", "no factor may be 0, or beyond ±1e+30"),
        ("scale:1,nan", "no factor may be 0, or beyond ±1e+30"),
        ("pitch:1e9", "FACTOR is from 0.0625 to 16"),
        ("pitch:nan", "FACTOR is from 0.0625 to 16"),
        ("zoom:0", "FACTOR is from "),
        ("noise:-1", "SIGMA is above 0"),
        ("rotate:inf", "DEG is a finite number"),
        ("pad:0", "N is a whole number from 1"),
        ("camera:-1", "SEED is a whole number from 0"),
    ],
)
def test_a_view_with_a_number_out_of_range_names_the_range(view: str, takes: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_view(view, Path())
    assert takes in str(caught.value)


class TestSweeps:
    @pytest.mark.parametrize("skip", ["lambda-q=5", "lambda-m=1", "lambda-q=0,lambda-cyc=7"])
    def test_what_skips_nothing_is_refused(self, skip: str) -> None:
        grid = parse_grid(LearnCorrSettings, ["lambda-q=0,1", "lambda-cyc=2,3"], [skip])
        with pytest.raises(UsageError, match="no cell of the grid has lambda-"):
            points_of([grid])

    def test_a_skip_of_one_of_several_grids_is_none_of_the_other(self) -> None:
        grids = [
            parse_grid(LearnCorrSettings, [axis, "generator=affine"], ["lambda-q=1"])
            for axis in ("lambda-q=0,1", "lambda-cyc=0,1")
        ]
        assert len(points_of(grids)) == 3

    def test_the_same_stage_twice_in_a_row_is_refused(self) -> None:
        with pytest.raises(UsageError, match="--then evaluate is given twice"):
            check_stages("learn-corr", ["evaluate", "evaluate"])
        check_stages("learn-corr", ["evaluate", "finetune", "evaluate"])

    def test_more_cells_than_anybody_runs_are_refused_before_they_are_planned(
        self, cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        check_count(MOST_CELLS, 1)
        lab = cartpole()
        capsys.readouterr()
        assert run_in_process("sweep", "train-dqn", "--seeds", "100000000", "-p", lab) == 2
        assert "the sweep has 100,000,000 cells; give it 10,000" in one_line_error(capsys)

    def test_nor_is_a_grid_written_out_that_nobody_could_hold(self) -> None:
        axes = [f"{name}={','.join(map(str, range(1, 200)))}" for name in ("lambda-q", "lambda-m")]
        axes += ["epochs=" + ",".join(map(str, range(1, 200)))]
        with pytest.raises(UsageError, match="the grid has 7,880,599 combinations"):
            points_of([parse_grid(LearnCorrSettings, axes, [])])

    def test_one_cell_is_no_all(self) -> None:
        assert describe(1, 0, Shares(1, 1)) == "the cell is done"
        assert describe(2, 0, Shares(1, 1)) == "all 2 cells are done"
        assert describe(3, 0, Shares(1, 1), 1) == "2 of 3 cells are done, and 1 paused"


def test_no_two_steps_of_a_plan_are_told_in_the_same_words(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    capsys.readouterr()
    assert run_in_process("transfer", "--dry-run", "-p", lab, *TINY) == 0
    steps = [line.partition(". ")[2] for line in capsys.readouterr().out.splitlines()]
    told = [step for step in steps if step]
    assert len(set(told)) == len(told)
    assert "evaluate the agent on the target without correspondence: to do" in told
    assert "evaluate the agent on the target through the correspondence: to do" in told


def test_the_lanes_that_init_advises_where_there_can_be_only_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(odd_environments.Alone, "is_open", False)
    lab = tmp_path / "lab"
    alone = ("--source", "odd_environments:Alone-v0", "--max-episode-steps", "20")
    assert run_in_process("init", lab, *alone) == 0
    assert "lanes = 1 below [train-dqn], [collect], [evaluate]" in capsys.readouterr().err
    with (lab / "corrtool.toml").open("a") as file:
        for stage in ("train-dqn", "collect", "evaluate", "finetune"):
            file.write(f"\n[{stage}]\nlanes = 1\n")
    assert run_in_process("collect", "-p", lab, *TINY, "--quiet") == 0
