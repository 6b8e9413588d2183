"""The command line from outside: exit codes, one-line errors, pure JSON, sources of settings."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import run_corrtool, run_in_process

STAGES = ("collect", "train-dqn", "train-model", "learn-corr", "evaluate", "finetune")
COMMANDS = ("init", *STAGES, "status", "verify", "doctor", "quickstart")


def test_help_imports_neither_torch_nor_gymnasium() -> None:
    code = "import sys, corrtool.cli; print([m for m in ('torch', 'gymnasium', 'zarr') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_in_process(command, "--help") == 0
    assert command in capsys.readouterr().out


def one_line_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The error that was printed, which is one line and no traceback."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1 and lines[0].startswith("corrtool: "), lines
    return lines[0]


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
    for command in ("status", "verify", *STAGES):
        assert run_in_process(command, "-p", tmp_path) == 3
        assert "not a corrtool project" in one_line_error(capsys)


def test_unknown_environments_and_views_are_refused_by_init(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags in (
        ["--source", "NoSuchGame-v0"],
        ["--source", "no_such_module:Game-v0"],
        ["--source", "Pendulum-v1"],
        ["--source", "CartPole-v1", "--target-view", "rotate:90"],
        ["--source", "CartPole-v1", "--target-view", "permute:0,0,1,2"],
        ["--source", "CartPole-v1", "--target", "Acrobot-v1"],
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


def test_a_dry_run_of_what_is_done_says_so(
    pong_lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process("collect", "-p", pong_lab, "--preset", "tiny", "--dry-run") == 0
    assert "is done already" in capsys.readouterr().out


def test_a_misspelt_environment_variable_is_refused(
    pong_lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRTOOL_LEARN_CORR_LAMDA_M", "3")
    assert run_in_process("learn-corr", "-p", pong_lab, "--dry-run", "--name", "x") == 2
    assert "did you mean CORRTOOL_LEARN_CORR_LAMBDA_M?" in one_line_error(capsys)
    assert (
        run_in_process("collect", "-p", pong_lab, "--dry-run", "--name", "x") == 2
    )  # another stage's, and misspelt all the same


def test_tiny_says_that_nothing_learns(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    assert run_in_process("collect", "-p", lab, "--preset", "tiny") == 0
    assert "nothing learns" in capsys.readouterr().err
    assert run_in_process("collect", "-p", lab, "--records", 100, "--name", "few") == 0
    assert "nothing learns" not in capsys.readouterr().err


def test_status_shows_nothing_of_a_damaged_manifest_but_that(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = (pong_copy / "weights" / "model").glob("*.safetensors")
    path.write_bytes(path.read_bytes().replace(b"l1_newest_persistence", b"l1_newest_persistencd"))
    assert run_in_process("status", "-p", pong_copy) == 0
    assert "damaged" in capsys.readouterr().out


def test_status_lists_the_games_that_were_played(
    pong_lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process("status", "-p", pong_lab, "--json") == 0
    (played,) = json.loads(capsys.readouterr().out)["evaluations"]
    assert played["games"] == len(played["returns"]) == 2 and played["task"] == "target"
    assert run_in_process("status", "-p", pong_lab) == 0
    shown = capsys.readouterr().out
    assert (
        f"{played['mean_return']:.1f} –" in shown
        and f"{played['distinct_games']} distinct" in shown
    )  # two games say little


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


def test_quickstart_reads_the_defaults_of_its_project(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (pong_copy / "corrtool.toml").open("a") as file:
        file.write('\n[defaults]\ndevice = "cuda:7"\n')
    assert run_in_process("quickstart", pong_copy) == 4
    assert "cuda:7" in one_line_error(capsys)


@pytest.mark.parametrize("width", ["20", "60"])
def test_a_narrow_terminal_still_shows_what_is_damaged(
    pong_copy: Path, width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = next((pong_copy / "weights" / "corr").glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-9])
    monkeypatch.setenv("COLUMNS", width)
    assert run_in_process("status", "-p", pong_copy) == 0
    assert "damaged" in capsys.readouterr().out


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


def test_status_lists_every_artifact_as_whole_with_its_parents(
    pong_lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_in_process("status", "-p", pong_lab, "--json") == 0
    artifacts = json.loads(capsys.readouterr().out)["artifacts"]
    assert {(a["kind"], a["name"]) for a in artifacts} == {
        ("memory", "source-dqn"),
        ("memory", "target-random"),
        ("q", "source-dqn"),
        ("q", "target-finetune-resnet-cyc1-q1-m1"),
        ("model", "source-dqn"),
        ("corr", "resnet-cyc1-q1-m1"),
        ("corr", "resnet-cyc1-q1-m1-last"),
    }
    assert {a["state"] for a in artifacts} == {"whole"}
    for artifact in artifacts:
        assert (pong_lab / artifact["path"]).exists()
        assert artifact["records"] or artifact["parameters"]
    sha256 = {(a["kind"], a["name"]): a["sha256"] for a in artifacts}
    corr = next(a for a in artifacts if a["name"] == "resnet-cyc1-q1-m1")
    assert set(corr["parents"]) == {"q", "model", "source_memory", "target_memory"}
    for parent in corr["parents"].values():
        assert sha256[parent["kind"], parent["name"]] == parent["sha256"]


def test_damage_is_named_and_refused_and_costs_nothing_else(
    pong_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    q = pong_copy / "weights" / "q" / "source-dqn.safetensors"
    content = bytearray(q.read_bytes())
    content[len(content) // 2] ^= 1
    q.write_bytes(content)
    assert run_in_process("evaluate", "-p", pong_copy, "--preset", "tiny", "--games", 1) == 3
    assert "source-dqn.safetensors is damaged" in capsys.readouterr().err
    chunk = next((pong_copy / "memories" / "target-random.zarr").rglob("c/0*"))
    shutil.rmtree(chunk) if chunk.is_dir() else chunk.unlink()
    assert run_in_process("learn-corr", "-p", pong_copy, "--preset", "tiny", "--name", "again") == 3
    assert "is missing" in capsys.readouterr().err
    assert run_in_process("verify", "-p", pong_copy) == 3
    listed = capsys.readouterr().out
    assert "weights/q/source-dqn.safetensors" in listed and "memories/target-random.zarr" in listed
    assert "5 of 7 artifacts are whole" in listed


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
