"""Commands as they are recorded and shown."""

from __future__ import annotations

import pytest

from corrtool.runs.commands import without_project


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


def test_what_no_shell_could_read_stays() -> None:
    assert without_project("corrtool -p 'x") == "corrtool -p 'x"
