"""What ``corrtool doctor`` finds on this machine, and on broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import filelock
import pytest
import torch
from support.commands import run_in_process

from corrtool.workflows import doctor as doctor


def test_a_machine_that_passes_these_tests_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process("doctor", "-p", tmp_path, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["works"] and not [check for check in result["checks"] if not check["works"]]
    says = {check["subject"]: check["says"] for check in result["checks"]}
    assert (
        says["torch"] == torch.__version__
        and "Pong plays" in says["Atari"]
        and "device cpu" in says
    )
    assert not list(tmp_path.iterdir())
    assert run_in_process("doctor", "-p", tmp_path) == 0
    assert "atomic renames" in capsys.readouterr().out


def test_a_directory_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_in_process("doctor", "-p", tmp_path / "nowhere") == 2
    assert "--project" in capsys.readouterr().err


def test_what_fails_is_named_and_the_rest_is_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoLock:
        """A lock on a file system that ignores locks."""

        def __init__(self, *_: object, **__: object) -> None: ...
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(filelock, "FileLock", NoLock)
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 10**18)
    monkeypatch.setitem(doctor.PACKAGES, "zarr", "no_such_module")
    assert run_in_process("doctor", "-p", tmp_path, "--json") == 1
    checks = {check["subject"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert {name for name, check in checks.items() if not check["works"]} >= {
        "locks",
        "disk",
        "zarr",
    }
    assert "local disk" in checks["locks"]["says"] and "make room" in checks["disk"]["says"]
    assert "no_such_module" in checks["zarr"]["says"]
    assert checks["Atari"]["works"] and not list(tmp_path.iterdir())


def test_a_device_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.nn.functional.conv2d

    def noisy(pictures: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return whole(pictures, weights) * (1.0 if weights.dtype is torch.float64 else 1.1)

    monkeypatch.setattr(torch.nn.functional, "conv2d", noisy)
    with pytest.raises(RuntimeError, match="use another --device"):
        doctor._computes(torch.device("cpu"))
