"""An experiment run cell by cell, on a real environment small enough for a test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.experiments import CARTPOLE
from support.sweeps import FakeEngine, Told, states

from corrtool.errors import UsageError
from corrtool.experiments import (
    Experiment,
    FinetuningCell,
    load_experiment,
)
from corrtool.project.defaults import resolve_settings
from corrtool.project.directory import Project
from corrtool.reporting.cells import REUSE, SCRATCH
from corrtool.reporting.results import read_results
from corrtool.reporting.rows import interval_of_all
from corrtool.runtime.console import Console
from corrtool.settings.base import PRESETS, Preset
from corrtool.settings.common import CommonOptions
from corrtool.settings.grid import grid_of, points_of
from corrtool.settings.stages import FinetuneSettings, LearnCorrSettings
from corrtool.workflows.call import plain_calls
from corrtool.workflows.pipeline import Pipeline
from corrtool.workflows.report import ReportResult
from corrtool.workflows.report import report as write_report
from corrtool.workflows.reproduce import check_grid, only_cells, open_or_create, plan, prepare
from corrtool.workflows.sweeps.running import Limits
from corrtool.workflows.sweeps.sweep import Sweep


def run(directory: Path, seeds: int, preset: Preset = "tiny") -> tuple[list[str], ReportResult]:
    """Run the experiment; give the stages that ended, in order, and the report's result."""
    ended: list[str] = []
    pipeline = pipeline_of(open_or_create(directory, CARTPOLE), preset, ended)
    prepare(pipeline, from_scratch=True)
    told = Told()
    result = sweep_of(pipeline, seeds, preset).run(FakeEngine(), Limits(), told)
    assert set(states(result).values()) == {"done"}
    return [*ended, *(stage for stage, _ in told.done)], write_report(pipeline.project)


def pipeline_of(project: Project, preset: Preset, ended: list[str]) -> Pipeline:
    return Pipeline(
        project,
        Console(quiet=True),
        plain_calls(CommonOptions(seed=0, device="cpu", preset=preset)),
        lambda stage, _: ended.append(stage),
    )


def sweep_of(
    pipeline: Pipeline,
    seeds: int,
    preset: str,
    *,
    experiment: Experiment = CARTPOLE,
    grid: bool = False,
    complete: bool = True,
) -> Sweep:
    return plan(
        pipeline,
        experiment,
        name="cartpole",
        command="corrtool reproduce",
        preset=preset,
        seeds=seeds,
        from_scratch=True,
        grid=grid,
        complete=complete,
    )


def test_the_plan_of_an_experiment_before_anything_is_made(tmp_path: Path) -> None:
    project = open_or_create(tmp_path / "lab", CARTPOLE)
    before = sorted(project.root.rglob("*"))
    sweep = sweep_of(pipeline_of(project, "tiny", []), 2, "tiny", complete=False)
    cells = {
        cell["name"]: [step["stage"] for step in cell["steps"]] for cell in sweep.status()["cells"]
    }
    learnt = [f"{name}-seed{seed}" for name in ("gan", "model") for seed in (0, 1)]
    finetuned = [
        f"finetune-{name}-seed{seed}" for name in ("model", "scratch", "reuse") for seed in (0, 1)
    ]
    assert cells == {
        **{name: ["learn-corr", "evaluate", "evaluate"] for name in learnt},
        **{name: ["finetune", "evaluate", "evaluate"] for name in finetuned},
    }
    assert set(states(sweep.status()).values()) == {"missing"}
    assert sorted(project.root.rglob("*")) == before


def test_a_grid_is_a_sweep_with_a_table_and_a_map_in_the_report(tmp_path: Path) -> None:
    values = {"lambda-cyc": [0, 1], "lambda-q": [0, 1], "lambda-m": [0], "gradient-steps": 5}
    experiment = replace(CARTPOLE, grid=({"generator": "linear", **values},))
    pipeline = pipeline_of(open_or_create(tmp_path / "lab", experiment), "tiny", [])
    prepare(pipeline, from_scratch=True)
    sweep = sweep_of(pipeline, 1, "tiny", experiment=experiment, grid=True)
    names = [f"linear-cyc{cyc}-q{q}-m0" for cyc in (0, 1) for q in (0, 1)]
    assert [cell.name for cell in sweep.planned] == names
    result = sweep.run(FakeEngine(), Limits(), Told())
    assert states(result) == dict.fromkeys(names, "done")
    steps = [step["stage"] for step in result["cells"][0]["steps"]]
    assert steps == ["learn-corr", "evaluate"]
    report = write_report(pipeline.project)
    assert any("sweep-cartpole-map" in figure for figure in report["figures"])


def test_only_an_experiment_with_a_grid_has_one() -> None:
    check_grid(load_experiment("experiment-1"))
    with pytest.raises(UsageError, match="there is no grid of 'Experiment 2"):
        check_grid(load_experiment("experiment-2"))


def test_the_papers_grid_has_all_losses_twice() -> None:
    """Section 4.3: λ_Cyc in {0, 1, 10}, λ_Q in {0, 1}, λ_M in {0, 1, 10}."""
    tables = load_experiment("experiment-1").grid
    points = points_of([grid_of(LearnCorrSettings, table) for table in tables])
    weights = [(p["lambda_cyc"], p["lambda_q"], p["lambda_m"]) for p in points]
    assert len(points) == 36 and len(set(weights)) == 18
    printed = [point for point in points if point["cycle_loss"] == "printed"]
    assert len(printed) == 18
    assert all(not point["framewise"] and not point["skips"] for point in printed)
    for point in points:
        given: dict[str, Any] = dict(point)
        LearnCorrSettings(**given).check()


