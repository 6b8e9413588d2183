"""Packages import one way, in the order that docs/architecture.md draws."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "corrtool"


def order() -> list[str]:
    """The parts of the package from the top to the bottom, as docs/architecture.md lists them."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = text.partition("Imports point one way")[2].partition("```")[2].partition("```")[0]
    return re.findall(r"\w+", drawn.replace("→", " "))


NO_PARTS = {"__init__", "__main__", "_version"}  # the last is made by the build


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Parts of the package that a file imports, also inside its functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for module in modules:
            if module.startswith("corrtool."):
                yield module.split(".")[1]


def test_every_part_is_drawn() -> None:
    parts = {part_of(path) for path in PACKAGE.rglob("*.py")} - NO_PARTS
    assert parts == set(order())
    assert len(order()) == len(parts)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_imports_point_one_way(path: Path) -> None:
    part = part_of(path)
    if part in NO_PARTS:
        return
    below = order()[order().index(part) :]
    assert set(imported(path)) <= set(below)


STARTS = """
import sys, torch
from corrtool.q_learning.network import build_q_function
from corrtool.runtime.process import configure_process
from corrtool.states import StateSpec
spec = StateSpec("image", (1, 84, 84), 4, (0, 1, 2, 3))
configure_process(torch.device("cpu"), 0, spec.kind)
with torch.device("meta"):  # as weights are loaded
    build_q_function(spec, 6, init="normal")
assert "torch._dynamo" not in sys.modules
"""


def test_a_start_does_not_import_the_compiler() -> None:
    """It takes seconds, and collecting, evaluating and loading weights have no use for it."""
    done = subprocess.run([sys.executable, "-c", STARTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
