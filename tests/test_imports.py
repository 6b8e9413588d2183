"""Imports point one way, as docs/architecture.md says: the command line knows the stages, and these know everything else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "corrtool"
ABOVE = {"stages": ("cli",)} | dict.fromkeys(("networks", "tasks", "memory", "project"), ("cli", "stages"))


def imported(path: Path) -> set[str]:
    """Parts of the package that a file imports, also inside its functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("corrtool.")}


def test_imports_point_one_way() -> None:
    for part, above in ABOVE.items():
        files = list((PACKAGE / part).rglob("*.py"))
        assert files
        for path in files:
            assert not imported(path) & set(above), path
    for path in PACKAGE.glob("*.py"):
        if path.name != "__main__.py":
            assert not imported(path) & {"cli", "stages"}, path


STARTS = """
import sys, torch
from corrtool.networks.q_function import build_q_function
from corrtool.runtime import configure_process
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
