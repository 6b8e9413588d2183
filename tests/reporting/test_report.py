"""The report of a real, tiny project, and of numbers worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.commands import files_of, run_in_process

from corrtool.experiments import experiment_of, load_experiment
from corrtool.project.directory import Project, create_project
from corrtool.reporting import figures
from corrtool.reporting.cells import REUSE, SCRATCH, Cell
from corrtool.reporting.finished import FinishedRun
from corrtool.reporting.results import Results, read_results
from corrtool.reporting.tables import (
    _gradient_steps,
    angles,
    finetuning_paper_value,
    paper_value,
    play_tests,
)
from corrtool.runs.records import RunRecord
from corrtool.runs.results import LearnCorrResult

# By stage, what befalls its run.
DAMAGES: dict[str, Callable[[Path], object]] = {
    "learn-corr": lambda run: (run / "metrics.jsonl").unlink(),
    "train-dqn": lambda run: (run / "metrics.jsonl").write_bytes(b"\xff\xfe{}\n"),
    "train-model": lambda run: (run / "metrics.jsonl").write_text("[1]\n"),
    "finetune": lambda run: (run / "run.json").write_text((run / "run.json").read_text()[:100]),
}


def test_report_of_a_finished_project(pong_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run_in_process("report", "-p", pong_copy, "--json", "--markdown", pong_copy / "results.md")
        == 0
    )
    result = json.loads(capsys.readouterr().out)
    folder = pong_copy / "report"
    assert {"report/play-tests.png", "report/translations.svg"} <= set(result["figures"])
    for name in result["figures"]:
        assert (pong_copy / name).stat().st_size > 1000
    picture = cv2.imread(str(folder / "play-tests.png"))
    assert picture is not None and picture.std() > 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(result["figures"]) // 2
    assert 'src="http' not in page and 'href="http' not in page  # it needs nothing else
    zero_shot = next(t for t in result["tables"] if t["title"].startswith("Zero-shot"))
    row = next(row for row in zero_shot["rows"] if row[0].startswith("resnet"))
    played = read_results(Project(pong_copy)).correspondences[0].rows[0].plain[0]
    assert played is not None
    evaluation = played.result
    distinct = evaluation["distinct_games"]
    fresh = row[zero_shot["columns"].index("fresh games")]
    assert fresh == f"{evaluation['mean_return']:.1f} –, 2 games, {distinct} distinct"
    written = (pong_copy / "results.md").read_text(encoding="utf-8")
    assert written.startswith("## lab") and "### Zero-shot" in written
    drawn = files_of(folder)
    assert (
        run_in_process(
            "report", "-p", pong_copy, "--append", "--markdown", pong_copy / "results.md"
        )
        == 0
    )
    assert (pong_copy / "results.md").read_text(encoding="utf-8") == written + "\n" + written
    assert files_of(folder) == drawn  # the same runs give the same report
    assert run_in_process("report", "-p", pong_copy, "--append") == 2
    for markdown in (pong_copy / "report" / "report.html", pong_copy / "latin.md"):
        (pong_copy / "latin.md").write_bytes("Größe".encode("latin-1"))
        assert run_in_process("report", "-p", pong_copy, "--append", "--markdown", markdown) == 2
    assert (folder / "report.html").read_text(encoding="utf-8") == page


def test_the_tasks_of_the_paper_are_recognised(tmp_path: Path) -> None:
    pong = {"id": "ALE/Pong-v5"}
    for name, target in (
        ("experiment-1", pong),
        ("experiment-2", {**pong, "views": ["rotate:90"]}),
    ):
        project = create_project(tmp_path / name, {"source": pong, "target": target}, {})
        assert experiment_of(project) == load_experiment(name)
    short = {**pong, "preprocessing": {"max_episode_frames": 1200}}
    assert (
        experiment_of(create_project(tmp_path / "3", {"source": short, "target": short}, {}))
        is None
    )


def test_runs_whose_metrics_are_damaged_are_named(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = sorted((pong_copy / "runs").glob("*/*/metrics.jsonl"))
    evaluation = next(path for path in logs if path.parent.parent.name == "evaluate")
    evaluation.write_bytes(b"")
    learning = next(path for path in logs if path.parent.parent.name == "learn-corr")
    learning.write_text(learning.read_text() + json.dumps({"event": "play_test"}) + "\n")
    assert run_in_process("report", "-p", pong_copy, "--json") == 0
    left_out = json.loads(capsys.readouterr().out)["left_out"]
    assert len(left_out) == 2 and all(
        any(str(path) in text for text in left_out) for path in (evaluation, learning)
    )
    for path in logs:
        path.unlink()
    assert run_in_process("report", "-p", pong_copy) == 3
    assert "metrics.jsonl" in capsys.readouterr().err


def test_what_the_paper_measured_stands_beside_the_same_cell() -> None:
    experiment = load_experiment("experiment-2")
    settings = {
        "generator": "rotation",
        "lambda_cyc": 0.0,
        "lambda_q": 0.0,
        "lambda_m": 10.0,
        "filters": 32,
    }
    run = FinishedRun[LearnCorrResult]("learn-corr", "mine", Path(), {"settings": settings})
    cell = Cell("", [run])
    assert paper_value(experiment, cell).startswith("−21 until 38,000 steps")
    assert paper_value(None, cell) == "–"
    settings["lambda_q"] = 1.0
    assert paper_value(experiment, cell) == "–"
    assert finetuning_paper_value(experiment, Cell("resnet-rotation, λ (1, 0, 1)")).startswith(
        "0 after 63 games"
    )
    assert finetuning_paper_value(experiment, Cell(SCRATCH)).startswith("0 after 79 games")
    assert finetuning_paper_value(experiment, Cell("affine, λ (0, 0, 10)")) == "–"
    assert finetuning_paper_value(None, Cell(REUSE)) == "–"


@pytest.mark.parametrize(("steps", "drawn"), [([0], False), ([0, 250], True), ([250], True)])
def test_play_tests_of_no_gradient_steps_are_no_figure(
    steps: list[int], drawn: bool, tmp_path: Path
) -> None:
    lines = [{"event": "play_test", "gradient_steps": step, "mean_return": 2.5} for step in steps]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = FinishedRun[LearnCorrResult]("learn-corr", "mine", tmp_path, {"seed": 0})
    cell = Cell[LearnCorrResult]("linear", [run])
    (tmp_path / "corrtool.toml").touch()
    results = Results(Project(tmp_path), [run], [], [], [cell], [], {}, (), [])
    assert (figures.play_tests(results) is not None) == drawn


def test_the_angle_and_the_play_tests_are_those_of_what_plays(tmp_path: Path) -> None:
    lines = [
        {"event": "spatial_search", "start_degrees": 87.0},
        {"event": "play_test", "gradient_steps": 1, "mean_return": -3.0},
        {"event": "play_test", "gradient_steps": 1, "mean_return": 20.0},
        {"event": "play_test", "gradient_steps": 1, "mean_return": -21.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result: LearnCorrResult = {
        "corr": "mine",
        "sha256": "",
        "gradient_steps": 1,
        "best_gradient_steps": 1,
        "best_mean_return": 20.0,
        "best_angle_degrees": 90.0,
        "angle_degrees": 45.0,
    }
    record: RunRecord = {"result": result, "settings": {"angle_init": 5.0}}
    run = FinishedRun[LearnCorrResult]("learn-corr", "mine", tmp_path, record)
    assert (play_tests(run), angles(run)) == ("20.0, -21.0", "87° → 90.00°")
    (tmp_path / "metrics.jsonl").write_text("")
    result["best_angle_degrees"] = None
    run = FinishedRun("learn-corr", "mine", tmp_path, record)  # neither a search nor a play test
    assert (play_tests(run), angles(run)) == ("–", "5° → 45.00°")
    result["mirrored"] = True
    assert angles(run) == "5° → 45.00°, mirrored"
    result["angle_degrees"] = None
    assert angles(run) == "–"


def test_gradient_steps_of_each_seed_where_they_differ() -> None:
    def cell(*steps: int) -> Cell[LearnCorrResult]:
        records: list[RunRecord] = [{"seed": 0, "result": {"gradient_steps": n}} for n in steps]  # type: ignore[typeddict-unknown-key]
        return Cell("", [FinishedRun("learn-corr", "c", Path(), record) for record in records])

    assert _gradient_steps(cell(1500, 1500)) == "1,500"
    assert _gradient_steps(cell(1500, 750, 1500)) == "1,500; 750; 1,500"


def test_a_project_without_runs_has_nothing_to_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process("init", tmp_path / "lab", "--source", "CartPole-v1", "--quiet") == 0
    assert run_in_process("report", "-p", tmp_path / "lab") == 3
    assert "no finished run" in capsys.readouterr().err


def test_damaged_and_unfinished_runs_are_left_out(pong_copy: Path) -> None:
    whole = {(run.stage, run.name) for run in read_results(Project(pong_copy)).runs}
    record = pong_copy / "runs" / "train-model" / "source-dqn" / "run.json"
    record.write_bytes(record.read_bytes().replace(b"finished", b"finishes"))
    assert {(run.stage, run.name) for run in read_results(Project(pong_copy)).runs} == whole - {
        ("train-model", "source-dqn")
    }


def test_a_video_of_the_transferred_agent(pong_copy: Path) -> None:
    film = pong_copy / "game.mp4"
    assert (
        run_in_process(
            "evaluate",
            "-p",
            pong_copy,
            "--preset",
            "tiny",
            "--games",
            1,
            "--quiet",
            "--max-idle-frames",
            120,
            "--video",
            film,
        )
        == 0
    )
    frames = cv2.VideoCapture(str(film))
    assert frames.get(cv2.CAP_PROP_FRAME_COUNT) >= 30
    assert frames.get(cv2.CAP_PROP_FRAME_WIDTH) > 2 * 84 * 4  # as seen, and translated


def test_damaged_runs_are_left_out_and_named(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = {stage: next((pong_copy / "runs" / stage).iterdir()) for stage in DAMAGES}
    for stage, damage in DAMAGES.items():
        damage(runs[stage])
    assert run_in_process("report", "-p", pong_copy) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "left out: " in line]
    assert all(line.startswith("left out: ") for line in told)
    for run in runs.values():
        assert len([line for line in told if str(run) in line]) == 1, told


def test_damaged_pictures_do_not_stop_the_report(pong_copy: Path) -> None:
    pictures = pong_copy / "runs" / "learn-corr" / "resnet-cyc1-q1-m1" / "pictures"
    cv2.imwrite(str(pictures / "step-00000040.png"), np.zeros((2, 2, 3), np.uint8))
    (pictures / "step-foo.png").write_text("no picture")
    assert run_in_process("report", "-p", pong_copy, "--quiet") == 0


@pytest.mark.parametrize(
    "place", ["corrtool.toml", "runs/tables.md", "", "nowhere/tables.md", "link.md", "report"]
)
def test_output_that_must_not_be_written_is_refused_before_anything_is_done(
    pong_copy: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (pong_copy / "report").mkdir(exist_ok=True)
    (pong_copy / "real.md").write_text("mine")
    (pong_copy / "link.md").symlink_to(pong_copy / "real.md")
    tasks = (pong_copy / "corrtool.toml").read_bytes()
    assert (
        run_in_process(
            "report", "-p", pong_copy, "--markdown", str(pong_copy / place) if place else ""
        )
        == 2
    )
    assert "--markdown" in capsys.readouterr().err
    assert (pong_copy / "corrtool.toml").read_bytes() == tasks and (
        pong_copy / "real.md"
    ).read_text() == "mine"
    assert not list((pong_copy / "report").iterdir())


@pytest.mark.parametrize("film", ["game.avi", "nowhere/game.mp4", "weights/game.mp4"])
def test_a_video_that_cannot_be_written_is_refused_before_the_first_game(
    pong_copy: Path, capsys: pytest.CaptureFixture[str], film: str
) -> None:
    flags = ("--preset", "tiny", "--games", 1, "--name", "filmed", "--video", pong_copy / film)
    assert run_in_process("evaluate", "-p", pong_copy, *flags) == 2
    assert "--video" in capsys.readouterr().err
    assert not (pong_copy / "runs" / "evaluate" / "filmed").exists()
