"""The report of a real, tiny project, and of numbers worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
from conftest import run_in_process

from corrtool.project.directory import Project
from corrtool.reporting.results import read_results


def test_report_of_a_finished_project(pong_copy: Path, capsys) -> None:
    assert run_in_process("report", "-p", pong_copy, "--json", "--markdown", pong_copy / "results.md") == 0
    result = json.loads(capsys.readouterr().out)
    folder = pong_copy / "report"
    assert {"report/play-tests.png", "report/translations.svg"} <= set(result["figures"])
    for name in result["figures"]:
        assert (pong_copy / name).stat().st_size > 1000
    assert cv2.imread(str(folder / "play-tests.png")).std() > 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(result["figures"]) // 2
    assert 'src="http' not in page and 'href="http' not in page  # it needs nothing else
    zero_shot = next(t for t in result["tables"] if t["title"].startswith("Zero-shot"))
    row = next(row for row in zero_shot["rows"] if row[0].startswith("resnet"))
    evaluation = read_results(Project(pong_copy)).correspondences[0].evaluations[0].result
    assert row[3].startswith(f"{evaluation['mean_return']:.1f} [") and row[3].endswith("2 games")
    assert "### Zero-shot" in (pong_copy / "results.md").read_text(encoding="utf-8")


def test_the_same_runs_give_the_same_report(pong_copy: Path) -> None:
    def drawn() -> dict[str, bytes]:
        assert run_in_process("report", "-p", pong_copy, "--quiet") == 0
        return {path.name: path.read_bytes() for path in (pong_copy / "report").iterdir()}

    assert drawn() == drawn()


def test_a_project_without_runs_has_nothing_to_report(tmp_path: Path, capsys) -> None:
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
        run_in_process("evaluate", "-p", pong_copy, "--preset", "tiny", "--games", 1, "--quiet", "--video", film) == 0
    )
    frames = cv2.VideoCapture(str(film))
    assert frames.get(cv2.CAP_PROP_FRAME_COUNT) > 500
    assert frames.get(cv2.CAP_PROP_FRAME_WIDTH) > 2 * 84 * 4  # as seen, and translated
