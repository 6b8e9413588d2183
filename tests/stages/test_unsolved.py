"""``train-dqn`` learns on where no play test has reached the return that solves the task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from odd_environments import Counting
from support.commands import run_in_process
from support.environments import register
from support.lanes import task

from corrtool.q_learning import progress
from corrtool.q_learning.progress import Progress
from corrtool.runs.loop import Loop
from corrtool.settings.resolve import resolve
from corrtool.settings.stages import TrainDqnSettings
from corrtool.tasks import Lanes

TINY = ("--preset", "tiny", "--device", "cpu", "--env-steps", 400, "--eval-every", 200)

register("Never-v0", Counting, reward_threshold=1e6)
register("AtOnce-v0", Counting, reward_threshold=-1e6)
register("NoThreshold-v0", Counting)


def train(lab: Path, source: str, *more: object) -> int:
    assert run_in_process("init", lab, "--source", source, "--quiet") == 0
    return run_in_process("train-dqn", "-p", lab, *TINY, *more, "--json")


@pytest.mark.parametrize("source, solved", [("Never-v0", False), ("AtOnce-v0", True)])
def test_it_goes_by_the_tasks_own_threshold(
    source: str, solved: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "lab", source, "--unsolved-env-steps", 1_000) == 0
    out = capsys.readouterr()
    env_steps = json.loads(out.out.splitlines()[-1])["env_steps"]
    assert (env_steps < 500) == solved and env_steps < 1_010
    said = "no play test has reached 1e+06, which solves the task"
    assert (f"{said}: learning on, up to 1,000 env steps" in out.err) != solved
    assert (f"{said}, the best has" in out.err) != solved


@pytest.mark.parametrize("improves", [True, False])
def test_of_a_task_without_a_threshold_play_tests_tell(
    improves: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the first test beyond --env-steps they get no better, or do to the end."""
    told: list[int] = []

    def still(test_means: list[float], random_mean: float | None) -> bool:
        told.append(len(test_means))
        return improves or len(test_means) <= 2

    monkeypatch.setattr(progress, "still_improves", still)
    monkeypatch.setattr(progress, "is_settled", lambda *_: False)  # 10 of 10 is learnt at once
    assert train(tmp_path / "lab", "NoThreshold-v0", "--unsolved-env-steps", 1_000) == 0
    out = capsys.readouterr()
    env_steps = json.loads(out.out.splitlines()[-1])["env_steps"]
    assert env_steps in (range(1_000, 1_010) if improves else range(600, 610))
    assert "play tests still get better: learning on, up to 1,000 env steps" in out.err
    assert ("play tests get better no more" in out.err) != improves
    assert max(told) == (5 if improves else 3)


@pytest.mark.parametrize(
    "source, more, settles",
    [
        ("NoThreshold-v0", ("--unsolved-env-steps", 1_000), True),
        ("NoThreshold-v0", (), False),  # who says how long means that
        ("AtOnce-v0", ("--unsolved-env-steps", 1_000), False),  # its threshold says when
    ],
)
def test_it_ends_early_where_play_tests_are_as_good_as_any_game(
    source: str,
    more: tuple[object, ...],
    settles: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every game of Counting is alike; random play is said to be worse."""
    monkeypatch.setattr(Progress, "finish_game", _finish_worse_game)
    assert train(tmp_path / "lab", source, "--eval-every", 50, *more) == 0
    out = capsys.readouterr()
    result = json.loads(out.out.splitlines()[-1])
    assert (result["env_steps"] < 350) == settles == result["stopped_early"]
    assert result.get("cut", False) is False
    said = "play tests of 10.0 and 10.0 are as good as the best game, 10.0, to 5 %: learnt"
    assert (said in out.err) == settles


def test_a_test_that_a_time_limit_brought_forward_settles_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "is_settled", lambda *_: True)
    more = ("--unsolved-env-steps", 1_000, "--max-minutes", 1e-6)
    assert train(tmp_path / "lab", "NoThreshold-v0", *more) == 0
    out = capsys.readouterr()
    result = json.loads(out.out.splitlines()[-1])
    assert (result["cut"], result["stopped_early"]) == (True, False)
    assert "learnt" not in out.err


def _finish_worse_game(self: Progress, game_return: float) -> None:
    self.games += 1
    self.first_returns = [*self.first_returns, game_return - 1e3][:20]


def test_who_says_how_long_means_that(tmp_path: Path) -> None:
    settings = {
        given: resolve(
            TrainDqnSettings,
            preset="default",
            state_kind="vector",
            project_values={},
            given={"env_steps": given},
        )
        for given in (None, 1_000)
    }
    assert [s.unsolved_env_steps for s in settings.values()] == [160_000, 0]


@pytest.mark.parametrize("stated", [None, float("nan"), float("inf"), "195"])
def test_what_is_no_finite_number_is_no_threshold(stated: Any, tmp_path: Path) -> None:
    register("Odd-v0", Counting, reward_threshold=stated)
    try:
        with Lanes(task("Odd-v0"), 1) as lanes:
            assert lanes.reward_threshold is None
    finally:
        del gymnasium.registry["Odd-v0"]


def test_one_that_is_solved_in_its_last_test_is_through(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--eval-every does not divide --env-steps: the first test is that at the end."""
    more = ("--unsolved-env-steps", 1_000, "--eval-every", 700)
    assert train(tmp_path / "lab", "AtOnce-v0", *more) == 0
    out = capsys.readouterr()
    assert json.loads(out.out.splitlines()[-1])["env_steps"] < 500
    assert "learning on" not in out.err


def test_a_run_of_the_presets_length_can_be_extended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = tmp_path / "lab"
    assert train(lab, "Never-v0", "--unsolved-env-steps", 600) == 0
    longer = (
        "train-dqn",
        "-p",
        lab,
        *TINY[:4],
        "--eval-every",
        200,
        "--env-steps",
        900,
        "--extend",
    )
    assert run_in_process(*longer, "--json") == 0
    assert 900 <= json.loads(capsys.readouterr().out.splitlines()[-1])["env_steps"] < 910


def test_what_a_time_limit_ends_while_it_learns_on_is_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = tmp_path / "lab"
    monkeypatch.setattr(Loop, "out_of_time", lambda loop: loop.done >= 500)
    limit = ("--max-minutes", 30)
    assert train(lab, "Never-v0", "--unsolved-env-steps", 1_000, *limit) == 0
    out = capsys.readouterr()
    first = json.loads(out.out.splitlines()[-1])
    assert "--extend" not in out.err  # it goes on by itself
    assert 500 <= first["env_steps"] < 600 and first["cut"] is True
    monkeypatch.undo()
    again = ("train-dqn", "-p", lab, *TINY, "--unsolved-env-steps", 1_000, "--json")
    assert run_in_process(*again) == 0
    whole = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert whole["env_steps"] >= 1_000 and "cut" not in whole
