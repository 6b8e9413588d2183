"""Manifests of sweeps that somebody else sealed: damaged, or harmless."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from support.commands import one_line_error, run_in_process
from support.sweeps import planned_sweep

from corrtool.errors import ArtifactError
from corrtool.files.sealed import seal_json
from corrtool.reporting.figures import encode
from corrtool.reporting.sweep_figures import heat_map
from corrtool.reporting.sweep_tables import sweep_table
from corrtool.reporting.sweeps import NumberKind, PointResult, SweepResults
from corrtool.runs.sweeps import read_sweep
from corrtool.settings.stages import LEARNING_STAGES
from corrtool.stages.registry import STAGES
from corrtool.workflows import report

STEP = {
    "stage": "train-dqn",
    "name": "x",
    "fingerprint": "0" * 64,
    "produces": [["q", "x"], ["memory", "x"]],
}
MANIFEST: dict[str, Any] = {
    "name": "s",
    "stage": "train-dqn",
    "command": "corrtool sweep train-dqn",
    "engine": "local",
    "created": "",
    "cells": [
        {
            "name": "x",
            "seed": 0,
            "point": {"n_step": 3, "learning_rate": 1e300, "priority": True},
            "settings": {},
            "inputs": {"q": "x"},
            "steps": [STEP, {**STEP, "stage": "evaluate", "name": None, "fingerprint": None}],
            "failure": None,
        }
    ],
}
NOBODYS_STAGES: list[Any] = ["x", None, 3, ["train-dqn"], {}]
WRONG_VALUES: dict[tuple[Any, ...], list[Any]] = {
    ("name",): ["t", "a/../../../outside", "../s", ".s", "", None, ["s"]],
    ("stage",): ["evaluate", "collect", *NOBODYS_STAGES],
    ("cells",): [[], {}, None, [None], "x"],
    ("cells", 0, "seed"): [True, -1, 2**63, 10**400, 1.0, "0", None],
    ("cells", 0, "point"): [[], {"x" * 5000: 1}],
    ("cells", 0, "point", "n_step"): [None, [], {}, 10**400, float("nan")],
    ("cells", 0, "inputs", "q"): ["../../etc/passwd", "", 3, None],
    ("cells", 0, "steps"): [[], None, {}, [3]],
    ("cells", 0, "steps", 0, "stage"): ["evaluate", *NOBODYS_STAGES],
    ("cells", 0, "steps", 1, "stage"): NOBODYS_STAGES,
    ("cells", 0, "steps", 0, "name"): ["../x", "", 3, ["x"]],
    ("cells", 0, "steps", 0, "fingerprint"): [3],
    ("cells", 0, "steps", 0, "produces"): [
        *(None, {}, ["q"], [["q"]]),
        *([["q", "../x"]], [["bogus", "x"]], [[["q"], "x"]]),
    ],
    ("cells", 0, "failure"): [3],
}
WRONG = [(place, value) for place, values in WRONG_VALUES.items() for value in values]


def sealed(root: Path, manifest: dict[str, Any], name: str = "s") -> Path:
    """The project, with a sealed manifest of this name."""
    path = root / "sweeps" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(seal_json(manifest))
    return root


def changed(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The manifest with another value at this place."""
    manifest = copy.deepcopy(MANIFEST)
    part: Any = manifest
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    return manifest


def test_the_manifest_that_is_changed_here_is_whole(tmp_path: Path) -> None:
    assert read_sweep(sealed(tmp_path, MANIFEST), "s")["cells"] == MANIFEST["cells"]
    assert set(LEARNING_STAGES) == {name for name, stage in STAGES.items() if stage.learns}


@pytest.mark.parametrize(("place", "value"), WRONG)
def test_what_is_not_well_formed_is_damaged(
    tmp_path: Path, place: tuple[Any, ...], value: Any
) -> None:
    with pytest.raises(ArtifactError, match=r"s\.json is damaged; the command of that sweep"):
        read_sweep(sealed(tmp_path, changed(place, value)), "s")


