"""Repositories of the Hub that are not what push made."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.commands import one_line_error, run_in_process
from support.hub import REPOSITORY, WEIGHTS, Hub, pushed

from corrtool.files.sealed import seal_tensors


@pytest.mark.parametrize(
    ("path", "content", "what"),
    [
        ("weights/q/../../../evil.safetensors", b"x", "a place outside"),
        ("/etc/evil", b"x", "a place outside"),
        ("weights\\q\\evil.safetensors", b"x", "a place outside"),
        ("weights/q/evil.pkl", b"x", "no file of corrtool's"),
        ("weights/evil/a.safetensors", b"x", "no file of corrtool's"),
        ("weights/q/.evil.safetensors", b"x", "no file of corrtool's"),
        ("memories/evil", b"x", "no file of corrtool's"),
        ("weights/q/linked.safetensors", b"../../../etc/passwd", "linked.safetensors is damaged"),
        ("memories/m.zarr/zarr.json", b"{}", "corrtool.json is missing"),
    ],
)
def test_a_hostile_repository_is_refused(
    hub: Hub,
    lab: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    path: str,
    content: bytes,
    what: str,
) -> None:
    pushed(lab)
    hub.commit(REPOSITORY, hub.files(REPOSITORY) | {path: content})
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back") == 3
    assert what in one_line_error(capsys)
    assert not (tmp_path / "back").exists() and not (tmp_path / "evil.safetensors").exists()


def test_more_than_is_ever_pushed_is_not_downloaded(
    hub: Hub,
    lab: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pushed(lab)
    monkeypatch.setattr("corrtool.exchange.hub_pull.MOST_BYTES", 1_000)
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back") == 3
    assert "more than corrtool pulls" in one_line_error(capsys)
    assert not any("/resolve/" in line for line in hub.asked)


def test_weights_that_are_not_finite_are_refused(
    hub: Hub, lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed(lab)
    nan = seal_tensors({"w": torch.tensor([float("nan")])}, {"kind": "q", "sha256": "0" * 64})
    hub.commit(REPOSITORY, hub.files(REPOSITORY) | {WEIGHTS[2]: nan})
    assert run_in_process("pull", REPOSITORY, "-p", tmp_path / "back") == 3
    assert "holds NaN or infinity" in one_line_error(capsys)
