"""``export`` and ``pull`` that are killed, and the next one to the same place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import ROOT, run_in_process
from support.hub import Hub

MEMORY = ("memory", "target-random")
# The command, which stops for good where it would move what it has written to its place. Of a
# shell's job in the background SIGINT is ignored, which its children inherit.
STOPS = """
import importlib, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
def stop(*_):
    print("written", flush=True)
    time.sleep(60)
module, name, *command = sys.argv[1:]
setattr(importlib.import_module(module), name, stop)
from corrtool.cli import main
main(command)
"""


def kill_while_writing(
    place: str, *command: object, cwd: Path, by: signal.Signals = signal.SIGKILL
) -> tuple[int, str]:
    """Run a command until it calls ``place``, as ``module:function``, and kill it there.

    Returns its exit code, and what it said on stderr.
    """
    env = {key: value for key, value in os.environ.items() if not key.startswith("CORRTOOL_")}
    process = subprocess.Popen(
        [sys.executable, "-c", STOPS, *place.split(":"), *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=env | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.send_signal(by)
    said = process.communicate()[1]
    return process.returncode, said


def partials(directory: Path) -> list[Path]:
    return list(directory.rglob(".*.partial"))


@pytest.mark.parametrize(
    ("place", "command"),
    [
        ("corrtool.exchange.npz:publish_file", (*MEMORY, "--to", "npz")),
        (
            "corrtool.exchange.minari:publish_directory",
            ("memory", "target-random", "--to", "minari"),
        ),
        ("corrtool.workflows.export:publish_file", ("q", "--to", "torch")),
    ],
    ids=["npz", "minari", "torch"],
)
def test_a_killed_export(
    place: str,
    command: tuple[str, ...],
    cartpole_lab: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    monkeypatch.chdir(tmp_path)
    export = ("export", *command, "-p", cartpole_lab, "--quiet")
    kill_while_writing(place, *export, cwd=tmp_path)
    assert len(partials(tmp_path)) == 1
    assert run_in_process(*export, "--dry-run") == 0
    assert len(partials(tmp_path)) == 1, "a dry run changes nothing"
    assert run_in_process(*export) == 0
    assert partials(tmp_path) == []


def test_a_killed_replacement_goes_although_the_file_stays(
    cartpole_lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    export = ("export", *MEMORY, "--to", "npz", "-p", cartpole_lab, "--quiet")
    assert run_in_process(*export) == 0
    kill_while_writing("corrtool.exchange.npz:publish_file", *export, "--overwrite", cwd=tmp_path)
    assert len(partials(tmp_path)) == 1
    assert run_in_process(*export) == 0, "it is there already"
    assert partials(tmp_path) == []


@pytest.mark.parametrize("place", ["hub_pull:_checked", "hub_pull:lock_artifacts"])
def test_a_killed_pull(place: str, hub: Hub, hub_lab: Path, tmp_path: Path) -> None:
    assert run_in_process("push", "somebody/lab", "-p", hub_lab, "--quiet") == 0
    back = tmp_path / "back"
    pull = ("pull", "somebody/lab", "-p", back, "--quiet")
    kill_while_writing(f"corrtool.exchange.{place}", *pull, cwd=tmp_path)
    assert len(partials(back)) == 1 and not (back / "weights").exists()
    assert run_in_process(*pull) == 0
    assert partials(back) == [] and (back / "weights").is_dir()

    weights = back / "weights" / "q" / "agent.safetensors"
    weights.unlink()
    (left := weights.with_name(f".{weights.name}.0a1b2c3d.partial")).write_bytes(b"half")
    assert run_in_process(*pull) == 0
    assert weights.exists() and not left.exists()


@pytest.mark.parametrize(("by", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_what_is_told_to_stop_tidies_up(
    by: signal.Signals, code: int, cartpole_lab: Path, tmp_path: Path
) -> None:
    lab = cartpole_lab
    export = ("export", *MEMORY, "--to", "npz", "-p", lab, "--output", tmp_path / "m.npz")
    said = (code, f"corrtool: interrupted by signal {by.value}; run the same command again\n")
    place = "corrtool.exchange.npz:publish_file"
    assert kill_while_writing(place, *export, cwd=tmp_path, by=by) == said
    assert partials(tmp_path) == []
    assert run_in_process(*export) == 0

    file = ("import", "memory", tmp_path / "m.npz", "--from", "npz", "--name", "back")
    taken = (*file, "--task", "target", "-p", lab, "--quiet")
    place = "corrtool.exchange.memory_import:publish_directory"
    assert kill_while_writing(place, *taken, cwd=tmp_path, by=by) == said
    assert partials(tmp_path) == [] and not (lab / "memories" / "back.zarr").exists()
    assert kill_while_writing(place, *taken, cwd=tmp_path)[0] == -signal.SIGKILL
    assert len(partials(lab)) == 1
    assert run_in_process(*taken) == 0
    assert partials(lab) == [] and run_in_process("verify", "-p", lab) == 0
