"""What tests of hostile files for ``import policy`` share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from corrtool.project.directory import create_project
from support.commands import one_line_error, run_in_process

MARK = "executed"


class Malicious:
    """Unpickled, it makes a directory."""

    def __reduce__(self) -> Any:
        return (os.mkdir, (MARK,))


def make_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of CartPole, which is the current directory."""
    table = {"id": "CartPole-v1"}
    root = create_project(tmp_path / "lab", {"source": table, "target": table}, {}).root
    monkeypatch.chdir(root)
    return root


def imported(path: Path, form: str, *flags: object) -> int:
    same = ("--preprocessing", "same")
    return run_in_process("import", "policy", path, "--from", form, *same, *flags)


def refused(lab: Path, content: bytes, form: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The line that tells why a file is refused."""
    (lab / "agent").write_bytes(content)
    assert imported(lab / "agent", form) == 3
    line = one_line_error(capsys)
    assert "agent" in line and not (lab / MARK).exists() and not (lab / "weights").exists()
    return line
