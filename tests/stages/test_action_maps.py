"""Tasks whose actions differ, through every stage: ``learn-corr --action-map``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.commands import one_line_error, run_in_process, run_interrupted
from support.two_torques import SOURCE_ACTIONS, TWO_TORQUES

import corrtool
from corrtool.errors import CorrtoolError
from corrtool.project.artifacts import read_artifact
from corrtool.runs.metrics import read_metrics
from corrtool.stages import finetune as finetune_stage

TINY = ("--preset", "tiny", "--device", "cpu")
SWAPPED = "linear-cyc1-q1-m1-mapped"


def run(stage: str, lab: Path, *more: object) -> int:
    return run_in_process(stage, "-p", lab, *TINY, "--quiet", *more)


def printed(capsys: pytest.CaptureFixture[str], stage: str, lab: Path, *more: object) -> Any:
    capsys.readouterr()
    assert run(stage, lab, "--json", *more) == 0
    return json.loads(capsys.readouterr().out)


def network_of(lab: Path, kind: str, name: str) -> dict[str, Any]:
    return read_artifact(lab, kind, name).manifest["network"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CartPole project whose correspondence swaps the actions."""
    lab = tmp_path_factory.mktemp("maps") / "cartpole"
    assert run_in_process("init", lab, "--source", "CartPole-v1", "--quiet") == 0
    for stage in ("train-dqn", "collect", "train-model"):
        assert run(stage, lab) == 0
    (lab / "swapped.json").write_text("[1, 0]")
    assert run("learn-corr", lab, "--action-map", lab / "swapped.json") == 0
    return lab


@pytest.fixture
def swapped(made: Path, tmp_path: Path) -> Path:
    """A copy of that project."""
    return shutil.copytree(made, tmp_path / "lab")


def states(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)


def values_by_hand(lab: Path, raw: np.ndarray) -> np.ndarray:
    """Q_S(G_T(s)), which values the source's actions."""
    project = corrtool.open_project(lab)
    correspondence, q = project.load_correspondence(SWAPPED), project.load_q_function("source-dqn")
    translated = correspondence.translate(torch.from_numpy(raw))
    with torch.no_grad():
        values: np.ndarray = q(correspondence.source_scaling.model_to_q(translated)).numpy()
    return values


