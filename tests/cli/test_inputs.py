"""What a stage reads: named by a flag, the environment or ``corrtool.toml``, or missing so far."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import one_line_error, run_in_process

TINY = ("--preset", "tiny", "--quiet", "--device", "cpu")


def write_section(lab: Path, text: str) -> None:
    toml = lab / "corrtool.toml"
    toml.write_text(toml.read_text().partition("\n[train-model]")[0] + f"\n[train-model]\n{text}\n")


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        (("train-model",), ["memory of the source task"]),
        (
            ("learn-corr",),
            [
                "memory of the source task",
                "memory of the target task",
                "Q-function of the source task",
                "environment model of the source task",
            ],
        ),
        (
            ("learn-corr", "--lambda-m", "0", "--lambda-q", "0", "--eval-games", "0"),
            ["source task", "target task"],
        ),
        (("evaluate",), ["Q-function of the source task", "correspondence between its two tasks"]),
        (("evaluate", "--no-corr"), ["Q-function of the source task"]),
        (("finetune",), ["Q-function of the source task", "correspondence between its two tasks"]),
    ],
)
def test_a_dry_run_in_a_new_project_names_all_that_is_missing(
    cartpole: Callable[..., Path],
    command: tuple[str, ...],
    missing: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    lab = cartpole()
    capsys.readouterr()
    assert run_in_process(*command, "-p", lab, "--dry-run", "--json", "--seed", 3) == 0
    plan = json.loads(capsys.readouterr().out)
    assert len(plan["missing"]) == len(missing)
    assert all(
        words in told and "make it with" in told
        for words, told in zip(missing, plan["missing"], strict=True)
    )
    assert (plan["stage"], plan["seed"], plan["done"]) == (command[0], 3, False) and plan[
        "settings"
    ]
    assert run_in_process(*command, "-p", lab, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"cannot run yet: {command[0]}") and " = " in shown
    assert run_in_process(*command, "-p", lab) == 3  # the stage itself names all of them as well
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and all(words in error for words in missing)
    assert [path.name for path in lab.iterdir()] == ["corrtool.toml"]


def test_inputs_come_from_flag_then_environment_then_project(
    cartpole: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = cartpole()
    for name in ("a", "b", "c", "d"):
        assert run_in_process("collect", "-p", lab, *TINY, "--task", "source", "--name", name) == 0

    def memory(*flags: str) -> Any:
        capsys.readouterr()
        assert run_in_process("train-model", "-p", lab, "--dry-run", "--json", *flags) == 0
        plan = json.loads(capsys.readouterr().out)
        return plan["inputs"].get("source_memory") or plan["missing"]

    assert memory() == "memory d"  # the newest
    write_section(lab, 'memory = "a"\nepochs = 2')
    assert memory() == "memory a"
    monkeypatch.setenv("CORRTOOL_TRAIN_MODEL_MEMORY", "b")
    assert memory() == "memory b"
    assert memory("--memory", "c") == "memory c"
    monkeypatch.delenv("CORRTOOL_TRAIN_MODEL_MEMORY")
    write_section(lab, 'memory = "gone"')
    assert run_in_process("train-model", "-p", lab, "--dry-run") == 3  # it was named
    assert "there is no memory 'gone'" in one_line_error(capsys)
    for text, says in (
        ("memory = 3", "memory in corrtool.toml is 3"),
        ('q = "a"', "no setting 'q'"),
    ):
        write_section(lab, text)
        assert run_in_process("train-model", "-p", lab, "--dry-run") == 2
        assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [("evaluate", "--policy", "random"), ("evaluate", "--no-corr"), ("finetune", "--from-scratch")],
)
def test_a_flag_excludes_what_the_project_names(
    cartpole: Callable[..., Path], flags: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    with (lab / "corrtool.toml").open("a") as file:
        file.write(
            '\n[evaluate]\nq = "mine"\ncorr = "nothing"\n[finetune]\nq = "mine"\ncorr = "nothing"\n'
        )
    capsys.readouterr()
    reads_q = "--no-corr" in flags
    assert run_in_process(*flags, "-p", lab, "--dry-run", "--json") == (3 if reads_q else 0)
    error = capsys.readouterr().err
    assert "'nothing'" not in error and ("'mine'" in error) is reads_q
    assert (
        run_in_process("evaluate", "-p", lab, "--policy", "random", "--corr", "x", "--dry-run") == 2
    )
    assert run_in_process("evaluate", "-p", lab, "--no-corr", "--corr", "x", "--dry-run") == 2


def test_learn_corr_takes_all_its_inputs_from_the_project(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    with (lab / "corrtool.toml").open("a") as file:
        file.write(
            '\n[learn-corr]\nsource-memory = "w"\ntarget_memory = "x"\nmodel = "y"\nq = "z"\n'
        )
    capsys.readouterr()
    assert run_in_process("learn-corr", "-p", lab, "--dry-run", "--json") == 3
    assert re.findall(r"there is no [\w -]+ '(\w)'", one_line_error(capsys)) == [*"wxzy"]
