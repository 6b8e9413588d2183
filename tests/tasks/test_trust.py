"""``module:Id`` runs code: that of installed packages, or what the user said may run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import run_corrtool, run_in_process

from corrtool.cli import run
from corrtool.tasks.trust import module_of, untrusted_origin

MODULE = """
from pathlib import Path
Path(__file__).with_name("it-ran").touch()
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv
gymnasium.register("Stranger-v0", CartPoleEnv)
"""


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on the path with a module of an environment, in a home of its own.

    Gives the file that the module leaves.
    """
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("CORRTOOL_TRUST", raising=False)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "stranger.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    yield tmp_path / "code" / "it-ran"
    sys.modules.pop("stranger", None)


def project(directory: Path) -> Path:
    """A project that somebody else made."""
    directory.mkdir()
    (directory / "corrtool.toml").write_text(
        '[source]\nid = "stranger:Stranger-v0"\n[target]\nid = "stranger:Stranger-v0"\n'
    )
    return directory


def test_a_project_from_elsewhere_runs_nothing(
    stranger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = project(tmp_path / "lab")
    for command in (
        ["status"],
        ["train-dqn", "--dry-run"],
        ["collect"],
        ["evaluate", "--policy", "random"],
    ):
        assert run([*command, "-p", str(lab)]) == 2
        error = capsys.readouterr().err
        assert "stranger.py, outside the installed packages" in error and error.count("\n") == 1
        assert not stranger.exists()


def test_what_its_user_trusts_runs(
    stranger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = project(tmp_path / "lab")
    monkeypatch.setenv("CORRTOOL_TRUST", "other,stranger")
    assert run_in_process("status", "-p", lab, "--quiet") == 0
    assert stranger.exists()


def test_whoever_names_a_module_on_the_command_line_trusts_it(
    stranger: Path, tmp_path: Path
) -> None:
    assert (
        run_in_process("init", tmp_path / "mine", "--source", "stranger:Stranger-v0", "--quiet")
        == 0
    )
    assert stranger.exists()
    assert (
        run_in_process("status", "-p", project(tmp_path / "lab"), "--quiet") == 0
    )  # the same code


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2)])
def test_in_a_terminal_it_asks(
    stranger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    lab = project(tmp_path / "lab")
    asked = []

    def confirm(question: str, err: bool) -> bool:
        asked.append(question)
        return answer == "y"

    monkeypatch.setattr("typer.confirm", confirm)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert run(["status", "-p", str(lab), "--quiet"]) == code
    assert run(["status", "-p", str(lab), "--quiet"]) == code
    assert len(asked) == (1 if answer == "y" else 2)  # a yes is remembered
    assert stranger.exists() == (answer == "y")


def test_the_working_directory_is_no_installed_package(stranger: Path, tmp_path: Path) -> None:
    """``python -m corrtool`` in a directory with such a file."""
    lab = project(tmp_path / "lab")
    outcome = run_corrtool(
        "status", "-p", lab, cwd=stranger.parent, env={"XDG_CONFIG_HOME": str(tmp_path / "config")}
    )
    assert outcome.code == 2 and "outside the installed packages" in outcome.err
    assert not stranger.exists()


def test_nothing_but_its_place_makes_a_module_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links into the standard library and metadata do not help.

    Nor does a name that is installed elsewhere, or a part of a namespace.
    """
    library = Path(json.__file__).parent
    hostile = tmp_path / "hostile"
    (hostile / "linked").mkdir(parents=True)
    (hostile / "linked" / "__init__.py").symlink_to(library / "__init__.py")
    (hostile / "file.py").symlink_to(library / "decoder.py")
    (hostile / "folder").symlink_to(library)
    (hostile / "declared.py").touch()
    (hostile / "declared-1.0.dist-info").mkdir()
    (hostile / "declared-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: declared\nVersion: 1.0\n"
    )
    (hostile / "declared-1.0.dist-info" / "top_level.txt").write_text("declared\n")
    (hostile / "space").mkdir()
    (hostile / "typer.py").touch()
    monkeypatch.syspath_prepend(str(hostile))
    for module in ("linked", "file", "folder", "declared", "space"):
        assert str(untrusted_origin(module)).startswith(str(hostile)), module
    monkeypatch.delitem(sys.modules, "typer")
    assert str(untrusted_origin("typer")).startswith(str(hostile))


def test_spaces_between_trusted_names(
    stranger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRTOOL_TRUST", "other, stranger")
    assert run_in_process("status", "-p", project(tmp_path / "lab"), "--quiet") == 0


def test_a_module_that_ends_the_process_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process("init", tmp_path / "lab", "--source", "unittest.__main__:X-v0") == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.out == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise KeyboardInterrupt", "(KeyboardInterrupt)"),
        ("raise type('Panic', (BaseException,), {})('no licence')", "(Panic: no licence)"),
        ("def register_envs():\n    raise KeyboardInterrupt", "(KeyboardInterrupt)"),
        ("raise SystemExit", "(SystemExit)"),
        ("raise RuntimeError", "(RuntimeError)"),
    ],
)
def test_whatever_a_module_raises_is_a_usage_error(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    said: str,
) -> None:
    (tmp_path / "raising.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "raising", raising=False)
    assert run_in_process("init", tmp_path / "lab", "--source", "raising:X-v0") == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.out == ""
    assert said in captured.err


def test_modules() -> None:
    assert module_of("CartPole-v1") is None
    assert module_of("ALE/Pong-v5") is None
    assert module_of("package.module:Id-v0") == "package"
    assert untrusted_origin("gymnasium") is None
    assert untrusted_origin("json") is None
    assert untrusted_origin("sys") is None
    assert untrusted_origin("no_such_module_anywhere") is None


def test_a_module_that_is_not_found_names_where_it_is_not_searched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_alone.py").write_text("")
    assert run_in_process("init", tmp_path / "lab", "--source", "mine_alone:Ten-v0") == 2
    error = capsys.readouterr().err
    assert (
        "(No module named 'mine_alone')" in error
        and "set PYTHONPATH" in error
        and error.count("\n") == 1
    )


def test_a_package_that_must_be_told_to_register_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``minatar.gym:MinAtar/Breakout-v1``."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "told.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "def register_envs():\n"
        '    gymnasium.register("Told/Game-v0", CartPoleEnv)\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run_in_process("init", tmp_path / "lab", "--source", "told:Told/Game-v0", "--quiet") == 0
    assert run_in_process("init", tmp_path / "other", "--source", "told:Told/Nothing-v0") == 2
    assert "unknown environment 'told:Told/Nothing-v0'" in capsys.readouterr().err
    sys.modules.pop("told")