def test_every_cell_is_run_once_and_reported(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    ended, report = run(tmp_path / "lab", seeds=1)
    assert torch.get_num_threads() == threads  # the stages on vectors took one
    made = {
        path: path.stat().st_mtime_ns
        for path in (tmp_path / "lab" / "weights").rglob("*.safetensors")
    }
    assert (
        ended[:3] == ["train-dqn", "train-model", "evaluate"]
        and ended.count("learn-corr") == 2
        and ended.count("finetune") == 3
        and ended.count("evaluate")
        == 2
        * (3 + 2 + 3)  # before any correspondence, of each, of each finetuned agent; and sticky
    )

    again, second = run(tmp_path / "lab", seeds=2)  # one more seed; what is there stays as it is
    assert made == {path: path.stat().st_mtime_ns for path in made}
    assert (
        again.count("train-dqn") == 1 and again.count("learn-corr") == 4
    )  # what is done is named, and that is all
    with pytest.raises(UsageError, match="train-dqn 'source-dqn' exists with other settings"):
        run(tmp_path / "lab", seeds=1, preset="default")

    results = read_results(open_or_create(tmp_path / "lab", CARTPOLE))
    assert [cell.seeds for cell in results.correspondences] == [[0, 1], [0, 1]]
    scratch = next(cell for cell in results.finetunings if cell.label == SCRATCH)
    assert scratch.runs[0].settings["n_step"] == 2  # the cell's own size
    assert {cell.label for cell in results.finetunings} == {SCRATCH, REUSE, "linear, λ (0, 0, 1)"}
    for cell in (results.correspondences[0], scratch):
        for column in (cell.rows[0].plain, cell.rows[0].sticky):
            fresh_games = interval_of_all(column)
            assert fresh_games is not None and (fresh_games.over, fresh_games.count) == ("seeds", 2)
        assert len(cell.rows) == 1
    assert len(second["tables"]) >= len(report["tables"]) > 3


def test_an_experiment_of_other_fields_is_refused() -> None:
    table = {"title": "t", "source": {}, "target": {}, "correspondence": [], "finetune": []}
    changes: list[dict[str, Any]] = [
        {"extra": 1},
        {"finetune": [{"strat": "scratch"}]},
        {"correspondence": [{}]},
    ]
    assert Experiment.from_toml(table).tasks == {"source": {}, "target": {}}
    for wrong in changes:
        with pytest.raises(TypeError):
            Experiment.from_toml(table | wrong)
    with pytest.raises(KeyError):
        Experiment.from_toml({"title": "t"})


def test_sizes_are_those_of_a_preset_under_any_of_its_names() -> None:
    cell = FinetuningCell("scratch", settings={"n_step": 1}, sizes={"default": {"n_step": 2}})
    assert [cell.settings_at(preset)["n_step"] for preset in ("tiny", "small", "default")] == [
        1,
        2,
        2,
    ]


def test_some_cells_of_an_experiment() -> None:
    experiment = load_experiment("experiment-2")
    assert only_cells(experiment, []) == experiment
    some = only_cells(experiment, ["rotation-model", "reuse"])
    assert [cell.name for cell in some.correspondence] == ["rotation-model"]
    assert [cell.start for cell in some.finetune] == ["rotation-model", "reuse"]
    assert some.target == experiment.target
    with pytest.raises(UsageError, match="no cell 'rotation'") as raised:
        only_cells(experiment, ["rotation"])
    assert "rotation-model" in str(raised.value.hint) and "scratch" in str(raised.value.hint)


def test_a_project_of_other_tasks_is_left_alone(tmp_path: Path) -> None:
    open_or_create(tmp_path / "lab", CARTPOLE)
    with pytest.raises(UsageError, match="target task"):
        open_or_create(tmp_path / "lab", replace(CARTPOLE, target={"id": "CartPole-v1"}))


@pytest.mark.parametrize("name", ["experiment-1", "experiment-2"])
def test_the_packaged_experiments_make_sense(tmp_path: Path, name: str) -> None:
    experiment = load_experiment(name)
    open_or_create(tmp_path / "lab", experiment)
    cells = experiment.correspondence
    assert len({cell.name for cell in cells}) == len(cells) >= 5
    for cell in cells:
        for sizes in ({}, *cell.sizes.values()):
            LearnCorrSettings(**(cell.settings | sizes))
        assert set(cell.sizes) <= set(PRESETS)
    for finetuning in experiment.finetune:
        assert finetuning.start in {"scratch", "reuse", *(known.name for known in cells)}
        for settings in finetuning.sizes.values():
            FinetuneSettings(**settings)


@pytest.mark.parametrize("name", ["experiment-1", "experiment-2"])
def test_no_two_cells_are_one_training(tmp_path: Path, name: str) -> None:
    experiment = load_experiment(name)
    project = open_or_create(tmp_path / "lab", experiment)
    for preset in PRESETS:
        resolved = [
            resolve_settings(
                project,
                LearnCorrSettings,
                preset,
                cell.settings_at(preset),
            )
            for cell in experiment.correspondence
        ]
        assert len(set(resolved)) == len(resolved), preset
