"""The starts that a run keeps until it has a checkpoint."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.found_starts import FoundStarts
from corrtool.correspondence.linear_start import LinearStart
from corrtool.correspondence.spatial_starts import Start
from corrtool.correspondence.tones import Tone
from corrtool.files.sealed import seal_json
from corrtool.runs.records import STARTS

SPATIAL = Start(-93.0, True, Tone((1, 0), (-1.0, 0.5), (0.0, 0.25)), ActionMap((1, 0), 2))
LINEAR = LinearStart(torch.eye(2) / 3, torch.ones(2) / 7, ActionMap((0, 1), 2), 0.125, True)


def run_in(directory: Path, fingerprint: str = "mine") -> Any:
    return SimpleNamespace(directory=directory, request=SimpleNamespace(fingerprint=fingerprint))


def test_what_a_run_found_it_has_again_after_a_kill(tmp_path: Path) -> None:
    found = FoundStarts(run_in(tmp_path), kept=True)
    assert found.get("angles") is None
    found.add("angles", SPATIAL)
    found.add("maps", LINEAR)
    again = FoundStarts(run_in(tmp_path), kept=True)
    assert again.get("angles") == SPATIAL
    linear = again.get("maps")
    assert isinstance(linear, LinearStart) and linear.state() == LINEAR.state()
    assert FoundStarts(run_in(tmp_path, "another's"), kept=True).get("angles") is None


def test_what_is_not_kept_is_shared_all_the_same(tmp_path: Path) -> None:
    found = FoundStarts(run_in(tmp_path), kept=False)
    found.add("angles", SPATIAL)
    assert found.get("angles") is SPATIAL and list(tmp_path.iterdir()) == []


def test_what_a_search_that_was_cut_short_found_is_gone_after_a_kill(tmp_path: Path) -> None:
    found = FoundStarts(run_in(tmp_path), kept=True)
    found.add("angles", SPATIAL, cut=True)
    assert found.get("angles") is SPATIAL and not (tmp_path / STARTS).exists()
    found.add("maps", LINEAR)
    again = FoundStarts(run_in(tmp_path), kept=True)
    assert again.get("angles") is None and again.get("maps") is not None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        seal_json({"fingerprint": "mine"}),
        seal_json({"fingerprint": "mine", "starts": [1]}),
        seal_json({"fingerprint": "mine", "starts": {"angles": {"kind": "spatial"}}}),
        seal_json({"fingerprint": "mine", "starts": {"angles": {"kind": "none"}}}),
        seal_json({"fingerprint": "mine", "starts": {"angles": {"kind": "linear", "weight": {}}}}),
    ],
)
def test_a_file_that_is_damaged_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STARTS).write_bytes(content)
    assert FoundStarts(run_in(tmp_path), kept=True).get("angles") is None


@given(
    degrees=st.floats(-360, 360),
    mirrored=st.booleans(),
    gain=st.none() | st.floats(-2, 2),
    actions=st.none() | st.lists(st.integers(0, 2), min_size=1, max_size=4),
)
def test_a_spatial_start_comes_back_as_it_was(
    degrees: float, mirrored: bool, gain: float | None, actions: list[int] | None
) -> None:
    tone = None if gain is None else Tone((0,), (gain,), (0.0,))
    action_map = None if actions is None else ActionMap(tuple(actions), 3)
    start = Start(degrees, mirrored, tone, action_map)
    assert Start.from_state(start.state()) == start
