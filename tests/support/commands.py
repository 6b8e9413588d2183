"""The command line, in a process of its own and in this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run_corrtool(
    *arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None
) -> Outcome:
    """Run the command line in a process of its own."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("CORRTOOL_")}
    done = subprocess.run(
        [sys.executable, "-m", "corrtool", *map(str, arguments)],
        cwd=cwd,
        env=clean | (env or {}),
        capture_output=True,
        text=True,
        timeout=280,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def newcomer(directory: Path) -> dict[str, str]:
    """The environment of somebody whose home is new and whose ``corrtool`` is this checkout's."""
    home, command = directory / "home", directory / "bin" / "corrtool"
    home.mkdir()
    command.parent.mkdir()
    path = f'PYTHONPATH="{ROOT}:$PYTHONPATH"'
    command.write_text(f'#!/bin/sh\n{path} exec {sys.executable} -m corrtool "$@"\n')
    command.chmod(0o755)
    env = {key: value for key, value in os.environ.items() if not key.startswith("CORRTOOL_")}
    env |= {"PATH": f"{command.parent}:{env['PATH']}", "PYTHONPATH": ""}
    return env | {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}


def run_in_process(*arguments: object) -> int:
    """Run the command line in this process.

    It is the same code without the seconds that importing torch takes.
    """
    from corrtool.cli import run

    return run([str(argument) for argument in arguments])


def run_python(code: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, which finds this checkout's corrtool."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("CORRTOOL_")}
    env["PYTHONPATH"] = str(ROOT)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, timeout=280
    )


def one_line_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The error that was printed, which is one line and no traceback."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("corrtool: "), lines
    return lines[0]


def run_interrupted(
    lab: Path,
    *arguments: object,
    logged: bool = False,
    seconds: float = 1.0,
    number: int = signal.SIGTERM,
) -> int:
    """Run a stage in this process and interrupt it.

    The signal comes ``seconds`` after its loop has begun, or has ``logged`` something. Before its
    loop works a signal would end this process.
    """
    record = lab / "runs" / str(arguments[0])

    def stop() -> None:
        while not getattr(
            getattr(signal.getsignal(signal.SIGTERM), "__self__", None), "polled", False
        ):
            time.sleep(0.02)
        while logged and not any(path.stat().st_size for path in record.glob("*/metrics.jsonl")):
            time.sleep(0.02)
        time.sleep(seconds)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=stop)
    thread.start()
    code = run_in_process(*arguments, "-p", lab)
    thread.join()
    return code


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def run_example(name: str, *arguments: object) -> Outcome:
    """Run a script of `examples/` with this interpreter's `corrtool` on the path."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("CORRTOOL_")}
    clean["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{clean['PATH']}"
    script = ROOT / "examples" / name
    done = subprocess.run(
        ["bash", str(script), *map(str, arguments)], env=clean, capture_output=True, text=True
    )
    return Outcome(done.returncode, done.stdout, done.stderr)
