"""Other people's environments through `init` and every stage.

What fails says so at once, and the rest works.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import odd_environments
import pytest
from support.commands import one_line_error, run_corrtool, run_in_process

from corrtool.errors import CorrtoolError
from corrtool.project.directory import Project
from corrtool.q_learning import play_tests
from corrtool.workflows.doctor import check_tasks

SMALL = """
[defaults]
preset = "tiny"
[collect]
records = 60
lanes = 1
[train-dqn]
env_steps = 80
lanes = 1
learning_starts = 20
memory_capacity = 100
memory_records = 60
random_records = 60
[train-model]
gradient_steps = 2
[learn-corr]
gradient_steps = 2
[finetune]
env_steps = 60
lanes = 1
learning_starts = 20
memory_capacity = 100
[evaluate]
games = 1
"""
LIMIT = ["--max-episode-steps", 30]


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRTOOL_TRUST", "odd_environments")
    odd_environments.Alone.is_open = False
    odd_environments.Served.player = None


def init(lab: Path, name: str, *more: object) -> int:
    code = run_in_process("init", lab, "--source", f"odd_environments:{name}-v0", *more)
    if code == 0:
        (lab / "corrtool.toml").write_text((lab / "corrtool.toml").read_text() + SMALL)
    return code


def picture(**more: Any) -> list[str]:
    return [
        part
        for name, value in more.items()
        for part in ("--source-kwarg", f"{name}={json.dumps(value)}")
    ]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("Counting", []),
        ("Endless", LIMIT),
        ("Talking", []),
        ("Unnamed", []),
        ("Alone", []),
        ("Served", []),
        ("Pair", ["--stack", 2]),
        ("Configured", []),
        ("Wide", ["--repeat-action-probability", 0.25]),
        (
            "Picture",
            [*picture(shape=[10, 10, 4], dtype="bool", high=1), "--target-view", "rotate:90"],
        ),
        (
            "Picture",
            [*picture(shape=[3, 96, 96]), "--screen-size", 36, "--grayscale", "--stack", 2],
        ),
        (
            "Picture",
            [*picture(shape=[33, 47, 7], dtype="float32", high=1), "--target-view", "flip:h"],
        ),
        ("Picture", [*picture(shape=[5, 5], dtype="int64", high=9), "--target-view", "invert"]),
        ("Picture", [*picture(shape=[9], dtype="uint8"), "--target-view", "scale:-1"]),
    ],
    ids=str,
)
def test_every_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, more: list[object]
) -> None:
    lab = tmp_path / "lab"
    assert init(lab, name, *more) == 0
    for stage in ("train-dqn", "collect", "train-model", "learn-corr", "evaluate", "finetune"):
        capsys.readouterr()
        assert run_in_process(stage, "-p", lab, "--json", "--quiet") == 0, stage
        json.loads(capsys.readouterr().out)  # one object, whatever the environment prints


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("Sequences", [], "Sequence(Discrete(3)"),
        ("Mission", [], "mission"),
        ("Picture", [*picture(shape=[60, 80, 3]), "--target-view", "rotate:90"], "60 × 80 pixels"),
        ("Picture", picture(shape=[10, 10, 10], dtype="bool", high=1), "--channels-axis"),
        ("Picture", picture(shape=[4, 84, 84, 3]), "--stack"),
        ("Picture", ["--target", "CartPole-v1"], "pictures and the target numbers"),
        ("Picture", picture(no_such=1), "TypeError"),
    ],
    ids=str,
)  # fmt: skip
def test_init_refuses_what_a_later_stage_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, more: list[object], said: str
) -> None:
    assert init(tmp_path / "lab", name, *more) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "lab").exists()


def test_atari_games_with_other_actions_are_told_the_way_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    games = ["--source", "ALE/Pong-v5", "--target", "ALE/Breakout-v5"]
    assert run_in_process("init", tmp_path / "lab", *games) == 0
    said = capsys.readouterr().err
    assert "--full-action-space" in said and "--action-map FILE" in said
    assert run_in_process("init", tmp_path / "same", *games, "--full-action-space") == 0
    assert "--action-map" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("Endless", [], "--max-episode-steps"),
        ("Alone", LIMIT, "--lanes 1"),
        ("Served", LIMIT, "--lanes 1"),
        ("Counting", ["--max-episode-steps", 1], "over after one step"),
        ("Counting", ["--target", "odd_environments:Wide-v0"], "2 actions and the target 3"),
        ("Counting", ["--target", "odd_environments:Wide-v0"], "learn-corr --action-map FILE"),
        ("Counting", ["--target", "odd_environments:Wide-v0"], "3: by default it is learnt"),
        (
            "Picture",
            [*LIMIT, *picture(shape=[84, 84, 12])],
            "--memory-capacity) takes 3.4 GB, and 1.0 GB are free",
        ),
    ],
)
def test_init_and_doctor_warn(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    more: list[object],
    said: str,
) -> None:
    monkeypatch.setattr("corrtool.workflows.pair.free_bytes", lambda device: 10**9)
    lab = tmp_path / "lab"
    assert run_in_process("init", lab, "--source", f"odd_environments:{name}-v0", *more) == 0
    assert said in capsys.readouterr().err
    (pair,) = [check for check in check_tasks(Project(lab)) if check.subject == "pair of tasks"]
    assert pair.works
    assert said in pair.says


def test_init_says_what_it_saw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        init(
            tmp_path / "lab",
            "Picture",
            *picture(shape=[84, 84, 12], dtype="float32", high=1),
            *LIMIT,
        )
        == 0
    )
    out, err = capsys.readouterr()
    assert "84 × 84 pixels, 12 channels" in out
    assert "from 0 to 1, are kept as bytes" in out
    assert err == ""
    assert init(tmp_path / "lab2", "Pair", "--json") == 0
    tasks = json.loads(capsys.readouterr().out)["tasks"]
    assert "flattened into 4 numbers" in tasks["source"]["notes"][0]


@pytest.mark.parametrize(
    ("name", "raised"),
    [
        ("Quitting", "SystemExit"),
        ("Interrupting", "KeyboardInterrupt"),
        ("Panicking", "Panic"),
    ],
)
def test_an_environment_that_quits_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, raised: str
) -> None:
    lab = tmp_path / "lab"
    assert init(lab, name, "--max-episode-steps", 200) == 0
    capsys.readouterr()
    assert run_in_process("train-dqn", "-p", lab, "--quiet", "--env-steps", 300) == 1
    assert raised in capsys.readouterr().err
    assert not list(lab.glob("weights/q/*"))


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("Shouting", ["licensed to nobody"]),
        ("Chattering", ["connected", "goodbye"]),
    ],
)
def test_whatever_a_simulator_writes_is_no_result(
    tmp_path: Path, name: str, printed: list[str]
) -> None:
    """Also past Python, from a thread, and as the process exits."""
    lab = tmp_path / "lab"
    assert init(lab, "Counting") == 0
    toml = lab / "corrtool.toml"
    toml.write_text(toml.read_text().replace("Counting", name))
    trusted = {
        "CORRTOOL_TRUST": "odd_environments",
        "PYTHONPATH": str(Path(odd_environments.__file__).parent),
    }
    played = run_corrtool(
        "evaluate", "--policy", "random", "-p", lab, "--json", "--quiet", env=trusted
    )
    assert (played.code, played.json["games"]) == (0, 1)
    for text in printed:
        assert text in played.err


def test_doctor_names_the_task_that_cannot_be_made(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    assert init(lab, "Counting") == 0
    text = (lab / "corrtool.toml").read_text()
    (lab / "corrtool.toml").write_text(
        text.replace("odd_environments:Counting-v0", "odd_environments:Sequences-v0", 1)
    )
    checks = {check.subject: check for check in check_tasks(Project(lab))}
    assert not checks["source task"].works
    assert checks["target task"].works
    assert "pair of tasks" not in checks


def test_what_was_learnt_is_saved_before_the_last_play_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment fails in the play test after learning.

    Once it works, the same command goes on at the test.
    """
    lab, tests = tmp_path / "lab", []

    def fails(*_: Any, **__: Any) -> Any:
        tests.append(1)
        raise CorrtoolError("the simulator went away")

    assert init(lab, "Counting") == 0
    with monkeypatch.context() as patched:
        patched.setattr(play_tests, "play_games", fails)
        assert run_in_process("train-dqn", "-p", lab, "--quiet") == 1
    assert tests == [1]
    assert list(lab.glob("runs/train-dqn/*/checkpoint.safetensors"))
    capsys.readouterr()
    assert run_in_process("train-dqn", "-p", lab) == 0
    assert "resuming at 80 of 80 env steps" in capsys.readouterr().err


def test_a_target_whose_games_are_one_step_has_no_dynamics_to_learn_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab, target = tmp_path / "lab", ("--target", "odd_environments:Momentary-v0")
    assert init(lab, "Counting", *target, *LIMIT) == 0
    tiny = ("--preset", "tiny", "--device", "cpu", "--quiet")
    capsys.readouterr()
    assert run_in_process("transfer", "-p", lab, *tiny) == 3
    line = one_line_error(capsys)
    assert "every episode ended with its first step in memory target-random" in line
