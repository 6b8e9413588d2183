"""The pages that tell what to type: every command of theirs works, with small sizes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.commands import newcomer, run_python
from support.documents import DOCS, Section, sections

TUTORIAL = [section for section in sections(DOCS / "tutorial.md") if section.commands]
# A game of Pong takes thousands of frames: one is enough, which ends 10 steps after the last point.
SMALL = {
    "PRESET": "tiny",
    "DEVICE": "cpu",
    "EVALUATE_GAMES": "1",
    "EVALUATE_MAX_IDLE_FRAMES": "40",
    "LEARN_CORR_GRADIENT_STEPS": "10",
    "LEARN_CORR_EVAL_GAMES": "0",
}


def shell(commands: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run commands as a newcomer in an empty directory."""
    env = newcomer(directory) | {f"CORRTOOL_{name}": value for name, value in SMALL.items()}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=directory,
        env=env,
        capture_output=True,
        text=True,
        timeout=280,
    )


def test_the_tutorial_has_its_four_pairs() -> None:
    assert [section.title for section in TUTORIAL] == [
        "Numbers in another order",
        "A picture",
        "An environment of your own",
        "Other actions",
    ]
    code = TUTORIAL[2].files["balloon.py"]
    assert len([line for line in code.splitlines() if line]) <= 40, "it says forty lines"


@pytest.mark.parametrize("section", TUTORIAL, ids=lambda section: section.title)
def test_every_command_of_the_tutorial_works(section: Section, tmp_path: Path) -> None:
    for name, code in section.files.items():
        (tmp_path / name).write_text(code)
    done = shell(section.commands, tmp_path)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    transfers = section.commands.count("corrtool transfer\n")
    assert done.stdout.count("of the way from") == transfers == 1


def test_a_command_that_fails_would_be_noticed(tmp_path: Path) -> None:
    assert shell("corrtool status\ntrue\n", tmp_path).returncode == 3


@pytest.mark.parametrize("section", ["Memories", "Weights"])
def test_the_examples_of_formats_read_a_project(section: str, cartpole_template: Path) -> None:
    (found,) = (of for of in sections(DOCS / "formats.md") if of.title == section)
    (code,) = found.code
    done = run_python(code, cartpole_template)
    assert done.returncode == 0, done.stderr
