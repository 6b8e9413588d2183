"""``init``: what makes a project, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import one_line_error, run_in_process


def test_unknown_environments_and_views_are_refused_by_init(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags in (
        ["--source", "NoSuchGame-v0"],
        ["--source", "no_such_module:Game-v0"],
        ["--source", "Pendulum-v1"],
        ["--source", "CartPole-v1", "--target-view", "rotate:90"],
        ["--source", "CartPole-v1", "--target-view", "permute:0,0,1,2"],
        ["--source", "CartPole-v1", "--frame-skip", "4"],
        ["--source", "CartPole-v1", "--screen-size", "40"],
        ["--source", "CartPole-v1", "--grayscale"],
    ):
        assert run_in_process("init", tmp_path / "lab", *flags) in (2, 3), flags
        one_line_error(capsys)
        assert not (tmp_path / "lab").exists()


def test_init_does_not_touch_a_project_that_exists(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    before = (lab / "corrtool.toml").read_bytes()
    assert run_in_process("init", lab, "--source", "Acrobot-v1") == 2
    assert "--overwrite" in one_line_error(capsys)
    assert (lab / "corrtool.toml").read_bytes() == before


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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"lanes": 2}', {"lanes": 2}),
        (
            '{"a b": {"c": [1, {"d": "\\u00e9 \\"x\\""}]}, "ünï": true}',
            {"a b": {"c": [1, {"d": 'é "x"'}]}, "ünï": True},
        ),
        ("{'lanes': 2, 'ends': False}", {"lanes": 2, "ends": False}),
        ("False", False),
        ("True", True),
        ("true", True),
        ("(1, 2)", [1, 2]),
        ("[True, 'a']", [True, "a"]),
        ("1e3", 1000.0),
        ("1_000", "1_000"),
        ("easy", "easy"),
        ("None of them", "None of them"),
    ],
)
def test_keyword_arguments_are_read_back_as_they_were_meant(
    tmp_path: Path, text: str, value: Any
) -> None:
    from corrtool.cli.init import _keyword
    from corrtool.project.directory import create_project

    name, parsed = _keyword(f"config={text}")
    table = {"id": "CartPole-v1", "kwargs": {name: parsed, "größe": 1}}
    project = create_project(
        tmp_path / "lab", {"source": table, "target": {"id": "CartPole-v1"}}, {}
    )
    assert project.task("source").kwargs == {"config": value, "größe": 1}


@pytest.mark.parametrize(
    "text", ["None", "null", '{"a": null}', "[None]", "{1: 2}", "{'a': {2: 3}}"]
)
def test_what_toml_cannot_say_is_refused(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run_in_process(
            "init", tmp_path / "lab", "--source", "CartPole-v1", "--source-kwarg", f"x={text}"
        )
        == 2
    )
    assert "corrtool.toml" in one_line_error(capsys)
    assert not (tmp_path / "lab").exists()


def test_a_module_that_is_found_by_a_relative_path_only_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from corrtool.workflows.init import _relative_modules

    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "found_here.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "envs"))
    identifiers = {"found_here:Rain-v0", "found_here:Turned-v0", "CartPole-v1"}
    monkeypatch.setenv("PYTHONPATH", "envs")
    (warning,) = _relative_modules(identifiers)
    assert "found_here" in warning and str(tmp_path / "envs") in warning
    for harmless in (str(tmp_path / "envs"), "elsewhere", ""):
        monkeypatch.setenv("PYTHONPATH", harmless)
        assert _relative_modules(identifiers) == [], harmless
    monkeypatch.delenv("PYTHONPATH")
    assert _relative_modules(identifiers) == []


def test_numbers_whose_squares_no_network_can_take_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ("--source", "CartPole-v1", "--target-view", "scale:1e20")
    assert run_in_process("init", tmp_path / "lab", *pair) == 2
    assert "whose squares are beyond 32 bits" in one_line_error(capsys)
    assert not (tmp_path / "lab").exists()
    usual = ("--source", "CartPole-v1", "--target-view", "scale:1e6")
    assert run_in_process("init", tmp_path / "lab", *usual, "--quiet") == 0
