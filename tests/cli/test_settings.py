"""Where the settings of a command come from: flags, environment variables, ``corrtool.toml``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.commands import one_line_error, run_in_process

TINY = ("--preset", "tiny", "--quiet", "--device", "cpu")


def test_mistakes_in_corrtool_toml_are_usage_errors(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    good = (lab / "corrtool.toml").read_text()
    for text in (
        "= nonsense",
        "[learn-corr]\nlambda_z = 1",
        "[nowhere]\nx = 1",
        '[defaults]\nseed = "one"',
        "[collect]\nrecords = 1.5",
        "[[evaluate]]\ngames = 2",
        "[learn-corr]\nlambda_q = " + "9" * 5_000,
        "[learn-corr]\nlambda_q = " + "[" * 3_000,
    ):
        (lab / "corrtool.toml").write_text(good + "\n" + text + "\n")
        stage = "collect" if "collect" in text or "defaults" in text else "learn-corr"
        assert run_in_process(stage, "-p", lab, "--dry-run") == 2, text
        one_line_error(capsys)


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


def test_settings_come_from_flag_then_environment_then_project_then_preset(
    cartpole: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = cartpole()

    def records(*flags: str) -> int:
        assert run_in_process("collect", "-p", lab, "--dry-run", "--json", *flags) == 0
        return int(json.loads(capsys.readouterr().out)["settings"]["records"])

    assert records() == 10_000
    assert records("--preset", "tiny") == 400
    with (lab / "corrtool.toml").open("a") as file:
        file.write("\n[collect]\nrecords = 7\n")
    assert records("--preset", "tiny") == 7
    monkeypatch.setenv("CORRTOOL_COLLECT_RECORDS", "8")
    assert records() == 8
    assert records("--records", "9") == 9


def test_a_bad_environment_variable_is_named(
    cartpole: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = cartpole()
    for variable, value in [
        ("CORRTOOL_COLLECT_RECORDS", "many"),
        ("CORRTOOL_COLLECT_RECORDS", "0"),
        ("CORRTOOL_SEED", "-1"),
    ]:
        with monkeypatch.context() as environment:
            environment.setenv(variable, value)
            assert run_in_process("collect", "-p", lab) == 2
            assert one_line_error(capsys).count(variable) == 1


def test_a_flag_comes_before_the_environment_even_where_two_settings_exclude_each_other(
    pong_lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def length(*flags: str) -> tuple[int | None, int]:
        assert (
            run_in_process(
                "learn-corr", "-p", pong_lab, "--dry-run", "--json", "--name", "x", *flags
            )
            == 0
        )
        settings = json.loads(capsys.readouterr().out)["settings"]
        return settings["gradient_steps"], settings["epochs"]

    monkeypatch.setenv("CORRTOOL_LEARN_CORR_EPOCHS", "2")
    assert length() == (None, 2)
    assert length("--gradient-steps", "5") == (5, 2)
    monkeypatch.delenv("CORRTOOL_LEARN_CORR_EPOCHS")
    monkeypatch.setenv("CORRTOOL_LEARN_CORR_GRADIENT_STEPS", "3")
    assert length() == (3, 1)
    assert length("--epochs", "9") == (None, 9)
    assert (
        run_in_process(
            "learn-corr", "-p", pong_lab, "--dry-run", "--epochs", 9, "--gradient-steps", 3
        )
        == 2
    )
    assert "--epochs has no effect" in one_line_error(capsys)


def test_a_misspelt_environment_variable_is_refused(
    pong_lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRTOOL_LEARN_CORR_LAMDA_M", "3")
    assert run_in_process("learn-corr", "-p", pong_lab, "--dry-run", "--name", "x") == 2
    assert "did you mean CORRTOOL_LEARN_CORR_LAMBDA_M?" in one_line_error(capsys)
    assert (
        run_in_process("collect", "-p", pong_lab, "--dry-run", "--name", "x") == 2
    )  # another stage's, and misspelt all the same


def test_a_misspelt_variable_of_another_stage_is_refused(
    cartpole: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CORRTOOL_SEEED", "1")
    assert run_in_process("collect", "-p", cartpole(), *TINY) == 2
    assert "did you mean CORRTOOL_SEED?" in capsys.readouterr().err


def test_quickstart_reads_the_defaults_of_its_project(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (pong_copy / "corrtool.toml").open("a") as file:
        file.write('\n[defaults]\ndevice = "cuda:7"\n')
    assert run_in_process("quickstart", pong_copy) == 4
    assert "cuda:7" in one_line_error(capsys)


def test_a_byte_order_mark_is_no_text(cartpole: Callable[..., Path], tmp_path: Path) -> None:
    """Notepad writes one at the beginning of a file."""
    view = tmp_path / "map.json"
    view.write_text(json.dumps({"matrix": np.eye(4).tolist()}), encoding="utf-8-sig")
    lab = cartpole(f"affine:{view}")
    toml = lab / "corrtool.toml"
    toml.write_text(toml.read_text(), encoding="utf-8-sig")
    assert run_in_process("collect", "-p", lab, "--preset", "tiny", "--quiet") == 0
    tables = tmp_path / "tables.md"
    tables.write_text("# Mine\n", encoding="utf-8-sig")
    assert run_in_process("report", "-p", lab, "--markdown", tables, "--append", "--quiet") == 0
    assert tables.read_bytes().startswith(b"# Mine\n")
