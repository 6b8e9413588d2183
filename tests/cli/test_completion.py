"""Completion in real shells, installed as docs/start.md says; one that is not here is skipped."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from support.commands import newcomer

EXPECTED = {"train-dqn", "train-model", "transfer"}  # what begins with tr
BASH = """
source ~/.bashrc
COMP_WORDS=(corrtool tr) COMP_CWORD=1
_corrtool_completion corrtool tr corrtool
printf '%s\\n' "${COMPREPLY[@]}"
complete -p corrtool
"""


def installed(shell: str, directory: Path) -> dict[str, str]:
    """The environment of somebody who has asked for completion in this shell."""
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    env = newcomer(directory) | {"SHELL": str(shutil.which(shell)), "TERM": "xterm"}
    # Not the last command: a shell replaces itself by that, and corrtool asks who called it.
    done = subprocess.run(
        [shell, "-c", "corrtool --install-completion; true"],
        env=env,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert f"{shell} completion installed in" in done.stdout, done.stdout + done.stderr
    return env


def test_bash(tmp_path: Path) -> None:
    env = installed("bash", tmp_path)
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH], env=env, capture_output=True, text=True, timeout=60
    )
    *found, registered = done.stdout.split("\n")[:-1]
    assert {*found} == EXPECTED, done.stderr
    assert registered.endswith("-F _corrtool_completion corrtool")


def test_fish(tmp_path: Path) -> None:
    env = installed("fish", tmp_path)
    done = subprocess.run(
        ["fish", "-c", "complete -C 'corrtool tr'"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert {line.split("\t")[0] for line in done.stdout.splitlines()} == EXPECTED, done.stderr


def test_zsh(tmp_path: Path) -> None:
    """It completes only where somebody types, so somebody does.

    The first Tab of a session loads what Typer has installed, and the second completes.
    """
    env = installed("zsh", tmp_path)
    screen = typed("zsh", "corrtool tr", "\t", EXPECTED, env)
    assert all(word in screen for word in EXPECTED), screen


def typed(shell: str, words: str, key: str, expected: set[str], env: dict[str, str]) -> str:
    """What an interactive shell shows after these words and a key, pressed until all is there."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [shell, "-i"], stdin=follower, stdout=follower, stderr=follower, env=env, close_fds=True
    )
    os.close(follower)
    try:
        shown = until(leader, {"% ", "# "}, 30)  # its prompt
        os.write(leader, words.encode())
        for _ in range(20):  # the first says nothing: it is no use to wait for long
            os.write(leader, key.encode())
            shown = until(leader, expected, 2)
            if all(word in shown for word in expected):
                break
        return shown
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def until(descriptor: int, wanted: set[str], seconds: float) -> str:
    """What comes from a terminal until it falls silent with one of these, or time is over."""
    shown, end = "", time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([descriptor], [], [], 0.5)[0]:
            shown += os.read(descriptor, 65_536).decode(errors="replace")
        elif any(word in shown for word in (*wanted, "\a")):
            break
    return shown
