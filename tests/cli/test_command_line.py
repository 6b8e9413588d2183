"""The command line from outside: help, exit codes, one-line errors, pure JSON."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import one_line_error, run_corrtool, run_in_process

STAGES = ("collect", "train-dqn", "train-model", "learn-corr", "evaluate", "finetune")


COMMANDS = (
    "init",
    *STAGES,
    "explain",
    "export",
    "status",
    "verify",
    "doctor",
    "quickstart",
    "transfer",
    "sweep",
)


def test_help_imports_neither_torch_nor_gymnasium() -> None:
    code = (
        "import sys, corrtool.cli\n"
        "print([m for m in ('torch', 'gymnasium', 'zarr') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_in_process(command, "--help") == 0
    assert command in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["learn-corr", "--lambda-q", "-1"], 2, "--lambda-q"),
        (["learn-corr", "--lambda-q", "nan"], 2, "--lambda-q"),
        (["learn-corr", "--generator", "cubist"], 2, "cubist"),
        (["learn-corr", "--generator", "linear", "--name", "x"], 2, "linear"),
        (["collect", "--records", "0"], 2, "--records"),
        (["collect", "--records", "many"], 2, "--records"),
        (["collect", "--policy", "human"], 2, "--policy"),
        (["collect", "--policy", "q:nobody", "--name", "x"], 3, "nobody"),
        (["train-dqn", "--no-replay"], 2, "--n-step"),
        (["train-dqn", "--no-such-flag"], 2, "no-such-flag"),
        (["train-dqn", "--architecture", "mlp", "--name", "x"], 2, "mlp"),
        (["train-dqn", "--preset", "huge"], 2, "huge"),
        (["train-dqn", "--name", "../../etc"], 2, "../../etc"),
        (["train-dqn", "--device", "cuda:7", "--name", "x"], 4, "cuda:7"),
        (["train-dqn", "--device", "abacus"], 2, "abacus"),
        (["train-dqn", "--device", ""], 2, "--device"),
        (["reproduce", "experiment-1", "--preset", ""], 2, "there is no preset ''"),
        (["train-model", "--memory", "nothing"], 3, "nothing"),
        (["train-model", "--max-minutes", "0"], 2, "--max-minutes"),
        (["transfer", "--budget", "20"], 2, "--budget"),
        (["transfer", "--games", "0"], 2, "--games"),
        (["transfer", "--preset", "huge"], 2, "huge"),
        (["transfer", "--device", "cuda:7"], 4, "cuda:7"),
        (["transfer", "--from-q", "nobody"], 3, "nobody"),
        (["evaluate", "--corr", "nothing"], 3, "nothing"),
        (["evaluate", "--corr", "resnet-cyc1-q1-m1", "--no-corr"], 2, "--no-corr"),
        (["evaluate", "--policy", "random", "--q", "source-dqn"], 2, "--policy random"),
        (["evaluate", "--q", "nobody"], 3, "nobody"),
        (["finetune", "--from-scratch", "--no-corr"], 2, "--from-scratch"),
        (["collect", "--preset", "tiny", "--records", "401"], 2, "--overwrite"),
        (["collect", "--preset", "tiny", "--records", "401", "--dry-run"], 2, "--overwrite"),
    ],
)
def test_bad_input_is_one_line_and_the_documented_code(
    pong_lab: Path, arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process(*arguments, "-p", pong_lab) == code
    assert says in one_line_error(capsys)


def test_a_directory_that_is_no_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("status", "verify", "explain", "transfer", *STAGES):
        assert run_in_process(command, "-p", tmp_path) == 3
        assert "not a corrtool project" in one_line_error(capsys)


def test_a_dry_run_of_what_is_done_says_so(
    pong_lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process("collect", "-p", pong_lab, "--preset", "tiny", "--dry-run") == 0
    assert "is done already" in capsys.readouterr().out


def test_tiny_says_that_nothing_learns(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    assert run_in_process("collect", "-p", lab, "--preset", "tiny") == 0
    assert "nothing learns" in capsys.readouterr().err
    assert run_in_process("collect", "-p", lab, "--records", 100, "--name", "few") == 0
    assert "nothing learns" not in capsys.readouterr().err


def test_what_finetune_made_can_be_played_as_it_says_and_is_reported(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process("finetune", "-p", pong_copy, "--preset", "tiny") == 0
    name = capsys.readouterr().out.split("'corrtool evaluate --q ")[1].split("'")[0]
    assert run_in_process("evaluate", "-p", pong_copy, "--preset", "tiny", "--q", name) == 0
    assert (
        run_in_process("report", "-p", pong_copy, "--markdown", pong_copy / "tables.md", "--quiet")
        == 0
    )
    table = (pong_copy / "tables.md").read_text().split("### Learning on the target")[1]
    assert "2 games" in table.split("###")[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["quickstart", "", "--preset", "tiny"],
        ["init", "", "--source", "CartPole-v1"],
        ["status", "-p", ""],
        ["collect", "--project", ""],
    ],
)
def test_an_empty_directory_name_is_not_the_current_directory(
    tmp_path: Path,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_in_process(*arguments) == 2
    assert "empty" in one_line_error(capsys)
    assert not list(tmp_path.iterdir())


def test_dry_run_writes_nothing(cartpole: Callable[..., Path]) -> None:
    lab = cartpole()
    assert run_in_process("train-dqn", "-p", lab, "--dry-run", "--quiet") == 0
    assert [path.name for path in lab.iterdir()] == ["corrtool.toml"]


def test_json_is_alone_on_stdout_and_progress_is_on_stderr(cartpole: Callable[..., Path]) -> None:
    lab = cartpole()
    done = run_corrtool("evaluate", "--policy", "random", "--games", 1, "--json", cwd=lab)
    assert done.code == 0
    assert done.json["policy"] == "random" and done.json["corr"] is None
    assert "1/1 games" in done.err
    quiet = run_corrtool(
        "evaluate", "--policy", "random", "--games", 1, "--quiet", "--seed", 1, cwd=lab
    )
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_weights_of_another_task_are_refused(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = pong_copy / "corrtool.toml"
    toml.write_text(toml.read_text().replace('id = "ALE/Pong-v5"', 'id = "ALE/Breakout-v5"'))
    assert run_in_process("evaluate", "-p", pong_copy, "--q", "source-dqn", "--no-corr") == 3
    assert "another task" in one_line_error(capsys)


def test_the_same_command_again_says_that_it_is_done(
    pong_lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (pong_lab / "weights" / "model" / "source-dqn.safetensors").stat().st_mtime_ns
    assert run_in_process("train-model", "-p", pong_lab, "--preset", "tiny") == 0
    captured = capsys.readouterr()
    assert "done already" in captured.err and "held-out records" in captured.out
    assert (pong_lab / "weights" / "model" / "source-dqn.safetensors").stat().st_mtime_ns == before
