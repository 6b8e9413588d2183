"""Imports point one way, as docs/architecture.md says: the command line knows the stages, and these know everything else."""

from __future__ import annotations

import ast
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
