"""What is around a command: signals, closed streams, directories and homes that are not there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import run_in_process

TINY = ("--preset", "tiny", "--quiet", "--device", "cpu")


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP]
)
def test_a_signal_before_the_stage_listens_ends_with_the_documented_code(
    pong_lab: Path, number: int
) -> None:
    begin = (
        "import os, signal, sys, threading, time\n"
        # pytest may run under nohup, or in the background
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "from corrtool.cli import main\n"
        "def send():\n"
        "    time.sleep(0.1)\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "threading.Thread(target=send, daemon=True).start()\n"
        f"main(['verify', '-p', {str(pong_lab)!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", begin], capture_output=True, text=True, timeout=60)
    assert done.returncode == (130 if number == signal.SIGINT else 143)
    assert done.stderr.startswith("corrtool: interrupted") and done.stderr.count("\n") == 1


def test_what_was_ignored_stays_ignored() -> None:
    """``nohup`` ignores SIGHUP, and a shell's ``&`` in a script SIGINT."""
    begin = (
        "import os, signal\n"
        "ignored = (signal.SIGINT, signal.SIGHUP)\n"
        "for number in ignored:\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
        "from corrtool.cli import main\n"
        "from corrtool.runtime.signals import exit_on_signals, default_signal_handling\n"
        "from corrtool.runs.loop import StopSignals\n"
        "exit_on_signals()\n"
        "with StopSignals() as stop, default_signal_handling():\n"
        "    for number in ignored:\n"
        "        os.kill(os.getpid(), number)\n"
        "assert stop.received is None\n"
        "main(['--version'])\n"
    )
    done = subprocess.run([sys.executable, "-c", begin], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_stderr_leaves_stdout_alone(tmp_path: Path) -> None:
    command = f"{sys.executable} -m corrtool status -p {tmp_path}"
    done = subprocess.run(
        ["bash", "-c", f"{command} 2>&-"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (3, "")


def test_a_log_whose_reader_died_does_not_end_the_training(cartpole: Callable[..., Path]) -> None:
    lab = cartpole()
    command = f"{sys.executable} -m corrtool train-dqn -p {lab} --preset tiny --device cpu"
    command += " --env-steps 100 --learning-starts 40"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} 2>&1 >/dev/null | true"],
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0
    assert (lab / "weights" / "q" / "source-dqn.safetensors").exists()


@pytest.mark.parametrize(
    "arguments",
    [["doctor", "-p", b"b\xff"], ["evaluate", "--video", b"x\xff.mp4"], ["report", "-p", b"\xff"]],
)
def test_names_that_are_no_utf8_are_refused(arguments: list[Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "corrtool", *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "UTF-8" in done.stderr and done.stderr.count("\n") == 1


def test_links_in_a_circle_and_pipes_are_refused(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    (lab / "memories").mkdir()
    loop = lab / "memories" / "round.zarr"
    loop.symlink_to(loop)
    assert run_in_process("verify", "-p", lab) == 3
    assert "round.zarr: its links lead nowhere" in capsys.readouterr().out
    assert run_in_process("verify", "-p", loop) == 3
    (lab / "corrtool.toml").unlink()
    os.mkfifo(lab / "corrtool.toml")
    assert run_in_process("verify", "-p", lab) == 3
    assert "not a regular file" in capsys.readouterr().err


def test_a_name_that_no_file_system_takes_is_a_usage_error(
    pong_lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run_in_process(
            "evaluate", "-p", pong_lab, "--preset", "tiny", "--video", f"{'x' * 300}.gif"
        )
        == 2
    )
    assert "too long" in capsys.readouterr().err


def test_a_directory_that_was_removed_under_the_shell(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f"rmdir {gone} && exec {sys.executable} -m corrtool status"
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("CORRTOOL_")
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=gone,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and "current directory is gone" in done.stderr


_HOMELESS = """\
import json, os, sys
if 'HOME' not in os.environ:  # and no name in the list of users
    os.path.expanduser = lambda path: str(path).replace('~', os.environ.get('HOME', '~'))
from corrtool import cli
commands = json.loads(sys.argv[1])
run, codes = cli.run, []
def each(_):
    for command, variables in commands:
        os.environ.update(variables)
        print(run(command), file=sys.stderr)
    return 0
cli.run = each
cli.main([])
"""


@pytest.mark.parametrize("home", ["/dev/null/nowhere", None])
def test_without_a_home_nothing_crashes_and_nothing_is_said(
    tmp_path: Path, home: str | None
) -> None:
    """Matplotlib's cache and the memory of what is trusted have no place then.

    ``CORRTOOL_TRUST`` still speaks. What ``init`` trusts counts in its own process, so the others
    are in a second one, one after another.
    """
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "homeless.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        'gymnasium.register("Homeless-v0", CartPoleEnv, max_episode_steps=20)\n'
    )
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("CORRTOOL_", "XDG_", "MPL"))
    }
    clean["PYTHONPATH"] = f"{tmp_path / 'code'}{os.pathsep}{clean.get('PYTHONPATH', '')}"
    if home is None:
        clean.pop("HOME", None)
    else:
        clean["HOME"] = home

    def said(*commands: tuple[list[str], dict[str, str]]) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", _HOMELESS, json.dumps(commands)],
            cwd=tmp_path,
            env=clean,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()

    init = ["init", "lab", "--source", "homeless:Homeless-v0", "--quiet"]
    assert said((init, {})) == ["0"]
    collect, trusting = ["collect", "-p", "lab", *TINY], {"CORRTOOL_TRUST": "homeless"}
    report = ["report", "-p", "lab", "--quiet"]
    error, *codes = said((collect, {}), (collect, trusting), (report, trusting))
    assert "set CORRTOOL_TRUST=homeless" in error and codes == ["2", "0", "0"]
    assert {path.name for path in tmp_path.iterdir()} == {"code", "lab"}