def test_the_map_is_in_manifest_and_record_whatever_its_file_is_called(
    swapped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (SWAPPED, f"{SWAPPED}-last"):
        assert network_of(swapped, "corr", name)["action_map"] == {
            "source_of": [1, 0], "source_count": 2,
        }  # fmt: skip
    (swapped / "swapped.json").unlink()
    (swapped / "again.json").write_text("[1,0]\n")
    for given in (swapped / "again.json", "[1, 0]"):
        plan = printed(capsys, "learn-corr", swapped, "--action-map", given, "--dry-run")
        assert plan["done"] and plan["settings"]["action_map"] == "[1, 0]"
        assert plan["name"] == SWAPPED
    plan = printed(capsys, "learn-corr", swapped, "--action-map", "[0, 1]", "--dry-run")
    assert not plan["done"] and plan["settings"]["action_map"] == "identity"
    assert plan["name"] == "linear-cyc1-q1-m1"


def test_an_agent_values_each_action_as_its_source_action(swapped: Path) -> None:
    agent = corrtool.open_project(swapped).load_agent()
    found = np.stack([agent.values(state) for state in states()])
    np.testing.assert_allclose(found, values_by_hand(swapped, states())[:, [1, 0]], rtol=1e-5)


def test_q_t_begins_as_q_s_with_the_actions_of_the_target(
    swapped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: dict[str, Any] = {}

    def stop(*_: Any, **given: Any) -> Any:
        begun.update(given)
        raise CorrtoolError("stopped")

    monkeypatch.setattr(finetune_stage, "learn_by_playing", stop)
    assert run("finetune", swapped) == 1
    correspondence = corrtool.open_project(swapped).load_correspondence(SWAPPED)
    seen = correspondence.source_scaling.model_to_q(
        correspondence.translate(torch.from_numpy(states()))
    )
    q_values = begun["q_function"](seen)
    assert all(weights.requires_grad for weights in begun["q_function"].parameters())
    expected = values_by_hand(swapped, states())[:, [1, 0]]
    np.testing.assert_allclose(q_values.detach().numpy(), expected, rtol=1e-5)


def test_what_was_finetuned_needs_no_map_any_more(
    swapped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = printed(capsys, "finetune", swapped)["q"]
    played = printed(capsys, "evaluate", swapped, "--q", name)
    assert (played["q"], played["corr"]) == (name, SWAPPED)
    project = corrtool.open_project(swapped)
    agent, q = project.load_agent(q=name), corrtool.load_q_function(
        swapped / "weights" / "q" / f"{name}.safetensors"
    )  # fmt: skip
    correspondence = project.load_correspondence(SWAPPED)
    seen = correspondence.source_scaling.model_to_q(
        correspondence.translate(torch.from_numpy(states(1)))
    )
    np.testing.assert_allclose(agent.values(states(1)[0]), q(seen)[0].numpy(), rtol=1e-5)


def test_a_killed_run_goes_on_with_its_map(swapped: Path) -> None:
    flags = ("--action-map", "[1, 0]", "--eval-games", 0, "--gradient-steps", 1000)
    killed = ("learn-corr", *TINY, "--quiet", *flags, "--name", "killed")
    assert run_interrupted(swapped, *killed) == 143
    for name in ("killed", "unbroken"):
        assert run("learn-corr", swapped, *flags, "--name", name) == 0
    one, other = (read_artifact(swapped, "corr", name) for name in ("killed", "unbroken"))
    assert one.sha256 == other.sha256
    assert one.manifest["network"] == other.manifest["network"]


def test_a_killed_finetuning_goes_on_with_the_actions_of_the_target(swapped: Path) -> None:
    flags = ("--env-steps", 20_000, "--name", "killed")
    assert run_interrupted(swapped, "finetune", *TINY, "--quiet", *flags) == 143
    assert run("finetune", swapped, *flags) == 0
    assert network_of(swapped, "q", "killed") == network_of(swapped, "q", "source-dqn")


class TestDifferentNumbersOfActions:
    """Acrobot's three actions, and a target that has two of them."""

    @pytest.fixture
    def acrobot(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
        lab = tmp_path / "acrobot"
        assert run_in_process("init", lab, "--source", "Acrobot-v1", "--target", TWO_TORQUES) == 0
        said = capsys.readouterr().err
        assert "3 actions and the target 2" in said and "learn-corr --action-map FILE" in said
        for stage in ("train-dqn", "collect", "train-model"):
            assert run(stage, lab) == 0
        return lab

    def test_every_stage_takes_them(
        self, acrobot: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        capsys.readouterr()
        assert run("learn-corr", acrobot) == 3
        assert "--action-map FILE" in one_line_error(capsys)
        (acrobot / "map.json").write_text("[2, 0, 1]")
        assert run("learn-corr", acrobot, "--action-map", acrobot / "map.json") == 2
        assert "3 actions, and the target 2" in one_line_error(capsys)
        (acrobot / "map.json").write_text(json.dumps(SOURCE_ACTIONS))
        learn = ("learn-corr", "-p", acrobot, *TINY, "--action-map", acrobot / "map.json")
        assert run_in_process(*learn, "--json") == 0
        out, err = capsys.readouterr()
        name = json.loads(out)["corr"]
        assert err.count("no test of reuse") == 1
        assert json.loads(out)["reuse_mean_return"] is None
        lines = read_metrics(acrobot / "runs" / "learn-corr" / name / "metrics.jsonl")
        events = {line["event"] for line in lines}
        assert "play_test" in events and "reuse_test" not in events
        assert printed(capsys, "evaluate", acrobot)["corr"] == name
        finetuned = printed(capsys, "finetune", acrobot)["q"]
        assert network_of(acrobot, "q", finetuned)["actions"] == 2
        assert printed(capsys, "evaluate", acrobot, "--q", finetuned)["corr"] == name
        assert run("finetune", acrobot, "--from-scratch", "--name", "scratch") == 0
        for flags in (("evaluate", "--no-corr"), ("finetune", "--no-corr", "--name", "reuse")):
            capsys.readouterr()
            stage, *more = flags
            assert run(stage, acrobot, *more) == 3
            assert "3 actions and the task 2" in one_line_error(capsys)


def test_a_map_in_the_project_is_for_every_run(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole()
    with (lab / "corrtool.toml").open("a") as file:
        file.write('\n[learn-corr]\naction-map = "[1, 0]"\nlambda_m = 0\nlambda_q = 0\n')
    for task in ("source", "target"):
        assert run("collect", lab, "--task", task) == 0
    plan = printed(capsys, "learn-corr", lab, "--eval-games", 0, "--dry-run")
    assert plan["settings"]["action_map"] == "[1, 0]" and not plan["missing"]


def test_a_file_that_the_project_names_lies_in_the_project(
    swapped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that a flag or a variable names lies where the command is given."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "swapped.json").write_text("[0, 1]")
    toml = (swapped / "corrtool.toml").read_text()
    for key in ("action-map", "action_map"):
        named = f'\n[learn-corr]\n{key} = "swapped.json"\n'
        (swapped / "corrtool.toml").write_text(toml + named)
        assert run("learn-corr", swapped, "--name", "by-project") == 0
    assert network_of(swapped, "corr", "by-project")["action_map"]["source_of"] == [1, 0]
    assert run("learn-corr", swapped, "--name", "by-flag", "--action-map", "swapped.json") == 0
    assert network_of(swapped, "corr", "by-flag")["action_map"]["source_of"] == [0, 1]
    monkeypatch.setenv("CORRTOOL_LEARN_CORR_ACTION_MAP", "swapped.json")
    assert run("learn-corr", swapped, "--name", "by-variable") == 0
    assert network_of(swapped, "corr", "by-variable")["action_map"]["source_of"] == [0, 1]
