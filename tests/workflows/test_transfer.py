"""``transfer``: what is missing in a project, in the order and with the settings of the stages."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from support.commands import one_line_error, run_in_process

import corrtool
from corrtool.project.artifacts import KINDS, find_artifacts, read_artifact
from corrtool.project.directory import find_project
from corrtool.runs.run import Run
from corrtool.statistics import normalised
from corrtool.workflows.transfer import _why_no_reuse
from corrtool.workflows.transfer_rows import TransferRow, make_notes

VIEWS = ("permute:2,3,0,1", "scale:-1,1,-1,1")
TINY = ("--preset", "tiny", "--device", "cpu")
QUIET = (*TINY, "--quiet")
POLICIES = ("source", "source_random", "random", "transfer")
LONGER = {"CORRTOOL_LEARN_CORR_GRADIENT_STEPS": "400"}  # long enough to be interrupted


@pytest.fixture
def lab(cartpole: Callable[..., Path]) -> Path:
    """An empty project of CartPole with its numbers in another order."""
    return cartpole(*VIEWS)


def asked(capsys: Any, *arguments: object, command: str = "transfer") -> Any:
    """What a command prints with --json."""
    capsys.readouterr()
    assert run_in_process(command, *TINY, "--json", *arguments) == 0
    return json.loads(capsys.readouterr().out)


def steps(capsys: pytest.CaptureFixture[str], lab: Path, *flags: object) -> list[tuple[str, Any]]:
    """Stage and name of what a dry run would run, without the evaluations."""
    plans = asked(capsys, "-p", lab, "--dry-run", *flags)["steps"]
    return [
        (plan["stage"], plan["name"])
        for plan in plans
        if plan["stage"] != "evaluate" and not plan["done"]
    ]


def digests(lab: Path) -> dict[tuple[str, str], str]:
    """The SHA-256 of every artifact of a project."""
    return {(kind, a.name): a.sha256 for kind in KINDS for a in find_artifacts(lab, kind)}


def run_by_hand(lab: Path) -> None:
    """The documented order."""
    for stage, *flags in (
        ("train-dqn",),
        ("collect",),
        ("train-model", "--memory", "source-dqn"),
        ("learn-corr",),
    ):
        assert run_in_process(stage, "-p", lab, *QUIET, *flags) == 0, stage


def test_the_share_of_the_way_from_random_play_to_the_agent() -> None:
    assert normalised(60.0, 20.0, 100.0) == 0.5
    assert normalised(10.0, 20.0, 100.0) == -0.125
    assert normalised(-120.0, -500.0, -100.0) == 0.95
    assert normalised(1.0, 7.0, 7.0) is None


class TestWhatIsMissing:
    """Dry runs, which write nothing."""

    def test_in_an_empty_project_everything_is(
        self, lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = sorted(lab.rglob("*"))
        to_do = [
            ("train-dqn", "source-dqn"),  # leaves a memory of random play as well
            ("collect", "target-random"),
            ("train-model", None),  # its name is that of a memory that is not there yet
            ("learn-corr", None),
        ]
        assert steps(capsys, lab) == to_do
        plans = asked(capsys, "-p", lab, "--dry-run")["steps"]
        assert [plan["stage"] for plan in plans].count("evaluate") == 5
        assert sorted(lab.rglob("*")) == before
        assert run_in_process("transfer", "-p", lab, *TINY, "--dry-run") == 0
        out = capsys.readouterr().out
        assert out.startswith("1. train-dqn source-dqn: to do\n2. evaluate the agent on the source")
        assert "6. train-model: to do\n   with what the stages before it make\n" in out
        assert "evaluate random play on the target: to do\n" in out
        assert max(map(len, out.splitlines())) <= 80
        monkeypatch.setenv("CORRTOOL_TRAIN_DQN_RANDOM_RECORDS", "0")
        assert steps(capsys, lab) == [to_do[0], ("collect", "source-random"), *to_do[1:]]

    def test_an_agent_and_memories_are_taken_by_who_played(
        self, lab: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run_in_process("train-dqn", "-p", lab, *QUIET, "--name", "agent") == 0
        assert run_in_process("collect", "-p", lab, *QUIET, "--name", "mine") == 0
        to_do = [("train-model", "agent"), ("learn-corr", None)]  # as long as there is no F
        assert steps(capsys, lab) == to_do
        shutil.rmtree(lab / "memories" / "agent-random.zarr")
        assert steps(capsys, lab) == [("collect", "source-random"), *to_do]
        source = ("collect", "-p", lab, *QUIET, "--task", "source")
        assert run_in_process(*source, "--name", "agent-random") == 0
        assert [stage for stage, _ in steps(capsys, lab)] == ["train-model", "learn-corr"]
        shutil.rmtree(lab / "memories" / "agent.zarr")
        assert [step for step in steps(capsys, lab) if step[0] == "collect"] == [
            ("collect", "source-agent")
        ]
        assert run_in_process(*source, "--policy", "q:agent", "--name", "again") == 0
        assert steps(capsys, lab)[0] == ("train-model", "again")

    def test_what_was_made_by_hand_is_not_made_again(
        self, lab: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for stage in ("train-dqn", "collect", "train-model", "learn-corr"):
            assert run_in_process(stage, "-p", lab, *QUIET) == 0
        assert steps(capsys, lab) == []

    def test_a_model_that_no_loss_needs_is_not_learnt(
        self, lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CORRTOOL_LEARN_CORR_LAMBDA_M", "0")
        assert "train-model" not in dict(steps(capsys, lab))

    def test_what_the_project_names_is_not_looked_for(
        self, lab: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for seed, name in enumerate(("named", "newer")):  # one seed would be one agent
            flags = ("--name", name, "--seed", seed)
            assert run_in_process("train-dqn", "-p", lab, *QUIET, *flags) == 0
        toml = (lab / "corrtool.toml").read_text()
        named = '\n[learn-corr]\nq = "named"\nsource-memory = "named"\n'
        (lab / "corrtool.toml").write_text(toml + named)
        assert steps(capsys, lab)[:2] == [("collect", "target-random"), ("train-model", "named")]

    def test_states_of_other_shapes_have_no_row_of_reuse(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tasks = ("--source", "MountainCar-v0", "--target", "Acrobot-v1")
        assert run_in_process("init", tmp_path / "lab", *tasks, "--quiet") == 0
        plans = asked(capsys, "-p", tmp_path / "lab", "--dry-run")["steps"]
        assert [plan["stage"] for plan in plans].count("evaluate") == 4

    @pytest.mark.parametrize(
        ("source", "target", "why"),
        [
            ("MountainCar-v0", "Acrobot-v1", "cannot take the target's states"),
            ("CartPole-v1", "Acrobot-v1", "the source has 2 actions and the target 3"),
            ("Acrobot-v1", "Acrobot-v1", None),
        ],
    )
    def test_the_note_says_why_reuse_is_left_out(
        self, tmp_path: Path, source: str, target: str, why: str | None
    ) -> None:
        tasks = ("--source", source, "--target", target)
        assert run_in_process("init", tmp_path / "lab", *tasks, "--quiet") == 0
        found = _why_no_reuse(find_project(tmp_path / "lab"))
        rows: list[TransferRow] = [
            {"policy": policy, "returns": [mean], "mean_return": mean, "ci95": [mean, mean]}
            for policy, mean in zip(POLICIES, (2.0, 0.0, 0.0, 1.0), strict=True)
        ]
        if why is None:
            assert found is None
        else:
            (note,) = make_notes(rows, cast(Any, {}), [], found)
            assert note.startswith("reuse is left out: ") and why in note

    @pytest.mark.parametrize(
        ("stage", "flags", "named"),
        [
            ("learn-corr", ("--q", "nope"), "no Q-function 'nope'"),
            ("learn-corr", ("--target-memory", "nope"), "no memory 'nope'"),
            ("train-model", ("--memory", "nope"), "no memory 'nope'"),
            ("evaluate", ("--corr", "nope"), "no correspondence 'nope'"),
            ("finetune", ("--q", "nope"), "no Q-function 'nope'"),
            ("collect", ("--policy", "q:nope"), "no Q-function 'nope'"),
            ("transfer", ("--from-q", "nope"), "no Q-function 'nope'"),
        ],
    )
    def test_a_named_input_that_is_not_there_is_named(
        self,
        lab: Path,
        capsys: pytest.CaptureFixture[str],
        stage: str,
        flags: tuple[str, ...],
        named: str,
    ) -> None:
        assert run_in_process(stage, "-p", lab, *TINY, "--dry-run", *flags) == 3
        assert named in one_line_error(capsys)

    @pytest.mark.parametrize("use", ["q", "model", "source-memory", "target-memory"])
    def test_so_is_one_that_the_project_names(
        self, lab: Path, capsys: pytest.CaptureFixture[str], use: str
    ) -> None:
        toml = (lab / "corrtool.toml").read_text()
        (lab / "corrtool.toml").write_text(toml + f'\n[learn-corr]\n{use} = "nope"\n')
        for command in ("learn-corr", "transfer"):
            assert run_in_process(command, "-p", lab, *TINY, "--dry-run") == 3, command
            assert "'nope'" in one_line_error(capsys)

    def test_inputs_that_are_still_to_be_made_are_no_error(
        self, lab: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for command in ("train-model", "learn-corr", "evaluate", "finetune"):
            assert asked(capsys, "-p", lab, "--dry-run", command=command)["missing"]

    @pytest.mark.parametrize(
        ("action_map", "said"),
        [
            ('"[0, 1]"', "the action map has 2 actions, and the target 3; list 3 source actions"),
            ('"[0, 1, 2]"', "the action map: action 2 is none of the source's, which are 0 to 1"),
            ('"nowhere.json"', "nowhere.json: No such file or directory"),
            ('"identity"', 'write action-map = "learned", or the source action of each target'),
            (
                "[0, 1, 1]",
                'action-map in corrtool.toml is [0, 1, 1]; put it in quotes: "[0, 1, 1]"',
            ),
        ],
    )
    def test_a_map_of_actions_that_learning_would_refuse_is_refused_at_once(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], action_map: str, said: str
    ) -> None:
        lab, tasks = tmp_path / "lab", ("--source", "CartPole-v1", "--target", "Acrobot-v1")
        assert run_in_process("init", lab, *tasks, "--quiet") == 0
        with (lab / "corrtool.toml").open("a") as toml:
            toml.write(f"\n[learn-corr]\naction-map = {action_map}\n")
        assert run_in_process("transfer", "-p", lab, *TINY) == 2
        assert said in one_line_error(capsys)
        assert not (lab / "runs").exists()

    def test_python_has_the_same(self, lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
        plan: Any = corrtool.open_project(lab).transfer(preset="tiny", device="cpu", dry_run=True)
        by_command = asked(capsys, "-p", lab, "--dry-run")
        assert plan == by_command


def test_a_transfer_that_was_interrupted_ends_where_the_stages_by_hand_do(
    lab: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand = shutil.copytree(lab, tmp_path / "by-hand")
    command = ["transfer", *TINY, "-p", str(lab)]
    process = subprocess.Popen(
        [sys.executable, "-m", "corrtool", *command], env=os.environ | LONGER
    )
    while not any(p.stat().st_size for p in lab.glob("runs/learn-corr/*/metrics.jsonl")):
        assert process.poll() is None
        time.sleep(0.02)
    process.terminate()
    assert process.wait(60) == 143
    for name, value in LONGER.items():
        monkeypatch.setenv(name, value)
    capfd.readouterr()
    assert run_in_process(*command, "--json") == 0
    out, err = capfd.readouterr()
    assert "resuming at" in err and "train-dqn source-dqn" not in err
    result = json.loads(out)
    policies = [row["policy"] for row in result["rows"]]
    assert policies == [*POLICIES[:3], "reuse", "transfer"]
    for row in result["rows"]:
        assert len(row["returns"]) == result["games"] == 2
        assert row["ci95"][0] <= row["mean_return"] <= row["ci95"][1]
        assert ("normalised" in row) is (row["policy"] == "transfer")
    assert result["source_agent"] == "source-dqn" and result["cut"] == []
    assert result["learn_corr"]["gradient_steps"] == 400 and result["minutes"] > 0

    run_by_hand(by_hand)
    assert digests(lab) == digests(by_hand)
    for flags in (("--task", "source"), ("--policy", "random"), ("--no-corr",), ()):
        assert run_in_process("evaluate", "-p", lab, *TINY, *flags, "--dry-run") == 0
        assert "is done already" in capfd.readouterr().out, flags

    assert run_in_process(*command) == 0  # again, for people
    out, err = capfd.readouterr()
    assert "random play on the target" in out and "next: " in err
    assert "resuming" not in err
    assert digests(lab) == digests(by_hand)


def test_one_agent_of_several_is_transferred(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, name in enumerate(("agent", "newer")):
        flags = ("--name", name, "--seed", seed)
        assert run_in_process("train-dqn", "-p", lab, *QUIET, *flags) == 0
    result = asked(capsys, "-p", lab, "--from-q", "agent", "--games", 3)
    assert result["source_agent"] == "agent" and result["games"] == 3
    corr = read_artifact(lab, "corr", result["learn_corr"]["corr"])
    assert corr.manifest["parents"]["q"]["name"] == "agent"
    model = read_artifact(lab, "model", corr.manifest["parents"]["model"]["name"])
    assert model.manifest["parents"]["source_memory"]["name"] == "agent"
    newest = asked(capsys, "-p", lab, "--games", 3)
    assert (
        newest["source_agent"] == "newer" and newest["learn_corr"]["corr"] == f"{corr.name}-newer"
    )
    assert read_artifact(lab, "corr", corr.name).sha256 == corr.sha256


@pytest.mark.parametrize("by", ["flags", "variables"])
def test_an_agent_that_was_replaced_is_refused_with_the_command_that_settles_it(
    lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """As it is printed, in the same surroundings."""
    again: tuple[object, ...] = (
        "transfer",
        "-p",
        lab,
        "--quiet",
        "--games",
        2,
        "--from-q",
        "agent",
    )
    train = ("train-dqn", "-p", lab, *QUIET, "--name", "agent")
    if by == "flags":
        again += TINY
    else:
        monkeypatch.chdir(lab)
        for name, value in {"PRESET": "tiny", "SEED": "3", "LEARN_CORR_FOLDED": "false"}.items():
            monkeypatch.setenv(f"CORRTOOL_{name}", value)
    assert run_in_process(*train) == run_in_process(*again) == 0
    assert run_in_process(*train, "--seed", 1, "--overwrite") == 0
    capsys.readouterr()
    assert run_in_process(*again) == 2
    line = one_line_error(capsys)
    assert "exists with other settings or inputs (its q input was another one)" in line
    settle = shlex.split(line.partition("come back: ")[2])
    assert settle[-1] == "--overwrite" and ("--project" in settle) == (by == "flags")
    while settle[0] != "corrtool":
        name, _, value = settle.pop(0).partition("=")
        monkeypatch.setenv(name, value)
    assert settle[1] == "learn-corr"
    assert run_in_process(*settle[1:]) == 0
    settled = digests(lab)
    assert run_in_process(*again) == 0
    assert digests(lab) == settled


@pytest.mark.parametrize("names", [("last", "other"), ("x" * 80 + "1", "x" * 80 + "2")])
def test_correspondences_of_agents_with_awkward_names_do_not_meet(
    lab: Path, capsys: pytest.CaptureFixture[str], names: tuple[str, str]
) -> None:
    command = ("-p", lab, "--eval-games", 0)
    learnt = []
    for seed, name in enumerate(("first", *names)):
        train = ("--name", name, "--seed", seed)
        assert run_in_process("train-dqn", "-p", lab, *QUIET, *train) == 0
        if name == "first":
            assert run_in_process("train-model", "-p", lab, *QUIET) == 0
            assert run_in_process("collect", "-p", lab, *QUIET) == 0
        learnt.append(asked(capsys, *command, "--q", name, command="learn-corr")["corr"])
    assert len(set(learnt)) == 3
    there = {artifact.name for artifact in find_artifacts(lab, "corr")}
    assert there == {*learnt, *(f"{name}-last" for name in learnt)}


def test_a_finished_correspondence_stays_where_more_is_collected_and_learnt(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = asked(capsys, "-p", lab)
    more = ("collect", "--task", "target", "--policy", "random", "--name", "more")
    assert run_in_process(*more, "-p", lab, *QUIET) == 0
    assert run_in_process("train-dqn", "-p", lab, *QUIET, "--name", "q2", "--seed", 5) == 0
    again = asked(capsys, "-p", lab, "--from-q", "source-dqn")
    assert again["rows"] == first["rows"] and again["learn_corr"] == first["learn_corr"]
    learn = ("learn-corr", "--q", "source-dqn", "--name", "newer")
    assert run_in_process(*learn, "-p", lab, *QUIET) == 0
    assert asked(capsys, "-p", lab, "--from-q", "source-dqn")["learn_corr"]["corr"] == "newer"
    old = first["learn_corr"]["corr"]
    shutil.rmtree(lab / "runs" / "learn-corr" / old)
    for path in (lab / "weights" / "corr").glob(f"{old}*"):
        path.unlink()
    assert asked(capsys, "-p", lab, "--from-q", "source-dqn")["learn_corr"]["corr"] == "newer"


def test_an_agent_whose_memory_was_replaced_and_it_was_not_has_to_end_first(
    lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asked(capsys, "-p", lab)
    longer = ("train-dqn", "-p", lab, *QUIET, "--extend", "--env-steps", 900)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "publish_weights", lambda *_: 1 / 0)
        assert run_in_process(*longer) == 1
    capsys.readouterr()
    for flags in ((), ("--dry-run",)):
        assert run_in_process("transfer", "-p", lab, *TINY, *flags) == 2
        said = one_line_error(capsys)
        assert "memory source-dqn" in said and "is new, and Q-function source-dqn is not" in said
    assert run_in_process(*longer) == 0
    again = asked(capsys, "-p", lab)
    assert again["learn_corr"]["sha256"] != first["learn_corr"]["sha256"]


def test_inputs_that_it_chooses_itself_are_not_taken_from_the_project(
    lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (lab / "corrtool.toml").open("a") as toml:
        toml.write('\n[train-model]\nmemory = "nope"\n')
    monkeypatch.setenv("CORRTOOL_EVALUATE_CORR", "other")
    assert run_in_process("transfer", "-p", lab, *TINY, "--dry-run") == 0
    said = capsys.readouterr().err
    assert "memory nope of train-model is not used" in said
    assert "corr other of evaluate is not used" in said


@pytest.mark.parametrize("learning_rate", ["1e-3", "1e-30"])  # of which nothing is learnt
def test_what_is_made_of_an_extended_agent_is_made_anew(
    lab: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    learning_rate: str,
) -> None:
    monkeypatch.setenv("CORRTOOL_TRAIN_DQN_LEARNING_RATE", learning_rate)
    first = asked(capsys, "-p", lab)
    longer = ("--extend", "--env-steps", 900)
    assert run_in_process("train-dqn", "-p", lab, *QUIET, *longer) == 0
    to_do = [("train-model", "source-dqn"), ("learn-corr", first["learn_corr"]["corr"])]
    assert steps(capsys, lab) == to_do
    more = ("collect", "--task", "target", "--policy", "random", "--name", "more", "--seed", 7)
    assert run_in_process(*more, "-p", lab, *QUIET) == 0
    assert steps(capsys, lab) == to_do
    again = asked(capsys, "-p", lab)
    assert again["learn_corr"]["sha256"] != first["learn_corr"]["sha256"]
    assert asked(capsys, "-p", lab)["rows"] == again["rows"]
    assert run_in_process("verify", "-p", lab) == 0


def test_a_budget_ends_what_learns_and_a_larger_one_goes_on(
    lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage, steps in (("TRAIN_DQN_ENV", 200), ("TRAIN_MODEL_GRADIENT", 5)):  # well in their time
        monkeypatch.setenv(f"CORRTOOL_{stage}_STEPS", str(steps))
    monkeypatch.setenv("CORRTOOL_LEARN_CORR_GRADIENT_STEPS", "1000000")
    began = time.monotonic()
    result = asked(capsys, "-p", lab, "--budget", "15s")
    assert time.monotonic() - began < 60
    assert "learn-corr" in result["cut"] and result["learn_corr"]["cut"]
    assert 0 < result["learn_corr"]["gradient_steps"] < 1_000_000
    assert any("ended early" in note for note in result["notes"])
    before = digests(lab)
    again = asked(capsys, "-p", lab, "--budget", "0.1s")  # hardly more time than it had
    assert again["cut"] == result["cut"] and digests(lab) == before
    assert again["rows"] == result["rows"]

    plans = asked(capsys, "-p", lab, "--budget", "10s", "--dry-run")["steps"]
    (learn,) = [plan for plan in plans if plan["stage"] == "learn-corr"]
    assert learn["begun"] and learn["steps"] == result["learn_corr"]["gradient_steps"]
    assert [p["done"] for p in plans if p["stage"] == "evaluate"] == [True, True, True, True, False]
    assert run_in_process("transfer", "-p", lab, *TINY, "--budget", "10s", "--dry-run") == 0
    assert f"goes on from step {learn['steps']:,}, in" in capsys.readouterr().out
    longer = asked(capsys, "-p", lab, "--budget", "10s")
    assert longer["learn_corr"]["gradient_steps"] > learn["steps"]
    corr = read_artifact(lab, "corr", longer["learn_corr"]["corr"]).manifest
    assert before["corr", longer["learn_corr"]["corr"]] in corr["continues"]
    monkeypatch.setenv("COLUMNS", "80")
    assert run_in_process("transfer", "-p", lab, *TINY, "--budget", "0.1s") == 0
    assert "cut short" in capsys.readouterr().out


def test_an_agent_that_goes_on_takes_all_that_was_made_from_it_along(
    lab: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRTOOL_TRAIN_DQN_ENV_STEPS", "10000000")
    first = asked(capfd, "-p", lab, "--budget", "3s")
    assert "train-dqn" in first["cut"]
    before = digests(lab)
    command = ("-p", lab, "--budget", "7s")
    done = {plan["stage"]: plan["done"] for plan in asked(capfd, *command, "--dry-run")["steps"]}
    assert not (done["train-dqn"] or done["train-model"] or done["learn-corr"])
    result = asked(capfd, *command)
    after = digests(lab)
    assert "train-dqn" in result["cut"]
    q = read_artifact(lab, "q", "source-dqn")
    assert before["q", "source-dqn"] in q.manifest["continues"]
    corr = read_artifact(lab, "corr", result["learn_corr"]["corr"]).manifest
    assert corr["parents"]["q"]["sha256"] == q.sha256
    assert corr["parents"]["model"]["sha256"] == after["model", "source-dqn"]
    model = read_artifact(lab, "model", "source-dqn").manifest
    assert model["parents"]["source_memory"]["sha256"] == after["memory", "source-dqn"]
    assert after["memory", "source-dqn"] != before["memory", "source-dqn"]
    assert after["memory", "target-random"] == before["memory", "target-random"]
    assert run_in_process("verify", "-p", lab) == 0


def test_notes_say_what_goes_on_and_what_is_learnt_anew() -> None:
    rows: list[TransferRow] = [
        {"policy": policy, "returns": [mean], "mean_return": mean, "ci95": [mean, mean]}
        for policy, mean in zip(POLICIES, (2.0, 0.0, 0.0, 1.0), strict=True)
    ]

    def notes(learnt: dict[str, Any]) -> str:
        return "\n".join(make_notes(rows, cast(Any, learnt), ["train-model", "learn-corr"], "why"))

    assert "for want of time: train-model, learn-corr; 'corrtool transfer'" in notes({})
    searched = notes({"search_cut": True})
    assert "for want of time: train-model; 'corrtool transfer'" in searched
    assert "and 'corrtool transfer' with a larger --budget learns it anew by itself" in searched


def test_notes_say_that_a_score_is_uncertain() -> None:
    rows: list[TransferRow] = [
        {"policy": policy, "returns": [mean], "mean_return": mean, "ci95": [mean, mean]}
        for policy, mean in zip(POLICIES, (2.0, 0.0, 0.0, 1.0), strict=True)
    ]
    score = {"value": 0.1}
    certain, doubtful = (
        make_notes(rows, cast(Any, {"score": score} | more), [], "why")
        for more in ({}, {"score_uncertain": "the training of F was cut short"})
    )
    assert any("no transfer expected" in note for note in certain)
    assert not any("no transfer expected" in note for note in doubtful)
    assert any("uncertain, since the training of F was cut short" in note for note in doubtful)
