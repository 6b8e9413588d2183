"""`examples/tour.ipynb`, run in a kernel as a reader runs it."""

from __future__ import annotations

import base64
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.commands import ROOT

TOUR = ROOT / "examples" / "tour.ipynb"


def texts(cells: list[Any]) -> list[str]:
    """What the code cells have printed, those that printed something."""
    return [
        "".join(output.get("text", "") for output in cell.outputs)
        for cell in cells
        if cell.cell_type == "code" and any("text" in output for output in cell.outputs)
    ]


def pictures(cells: list[Any]) -> list[np.ndarray]:
    """The pictures below its cells, (height, width, 3)."""
    encoded = [
        output.data["image/png"]
        for cell in cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    decoded = [
        cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_COLOR)
        for png in encoded
    ]
    return [picture for picture in decoded if picture is not None]


def returns(printed: str) -> dict[str, float]:
    """The table of who plays how well."""
    lines = [line.rsplit(maxsplit=3) for line in printed.splitlines()]
    return {who: float(value) for who, value, *_ in lines}


def check_returns(table: dict[str, float]) -> None:
    """The agent plays as on the source, where without the correspondence it is no use."""
    as_it_is, translated = (
        table[f"the agent on the target, {how}"] for how in ("as it is", "translated")
    )
    assert as_it_is < 0 < 3.5 < translated
    assert abs(translated - table["the agent on the source"]) < 0.5


def test_the_tour_shows_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for name in [name for name in os.environ if name.startswith("CORRTOOL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    shutil.copy(TOUR, tmp_path)
    tour = nbformat.read(tmp_path / TOUR.name, as_version=4)
    shown = texts(tour.cells)

    run = nbclient.NotebookClient(
        tour, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    run.execute()

    printed = texts(tour.cells)
    check_returns(returns(printed[-1]))
    assert printed[:2] == shown[:2]
    assert [picture.shape[2] for picture in pictures(tour.cells)] == [3, 3]
    assert (tmp_path / "catch-lab" / "corrtool.toml").is_file()


def test_the_tour_comes_with_what_it_showed() -> None:
    nbformat = pytest.importorskip("nbformat")
    assert TOUR.stat().st_size < 500_000
    cells = nbformat.read(TOUR, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in code)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    check_returns(returns(texts(cells)[-1]))
    curve, states = pictures(cells)
    assert min(*curve.shape[:2], *states.shape[:2]) > 100
