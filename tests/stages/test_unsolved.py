"""``train-dqn`` learns on where no play test has reached the return that solves the task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from odd_environments import Counting
from support.commands import run_in_process

from corrtool.errors import UsageError
from corrtool.settings.resolve import resolve
from corrtool.settings.stages import TrainDqnSettings

TINY = ("--preset", "tiny", "--device", "cpu", "--env-steps", 400, "--eval-every", 200)

COUNTING: Any = Counting  # Gymnasium's own types ask for one that takes any argument

gymnasium.register("Never-v0", COUNTING, reward_threshold=1e6)
gymnasium.register("AtOnce-v0", COUNTING, reward_threshold=-1e6)


def train(lab: Path, task: str, *more: object) -> int:
    assert run_in_process("init", lab, "--source", task, "--quiet") == 0
    return run_in_process("train-dqn", "-p", lab, *TINY, *more, "--json")


@pytest.mark.parametrize("task, solved", [("Never-v0", False), ("AtOnce-v0", True)])
def test_it_goes_by_the_tasks_own_threshold(
    task: str, solved: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path / "lab", task, "--unsolved-env-steps", 1_000) == 0
    out = capsys.readouterr()
    env_steps = json.loads(out.out.splitlines()[-1])["env_steps"]
    assert (env_steps < 500) == solved and env_steps < 1_010
    said = "no play test has reached 1e+06, which solves the task"
    assert (f"{said}: learning on, up to 1,000 env steps" in out.err) != solved
    assert (f"{said}, the best has" in out.err) != solved


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


def test_fewer_than_env_steps_are_refused() -> None:
    with pytest.raises(UsageError, match="--unsolved-env-steps is 399, but --env-steps 400"):
        TrainDqnSettings(env_steps=400, unsolved_env_steps=399)
