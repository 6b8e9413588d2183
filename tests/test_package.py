"""What ``import corrtool`` offers, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest
from support.commands import ROOT, run_python

import corrtool
from corrtool.api import OpenedProject
from corrtool.cli.arguments import LINE_LENGTH, _annotation, arguments, class_name
from corrtool.stages.registry import STAGES


class TestImporting:
    def test_takes_no_torch(self) -> None:
        code = (
            "import corrtool, sys\n"
            "corrtool.CorrtoolError, corrtool.open_project, corrtool.load_q_function\n"
            "dir(corrtool)\n"
            "assert not {'torch', 'numpy'} & set(sys.modules)"
        )
        done = run_python(code)
        assert done.returncode == 0, done.stderr

    def test_everything_that_is_offered_is_there(self) -> None:
        assert all(getattr(corrtool, name) for name in corrtool.__all__)
        assert {*corrtool.__all__} <= {*dir(corrtool)}
        with pytest.raises(AttributeError, match="no attribute 'train'"):
            _ = corrtool.train

    def test_types_have_not_drifted_from_the_settings(self) -> None:
        path = ROOT / "corrtool" / "arguments.py"
        message = "run: python -m corrtool.cli.arguments > corrtool/arguments.py"
        assert path.read_text(encoding="utf-8") == arguments(), message
        assert (ROOT / "corrtool" / "py.typed").exists()

    @pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
    def test_every_stage_is_a_method_with_its_arguments(self, stage: Any) -> None:
        method = getattr(OpenedProject, stage.name.replace("-", "_"))
        assert class_name(stage) in str(method.__annotations__["arguments"])


@pytest.mark.parametrize("kinds", [2, 7, 30])
def test_the_types_of_arguments_are_broken_as_the_formatter_breaks_them(kinds: int) -> None:
    written = _annotation("generator", f"Literal[{', '.join(f'{i:_>10}' for i in range(kinds))}]")
    assert max(map(len, written.splitlines())) <= LINE_LENGTH
    lines = {2: 1, 7: 3, 30: 32}[kinds]
    assert written.count("\n") + 1 == lines
