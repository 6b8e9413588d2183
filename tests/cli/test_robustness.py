"""What went wrong once, and must not again: divergence, environments that misbehave, damaged runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.commands import files_of, run_in_process

TINY = ("--preset", "tiny", "--quiet", "--device", "cpu")


class Misbehaving(gymnasium.Env[Any, Any]):
    """A two-dimensional environment that does one thing wrong in its fifteenth step, after those that ``init`` plays."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        now = self.steps >= 15
        if now and self.fault == "raises":
            raise ValueError("boom")
        observation = np.full(2, np.nan if now and self.fault == "observation" else 0.5, np.float32)
        return (
            observation,
            float("nan") if now and self.fault == "reward" else 1.0,
            False,
            False,
            {},
        )


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    gymnasium.register("Misbehaving-v0", Misbehaving)


@pytest.mark.parametrize(
    ("fault", "says"),
    [("raises", "boom"), ("observation", "not a number"), ("reward", "not a number")],
)
def test_an_environment_that_misbehaves_ends_the_stage_and_is_named(
    tmp_path: Path, fault: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = tmp_path / "lab"
    assert (
        run_in_process(
            "init", lab, "--source", "Misbehaving-v0", "--source-kwarg", f"fault={fault}", "--quiet"
        )
        == 0
    )
    for stage in ("train-dqn", "collect"):
        assert run_in_process(stage, "-p", lab, *TINY) == 1
        error = capsys.readouterr().err
        assert says in error and "Misbehaving-v0" in error and error.count("\n") == 1
    assert not list((lab / "memories").glob("*")) if (lab / "memories").exists() else True


@pytest.mark.parametrize(
    "command",
    [
        (
            "train-dqn",
            "--learning-rate",
            1e30,
            "--optimizer",
            "sgd",
            "--loss",
            "squared",
            "--max-gradient-norm",
            0,
        ),
        ("train-model", "--learning-rate", 1e30),
        ("learn-corr", "--learning-rate", 1e30, "--eval-games", 0),
    ],
    ids=lambda command: command[0],
)
def test_weights_that_diverged_are_never_written(
    cartpole: Callable[..., Path], command: tuple[Any, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    for stage in ("train-dqn", "collect", "train-model")[
        : {"train-dqn": 0, "train-model": 1, "learn-corr": 3}[command[0]]
    ]:
        assert run_in_process(stage, "-p", lab, *TINY) == 0
    before = sorted((lab / "weights").rglob("*.safetensors")) if (lab / "weights").exists() else []
    assert run_in_process(*command, "-p", lab, *TINY, "--name", "boom") == 1
    assert re.search("NaN or infinite|became nan|became inf", capsys.readouterr().err)
    assert [p for p in sorted((lab / "weights").rglob("*.safetensors")) if p not in before] == []


def test_damaged_weights_are_not_done_already(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pong_copy / "weights" / "model" / "source-dqn.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert run_in_process("train-model", "-p", pong_copy, *TINY) == 3
    assert "source-dqn.safetensors is damaged" in capsys.readouterr().err
    assert run_in_process("train-model", "-p", pong_copy, *TINY, "--overwrite") == 0


def test_dry_run_names_its_inputs(pong_lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_in_process("learn-corr", "-p", pong_lab, "--dry-run", "--json", "--name", "x") == 0
    assert json.loads(capsys.readouterr().out)["inputs"]["q"] == "q source-dqn"


def test_names_are_refused_before_the_work(pong_lab: Path) -> None:
    assert run_in_process("learn-corr", "-p", pong_lab, *TINY, "--name", "x" * 100) == 2


def test_a_file_in_the_way_of_a_project_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run_in_process("init", tmp_path / "file" / "lab", "--source", "CartPole-v1") == 2


def test_a_project_in_a_directory_that_looks_like_markup(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = tmp_path / "a[/b]"
    assert run_in_process("init", lab, "--source", "CartPole-v1", "--quiet") == 0
    assert run_in_process("status", "-p", lab) == 0
    assert "[/b]" in capsys.readouterr().out


def test_an_overwrite_that_fails_leaves_the_finished_run(cartpole: Callable[..., Path]) -> None:
    lab = cartpole()
    assert run_in_process("collect", "-p", lab, *TINY) == 0
    run, memory = (
        lab / "runs" / "collect" / "target-random",
        lab / "memories" / "target-random.zarr",
    )
    before = files_of(run), files_of(memory)
    text = (lab / "corrtool.toml").read_text()
    (lab / "corrtool.toml").write_text(
        text.replace("CartPole-v1", "Misbehaving-v0") + '\n[target.kwargs]\nfault = "raises"\n'
    )
    assert run_in_process("collect", "-p", lab, *TINY, "--overwrite", "--records", 500) == 1
    (lab / "corrtool.toml").write_text(text)
    assert (files_of(run), files_of(memory)) == before
    assert [path.name for path in run.parent.iterdir()] == ["target-random"]
    assert run_in_process("collect", "-p", lab, *TINY) == 0


def test_a_process_that_died_right_after_stepping_aside_is_undone(
    cartpole: Callable[..., Path],
) -> None:
    lab = cartpole()
    assert run_in_process("collect", "-p", lab, *TINY) == 0
    run = lab / "runs" / "collect" / "target-random"
    before = files_of(run)
    run.rename(run.with_name(".target-random.replaced"))
    run.mkdir()
    assert run_in_process("collect", "-p", lab, *TINY) == 0
    assert files_of(run) == before


def test_a_dry_run_finds_a_damaged_input(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pong_copy / "weights" / "model" / "source-dqn.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert (
        run_in_process(
            "learn-corr", "-p", pong_copy, "--preset", "tiny", "--name", "x", "--dry-run"
        )
        == 3
    )
    assert "source-dqn.safetensors is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP]
)
def test_a_signal_before_the_stage_listens_ends_with_the_documented_code(
    pong_lab: Path, number: int
) -> None:
    begin = (
        "import os, signal, sys, threading, time\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # pytest may run under nohup, or in the background
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
        "from corrtool.cli import main\n"
        f"threading.Thread(target=lambda: (time.sleep(0.1), os.kill(os.getpid(), {int(number)})), daemon=True).start()\n"
        f"main(['verify', '-p', {str(pong_lab)!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", begin], capture_output=True, text=True, timeout=60)
    assert done.returncode == (130 if number == signal.SIGINT else 143)
    assert done.stderr.startswith("corrtool: interrupted") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_was_ignored_stays_ignored(number: int) -> None:
    """``nohup`` ignores SIGHUP, and a shell's ``&`` in a script SIGINT."""
    begin = (
        "import os, signal\n"
        f"signal.signal({int(number)}, signal.SIG_IGN)\n"
        "from corrtool.cli import main\n"
        "from corrtool.runtime.signals import exit_on_signals, default_signal_handling\n"
        "from corrtool.runs.loop import StopSignals\n"
        "exit_on_signals()\n"
        "with StopSignals() as stop, default_signal_handling():\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[source.kwargs]\nday = 2026-01-01\n", "[source.kwargs] holds a date"),
        ("[defaults]\nseed = -1\n", "[defaults] seed is -1"),
        ('[defaults]\npreset = "huge"\n', "[defaults] preset is 'huge'"),
        ('[defaults]\ndevice = "gpu"\n', "[defaults] device is 'gpu'"),
        ("[learn-corr]\nlambda_q = 1\nlambda-q = 2\n", "given twice"),
        ("[learn-corr]\nbatch_size = 1_000_000_000\n", "at most 65536"),
    ],
)
def test_a_bad_value_is_named_where_it_stands(
    cartpole: Callable[..., Path], text: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    with (lab / "corrtool.toml").open("a") as file:
        file.write(f"\n{text}")
    assert run_in_process("learn-corr", "-p", lab) == 2
    assert says in capsys.readouterr().err


def test_a_misspelt_variable_of_another_stage_is_refused(
    cartpole: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CORRTOOL_SEEED", "1")
    assert run_in_process("collect", "-p", cartpole(), *TINY) == 2
    assert "did you mean CORRTOOL_SEED?" in capsys.readouterr().err


@pytest.mark.parametrize("home", ["/dev/null/nowhere", None])
def test_without_a_home_nothing_crashes_and_nothing_is_said(
    tmp_path: Path, home: str | None
) -> None:
    """Matplotlib's cache and the memory of what is trusted have no place then. ``CORRTOOL_TRUST`` still speaks."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "homeless.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        'gymnasium.register("Homeless-v0", CartPoleEnv, max_episode_steps=20)\n'
    )
    begin = [sys.executable, "-m", "corrtool"]
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("CORRTOOL_", "XDG_", "MPL"))
    }
    clean["PYTHONPATH"] = f"{tmp_path / 'code'}{os.pathsep}{clean.get('PYTHONPATH', '')}"
    if home is None:  # and no name in the list of users
        clean.pop("HOME", None)
        nameless = (
            "import os\n"
            "os.path.expanduser = lambda path: str(path).replace('~', os.environ.get('HOME', '~'))\n"
            "from corrtool.cli import main\n"
            "main()\n"
        )
        begin = [sys.executable, "-c", nameless]
    else:
        clean["HOME"] = home

    def outcome(*arguments: str, **variables: str) -> tuple[int, str]:
        done = subprocess.run(
            [*begin, *arguments],
            cwd=tmp_path,
            env=clean | variables,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stderr

    assert outcome("init", "lab", "--source", "homeless:Homeless-v0", "--quiet") == (0, "")
    collect = ("collect", "-p", "lab", *TINY)
    code, error = outcome(*collect)
    assert code == 2 and error.count("\n") == 1 and "set CORRTOOL_TRUST=homeless" in error
    assert outcome(*collect, CORRTOOL_TRUST="homeless") == (0, "")
    assert outcome("report", "-p", "lab", "--quiet", CORRTOOL_TRUST="homeless") == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"code", "lab"}
