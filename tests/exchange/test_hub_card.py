"""The card of a real chain of stages: what the Hub reads of it, and the video beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from support.commands import one_line_error, run_in_process
from support.hub import Hub

import corrtool
from corrtool.project.directory import Project

huggingface_hub = pytest.importorskip("huggingface_hub")
REPOSITORY = "someone/cartpole"
TINY = ("--preset", "tiny", "--device", "cpu")


@pytest.fixture
def lab(hub_lab: Path) -> Path:
    return hub_lab


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """CartPole has a picture: what draws it, pygame, is not needed for anything else."""
    picture = np.zeros((40, 60, 3), np.uint8)
    monkeypatch.setattr(CartPoleEnv, "render", lambda self: picture)


@pytest.fixture
def evaluated(cartpole_lab: Path) -> Path:
    """CartPole through all stages: games through the correspondence, one of them as a video."""
    flags = ("-p", cartpole_lab, "--quiet")
    assert run_in_process("learn-corr", *flags, *TINY) == 0
    film = ("--video", cartpole_lab / "replay.mp4")
    assert run_in_process("evaluate", *flags, "--games", 3, *film) == 0
    assert run_in_process("evaluate", *flags, "--games", 3, "--policy", "random") == 0
    return cartpole_lab


def test_a_card_tells_what_was_measured(hub: Hub, evaluated: Path, tmp_path: Path) -> None:
    project = corrtool.open_project(evaluated)
    result = project.push(REPOSITORY)
    files = hub.files(REPOSITORY)
    assert files["replay.mp4"] == (evaluated / "replay.mp4").read_bytes()
    assert {reference["kind"] for reference in result["artifacts"]} >= {"corr", "model"}
    text = files["README.md"].decode()
    data = huggingface_hub.ModelCard(text).data
    assert (data.library_name, data.pipeline_tag) == ("corrtool", "reinforcement-learning")
    assert {"CartPole-v1", "reinforcement-learning"} <= set(data.tags)
    played, random = data.eval_results
    runs = [
        json.loads((path / "run.json").read_bytes())["result"]
        for path in (evaluated / "runs" / "evaluate").iterdir()
    ]
    means = {run["policy"]: f"{run['mean_return']:.2f} +/- " for run in runs}
    assert played.metric_value.startswith(means["q"]) and " through " in played.metric_name
    assert random.metric_value.startswith(means["random"]) and "random play" in random.metric_name
    assert played.dataset_type == "CartPole-v1" and played.metric_type == "mean_reward"
    assert played.dataset_name.startswith("CartPole-v1 scale:")
    assert played.metric_args["games"] == 3
    assert "3 games" in text and f"corrtool pull {REPOSITORY}" in text
    config = json.loads(files["config.json"])
    assert [artifact["sha256"] for artifact in config["artifacts"]] == [
        artifact["sha256"] for artifact in result["artifacts"]
    ]
    back = corrtool.pull(REPOSITORY, tmp_path / "back")
    assert run_in_process("evaluate", "-p", back.root, "--games", 1, "--quiet") == 0
    back.push("someone/again")
    origin = f"{REPOSITORY}@{result['commit']}"
    assert origin in hub.files("someone/again")["README.md"].decode()


def test_a_video_that_browsers_do_not_play_is_refused(
    hub: Hub, lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corrtool.play.video.CODECS", ("mp4v",))
    film = lab / "game.mp4"
    flags = ("--policy", "random", "--games", 1, "--video", film)
    assert run_in_process("evaluate", "-p", lab, *flags) == 0
    assert "browsers do not play game.mp4" in capsys.readouterr().err
    assert run_in_process("push", REPOSITORY, "-p", lab, "--video", film) == 2
    assert "not a video that browsers play" in one_line_error(capsys)


def test_from_python_a_pull_is_a_project(hub: Hub, lab: Path, tmp_path: Path) -> None:
    corrtool.open_project(lab).push(REPOSITORY, "agent", kind="q", video="none")
    found = Project(corrtool.pull(REPOSITORY, tmp_path / "back").root)
    assert found.task("target").sha256 == Project(lab).task("target").sha256
    with pytest.raises(corrtool.CorrtoolError, match="no repository of the Hub"):
        corrtool.pull("nothing", tmp_path / "back")
