"""Commands as they are recorded and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corrtool.runs.commands import (
    anew_command,
    longer_training_command,
    resume_command,
    without_options,
    without_project,
)


@pytest.mark.parametrize(
    "recorded",
    [
        "corrtool -p /here evaluate --games 3",
        "corrtool evaluate --project '/over there' --games 3",
        "corrtool evaluate --project=/x --games 3",
    ],
)
def test_the_directory_of_a_project_is_nobody_elses(recorded: str) -> None:
    assert without_project(recorded) == "corrtool evaluate --games 3"


def test_variables_and_quotes_stay() -> None:
    command = "CORRTOOL_PRESET=tiny CORRTOOL_COLLECT_POLICY='q:a b' corrtool collect --name 'c d'"
    assert without_project(f"{command} -p/tmp/x") == command


def test_options_with_and_without_a_value_are_left_out() -> None:
    said = "CORRTOOL_SEED=1 corrtool sweep learn-corr --a 2 --on --b='x y' --onward --grid 'a b=1'"
    left = "CORRTOOL_SEED=1 corrtool sweep learn-corr --onward --grid 'a b=1'"
    assert without_options(said, {"--a": 1, "--on": 0, "--b": 1}) == left
    assert without_options("corrtool --a", {"--a": 1}) == "corrtool"


def test_what_no_shell_could_read_stays() -> None:
    assert without_options("corrtool --a 'x", {"--a": 1}) == "corrtool --a 'x"
    assert without_project("corrtool -p 'x") == "corrtool -p 'x"


@pytest.mark.parametrize(
    ("uses", "flags"),
    [
        ({"source_memory": "m"}, "--no-mixed-memories --name f --memory m"),
        (
            {"source_memory": "m", "random_memory": "r"},
            "--name f --memory m --random-memory r",
        ),
    ],
)
def test_f_goes_on_with_the_memories_that_it_began_with(uses: dict[str, str], flags: str) -> None:
    """Also where there was none of random play, and one was made since."""
    record: Any = {
        "command": "corrtool train-model --preset default",
        "stage": "train-model",
        "name": "f",
        "settings": {"mixed_memories": True},
        "parents": {use: {"kind": "memory", "name": name} for use, name in uses.items()},
    }
    resumed = resume_command(Path("/elsewhere"), record)
    assert resumed == f"corrtool train-model --preset default {flags} --project /elsewhere"


def test_a_command_that_replaces_a_run_keeps_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables that a workflow does not look at, as ``quickstart``, must not count."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CORRTOOL_TRAIN_MODEL_FILTERS", "8")
    monkeypatch.setenv("CORRTOOL_TRAIN_MODEL_BATCH_SIZE", "4")
    monkeypatch.setenv("CORRTOOL_COLLECT_RECORDS", "9")  # another stage's
    said, taken = ["--preset", "tiny", "--memory", "m"], ["CORRTOOL_TRAIN_MODEL_FILTERS"]
    inputs = {"source_memory": "m", "random_memory": "r"}
    command = anew_command(Path("/the lab"), "train-model", said, taken, "f", inputs)
    assert command == (
        "CORRTOOL_TRAIN_MODEL_BATCH_SIZE='' CORRTOOL_TRAIN_MODEL_FILTERS=8 corrtool train-model "
        "--preset tiny --memory m --name f --random-memory r --project '/the lab' --overwrite"
    )


@pytest.mark.parametrize(
    ("command", "env_steps", "longer"),
    [
        (
            "corrtool train-dqn --preset tiny --seed 3 --env-steps 600",
            2_400,
            "corrtool train-dqn --preset tiny --seed 3 --name agent --extend --env-steps 2400",
        ),
        (
            "CORRTOOL_SEED=3 corrtool train-dqn -p lab --extend --env-steps=600 --name agent",
            2_400,
            "CORRTOOL_SEED=3 corrtool train-dqn --name agent --extend --env-steps 2400",
        ),
        (
            "corrtool transfer --budget 2m --preset=tiny --games 5 --seed 1",
            2_400,
            "corrtool train-dqn --preset=tiny --seed 1 --name agent --extend --env-steps 2400",
        ),
        (
            "corrtool train-dqn --max-minutes 2 --gamma 0.9",
            None,
            "corrtool train-dqn --gamma 0.9 --name agent",
        ),
        (
            "corrtool 'of somebody else",
            2_400,
            "corrtool train-dqn --name agent --extend --env-steps 2400",
        ),
    ],
)
def test_a_training_is_made_longer_with_its_own_preset_and_seed(
    tmp_path: Path, command: str, env_steps: int | None, longer: str
) -> None:
    made: Any = {"command": command}
    told = longer_training_command(tmp_path, made, "agent", env_steps)
    assert told == f"{longer} --project {tmp_path}"
