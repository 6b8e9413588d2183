"""What `evaluate` plays and says.

Whole games, their ends, how many differ, noise, and a film of vectors.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from support.commands import run_in_process
from support.environments import register

from corrtool.project.directory import Project
from corrtool.runs.metrics import read_metrics
from corrtool.stages import evaluate as evaluate_stage
from corrtool.stages import finetune, learn_corr, train_dqn
from corrtool.tasks import Lanes, Task


def evaluated(lab: Path, capsys: pytest.CaptureFixture[str], *flags: object) -> dict[str, Any]:
    capsys.readouterr()
    assert run_in_process("evaluate", "-p", lab, "--json", *flags) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


BREAKOUT = ("--source", "ALE/Breakout-v5", "--quiet")


@pytest.fixture(scope="module")
def _breakouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labs = tmp_path_factory.mktemp("breakouts")
    for name, flags in (("lives", ["--terminal-on-life-loss"]), ("games", [])):
        assert run_in_process("init", labs / name, *BREAKOUT, *flags) == 0
    return labs


@pytest.fixture
def breakouts(_breakouts: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two projects of real Breakout: learning ends at a lost life in the first."""
    labs = shutil.copytree(_breakouts, tmp_path / "breakouts")
    return labs / "lives", labs / "games"


def test_whole_games_are_reported_where_learning_ends_at_a_life(
    breakouts: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lives, games = (evaluated(lab, capsys, "--policy", "random", "--games", 4) for lab in breakouts)
    assert lives["returns"] == games["returns"] and max(games["returns"]) >= 1
    lengths = [
        [
            line["length"]
            for path in lab.glob("runs/evaluate/*/metrics.jsonl")
            for line in read_metrics(path)
        ]
        for lab in breakouts
    ]
    assert lengths[0] == lengths[1] and min(lengths[0]) > 75  # five lives; one takes some 30 steps
    tasks = [Project(lab).task("target") for lab in breakouts]
    assert tasks[0].sha256 != tasks[1].sha256 == tasks[0].with_full_games().sha256
    record = json.loads(next(breakouts[0].glob("runs/evaluate/*/run.json")).read_text())
    assert (
        record["tasks"]["target"]["preprocessing"]["terminal_on_life_loss"] is True
    )  # it names the task itself


def test_play_tests_are_of_whole_games_where_learning_ends_at_a_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = {"train-dqn": train_dqn, "learn-corr": learn_corr, "finetune": finetune}
    made: dict[str, list[bool]] = {name: [] for name in stages}

    def lanes(ends: list[bool], task: Task, count: int) -> Lanes:
        ends.append(task.preprocessing.terminal_on_life_loss)
        return Lanes(task, count)

    for name, stage in stages.items():
        for opens in {"Lanes", "lanes_in_turns"} & vars(stage).keys():
            monkeypatch.setattr(stage, opens, partial(lanes, made[name]))
    lab, tests = tmp_path / "short", ("--eval-every", 40, "--eval-games", 1)
    short = ("--terminal-on-life-loss", "--max-episode-frames", 160, "--screen-size", 36)
    assert run_in_process("init", lab, *BREAKOUT, *short) == 0
    dqn = ("--lanes", 1, "--env-steps", 40, "--learning-starts", 30, "--eval-epsilon", 0.5, *tests)
    for command in (
        ("train-dqn", "--greedy-from", 1, "--random-records", 40, *dqn),
        ("collect", "--lanes", 1, "--records", 40),
        (
            "learn-corr",
            *tests,
            "--gradient-steps",
            1,
            "--eval-epsilon",
            0.5,
            "--lambda-q",
            0,
            "--lambda-m",
            0,
        ),
        ("finetune", "--from-scratch", *dqn),
    ):
        assert run_in_process(*command, "-p", lab, "--preset", "tiny", "--quiet") == 0, command
    assert made == {"train-dqn": [True, False], "learn-corr": [False], "finetune": [True, False]}


def test_games_that_do_nothing_are_ended_and_counted(
    breakouts: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--policy", "random", "--games", 3, "--max-idle-frames", 20)
    result = evaluated(breakouts[1], capsys, *flags)
    assert result["idle_games"] == 3 and result["cut_games"] == 0 and result["returns"] == [0.0] * 3
    assert run_in_process("evaluate", "-p", breakouts[1], *flags) == 0
    said = capsys.readouterr().out
    assert (
        "3 of them ended idle" in said and "cut off" not in said and "3 games, 3 distinct" in said
    )


def test_games_are_played_side_by_side_as_said(
    cartpole: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[int] = []

    def counted(task: Task, count: int) -> Lanes:
        opened.append(count)
        return Lanes(task, count)

    monkeypatch.setattr(evaluate_stage, "lanes_in_turns", counted)
    lab = cartpole()
    result = evaluated(lab, capsys, "--policy", "random", "--games", 5, "--lanes", 2)
    assert opened == [2] and len(result["returns"]) == 5
    assert evaluated(lab, capsys, "--policy", "random", "--games", 50)["distinct_games"] == 50
    assert opened[1:] == [16, 2]  # two games are left after three waves


def test_sticky_actions_are_played_and_told(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    assert run_in_process("train-dqn", "-p", lab, "--preset", "tiny", "--quiet") == 0
    flags = ("--task", "source", "--games", 20)
    results = [
        evaluated(lab, capsys, *flags, *more) for more in ((), ("--repeat-action-probability", 1))
    ]
    assert [result["repeat_action_probability"] for result in results] == [0.0, 1.0]
    assert len({result["name"] for result in results}) == 2
    # What is repeated for ever is what an environment begins with, one action: 8 to 11 steps.
    assert max(results[1]["returns"]) <= 11
    assert run_in_process("evaluate", "-p", lab, *flags, "--repeat-action-probability", 1) == 0
    assert "with sticky actions 1: mean return" in capsys.readouterr().out


class Drawn(CartPoleEnv):
    """CartPole that draws its angle without pygame: darker to the left."""

    def render(self) -> Any:
        assert self.state is not None
        return np.full((200, 300, 3), 128 + int(400 * self.state[2]), np.uint8)


@pytest.fixture
def drawn() -> Iterator[str]:
    register("Drawn-v0", Drawn, max_episode_steps=500)
    yield "Drawn-v0"
    gymnasium.registry.pop("Drawn-v0")


def test_a_film_of_vectors_shows_the_environment_and_the_numbers(
    drawn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = tmp_path / "lab"
    assert (
        run_in_process(
            "init", lab, "--source", drawn, "--target-view", "permute:2,3,0,1", "--quiet"
        )
        == 0
    )
    for command in (("train-dqn",), ("collect",), ("learn-corr", "--lambda-m", 0)):
        assert run_in_process(*command, "-p", lab, "--preset", "tiny", "--quiet") == 0
    film = tmp_path / "game.mp4"
    result = evaluated(lab, capsys, "--games", 1, "--video", film)
    video = cv2.VideoCapture(str(film))
    assert (
        video.get(cv2.CAP_PROP_FRAME_COUNT) == result["video_return"]
    )  # CartPole: a picture and a reward a step
    assert (
        video.get(cv2.CAP_PROP_FRAME_WIDTH) == 300 + 2 * 190 + 3 * 8
    )  # the picture, two columns of numbers, gaps
    whole, picture = video.read()
    assert (
        whole and abs(float(picture[100, 100].mean()) - 128) < 30 and picture[40:, 320:].max() > 150
    )


def test_what_cannot_be_drawn_is_said_before_a_game_is_played(
    cartpole: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def render(self: Any) -> Any:
        raise gymnasium.error.DependencyNotInstalled("pygame is not installed")

    monkeypatch.setattr(CartPoleEnv, "render", render)
    lab = cartpole()
    flags = ("--policy", "random", "--games", 1, "--video", tmp_path / "game.mp4")
    assert run_in_process("evaluate", "-p", lab, *flags) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0 and "--video" in error and "pygame" in error
    assert not (lab / "runs").exists() or not list((lab / "runs").glob("evaluate/*"))
