"""Commands as they are recorded and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corrtool.runs.commands import resume_command, without_options, without_project


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