def test_the_status_of_a_damaged_one_is_an_error_and_the_report_leaves_it_out(
    cartpole_lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest: dict[str, Any] = {**planned_sweep(cartpole_lab, stage="train-dqn").manifest()}
    sealed(cartpole_lab, manifest | {"name": "a/../../../outside"})
    cells = [{**manifest["cells"][0], "point": {"env": text}} for text in ("x", "\x1b[31m")]
    sealed(cartpole_lab, manifest | {"name": "whole", "cells": cells}, "whole")
    (cartpole_lab / "sweeps" / "torn.json").write_bytes(b"{")
    before = set(cartpole_lab.parent.rglob("*"))
    capsys.readouterr()
    for name in ("s", "torn"):
        assert run_in_process("sweep", "--status", name, "-p", cartpole_lab) == 3
        assert f"{name}.json is damaged; the command of that sweep writes" in one_line_error(capsys)
    monkeypatch.setattr(report, "explain", _no_explanation)
    assert run_in_process("report", "-p", cartpole_lab) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out: ")]
    assert ["s.json is damaged" in said[0], "torn.json is damaged" in said[1], len(said)] == [
        True,
        True,
        2,
    ]
    new = set(cartpole_lab.parent.rglob("*")) - before
    assert all(path.is_relative_to(cartpole_lab / "report") for path in new)
    assert (cartpole_lab / "report" / "sweep-whole-curves.png").exists()
    page = (cartpole_lab / "report" / "report.html").read_text()
    assert "\x1b" not in page and r"\x1b[31m" in page


def _no_explanation(*_: object, **__: object) -> None:
    raise ArtifactError("not here")


def test_no_figure_is_written_outside_the_report(tmp_path: Path) -> None:
    folder = tmp_path / "lab" / "report"
    for name in ("a/../../../outside", "../x", "a/b"):
        with pytest.raises(ArtifactError, match="no figure can be called"):
            report._write_figures(folder, {name: Figure()}, report._QUIET)
    assert not list(tmp_path.iterdir())


class TestStringsThatATerminalWouldObey:
    HOSTILE = "\x1b[31mred\x1b]0;x\x07 [/bogus] [bold] $x_$"

    def swept(self) -> SweepResults:
        points = [
            PointResult({"q": q, "n_step": n}, [_Run()], [1.0], [_Run()])  # type: ignore[list-item]
            for q in (self.HOSTILE, "a" * 100)
            for n in (1, 3)
        ]
        axes: dict[str, Any] = {"q": [self.HOSTILE, "a" * 100], "n_step": [1, 3]}
        kind = NumberKind("train-dqn", "mean return")
        return SweepResults("s", "train-dqn", axes, points, 4, kind)

    def test_reach_neither_table_nor_figure(self, recwarn: pytest.WarningsRecorder) -> None:
        table = sweep_table(self.swept())
        figure = heat_map(self.swept())
        assert figure is not None
        svg = encode(figure, "svg").decode()
        for shown in (table.to_markdown(), svg):
            assert "\x1b" not in shown and "\x07" not in shown
        assert r"\x1b[31mred" in table.to_markdown() and not recwarn

    def test_reach_no_terminal(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], cartpole: Callable[..., Path]
    ) -> None:
        lab = cartpole()
        manifest = changed(("cells", 0, "point"), {"q": self.HOSTILE})
        manifest["cells"] += [copy.deepcopy(manifest["cells"][0]) | {"point": {"q": "x"}}]
        manifest["cells"][0] |= {"name": self.HOSTILE, "failure": self.HOSTILE}
        sealed(lab, manifest)
        capsys.readouterr()
        assert run_in_process("sweep", "--status", "s", "-p", lab) == 0
        shown = capsys.readouterr().out
        assert "\x1b" not in shown and "\x07" not in shown and shown.count("[/bogus]") >= 2
        assert "failed" in shown


class _Run:
    """A finished run as the note of a table names it."""

    stage, record = "train-dqn", {"command": "corrtool train-dqn"}
