"""Policies in a Q-function's place: which stages work with them, and what each refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import one_line_error, run_in_process
from support.foreign_agents import CleanrlNetwork, saved, write_sb3
from support.foreign_policies import Sb3ActorCritic, ppo_data

import corrtool
from corrtool.errors import UsageError
from corrtool.project.artifacts import artifact_path, read_artifact
from corrtool.q_learning.chain import Chain
from corrtool.q_learning.saved import QDescription
from corrtool.reporting.result_lines import learn_corr
from corrtool.runs.records import run_directories

pytestmark = pytest.mark.usefixtures("seeded")
TINY = ("--preset", "tiny", "--device", "cpu")
SAME = ("--preprocessing", "same", "--quiet")
LEARN = ("learn-corr", *TINY, "--lambda-q", 1, "--lambda-m", 1, "--q", "ppo")


@pytest.fixture
def lab(cartpole: Callable[..., Path]) -> Path:
    """A project of CartPole and its target with its numbers reversed, with a policy ``ppo``."""
    root = cartpole("permute:3,2,1,0")
    path = write_sb3(root / "ppo.zip", Sb3ActorCritic(2, 4, (8,)), ppo_data([4], 2))
    assert run("import", "policy", path, "--from", "sb3", *SAME, root=root) == 0
    return root


def run(*arguments: object, root: Path) -> int:
    return run_in_process(*arguments, "-p", root)


def with_memories(root: Path) -> None:
    """M_S that the policy played, M_T and F."""
    for stage in (
        ("collect", "--task", "source", "--policy", "q:ppo"),
        ("collect", "--task", "target"),
        ("train-model",),
    ):
        assert run(*stage, *TINY, "--quiet", root=root) == 0


def without_critic(root: Path) -> None:
    """A policy ``actor``, as an ONNX file makes it."""
    from corrtool.project.weights import load_weights, save_weights

    ppo = read_artifact(root, "q", "ppo")
    description = QDescription.from_manifest(ppo)
    assert description.chain is not None
    chain = Chain(description.chain.features, description.chain.logits)
    network = QDescription(
        description.states, 2, description.architecture, values="logits", chain=chain
    ).to_json()
    weights = {n: w for n, w in load_weights(ppo).items() if not n.startswith("critic")}
    save_weights(root, "q", "actor", weights, {**ppo.manifest, "network": network})


def told(capsys: pytest.CaptureFixture[str], *arguments: object, root: Path) -> Any:
    """What a command prints with --json."""
    capsys.readouterr()
    assert run(*arguments, "--json", root=root) == 0
    return json.loads(capsys.readouterr().out)


def test_from_the_import_to_games_through_a_correspondence(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_memories(lab)
    without_critic(lab)
    names = {"a": (), "v": ("--q-loss", "value"), "n": ("--q", "actor")}
    results = {n: told(capsys, *LEARN, *more, "--name", n, root=lab) for n, more in names.items()}
    assert [results[n]["q_loss"] for n in names] == ["logits", "value", "logits"]
    assert [results[n]["agent_values"] for n in names] == ["critic", "critic", "none"]
    shares = [results[n]["score"]["bellman_share"] for n in names]
    assert shares[2] is None and None not in shares[:2]
    for result in results.values():
        del result["score_uncertain"]
    lines = ["\n".join(learn_corr(results[n])) for n in names]
    assert "the policy's critic fits it" in lines[0] and "critic" in lines[1]
    assert "the policy has no critic, so its values are no part of it" in lines[2]
    manifest = read_artifact(lab, "corr", "v").manifest
    assert manifest["settings"]["q_loss"] == "value"
    assert manifest["summary"]["q_loss"] == "value"
    # What it means is recorded, not how it was said.
    assert run(*LEARN, "--q-loss", "logits", "--name", "a", root=lab) == 0
    assert "is done already" in capsys.readouterr().err
    assert run(*LEARN, "--q-loss", "value", "--name", "a", root=lab) == 2
    assert "q-loss was auto, now value" in one_line_error(capsys)

    assert told(capsys, "evaluate", *TINY, "--corr", "v", root=lab)["q"] == "ppo"
    assert told(capsys, "explain", "n", root=lab)["agent"]["values"] == "none"
    assert run("explain", "n", root=lab) == 0
    assert "the policy has no critic" in capsys.readouterr().out
    assert run("report", root=lab) == 0
    assert run("verify", "--quiet", root=lab) == run("status", root=lab) == 0


def test_what_the_q_loss_cannot_compare(
    lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_memories(lab)
    without_critic(lab)
    (lab / "dqn").write_bytes(saved(CleanrlNetwork(2, 4).state_dict()))
    assert run("import", "q", lab / "dqn", "--from", "cleanrl", *SAME, root=lab) == 0
    for q, q_loss, message in (
        ("ppo", "q", "is a policy, whose logits are no Q-values; use --q-loss logits or --q-l"),
        ("actor", "q", "is a policy, whose logits are no Q-values; use --q-loss logits"),
        ("actor", "value", "is a policy without a critic; use --q-loss logits"),
        ("dqn", "logits", "has none: it has Q-values; use --q-loss q or --q-loss value"),
    ):
        assert run(*LEARN, "--q", q, "--q-loss", q_loss, root=lab) == 2
        assert message in one_line_error(capsys)
    assert run(*LEARN, "--q", "dqn", "--q-loss", "value", "--quiet", root=lab) == 0
    monkeypatch.setenv("CORRTOOL_LEARN_CORR_Q", "ppo")
    grid = ("sweep", "learn-corr", "--grid", "q_loss=value,q", "--name", "s")
    assert run(*grid, *TINY, root=lab) == 2
    assert "whose logits are no Q-values" in one_line_error(capsys)


@pytest.mark.parametrize("said", ["q", "logits"])
def test_transfer_says_so_before_anything_is_learnt(
    lab: Path,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CORRTOOL_LEARN_CORR_Q_LOSS", said)
    monkeypatch.setenv("CORRTOOL_LEARN_CORR_LAMBDA_Q", "1")
    if said == "logits":  # without any agent: a DQN would be trained
        artifact_path(lab, "q", "ppo").unlink()
    assert run("transfer", *TINY, root=lab) == 2
    assert f"--q-loss is {said}" in one_line_error(capsys)
    assert not (lab / "memories").exists() and not run_directories(lab)


def test_transfer_of_a_policy(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("transfer", *TINY, "--from-q", "ppo", "--games", 2, root=lab) == 0
    shown = capsys.readouterr()
    assert "ppo on its own" in shown.out.replace("\n", " ")
    assert "next: " in shown.err and "corrtool finetune" not in shown.err


def test_what_needs_values_refuses_it(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("finetune", *TINY, "--no-corr", root=lab) == 2
    assert "ppo is a policy, and finetune is DQN" in one_line_error(capsys)
    assert run("export", "q", "ppo", "--to", "sb3", root=lab) == 2
    assert "this is a policy without Q-values; use --to onnx" in capsys.readouterr().err
    assert run("finetune", *TINY, "--from-scratch", "--name", "new", "--quiet", root=lab) == 0
    assert not QDescription.from_manifest(read_artifact(lab, "q", "new")).is_policy


def test_exports(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = told(capsys, "export", "q", "ppo", "--to", "torch", root=lab)
    assert made["check"]["relative"] < 1e-5


def test_from_python(lab: Path) -> None:
    project = corrtool.open_project(lab)
    plan: Any = project.import_policy(lab / "ppo.zip", format="sb3", dry_run=True)
    assert plan["dry_run"] and plan["produces"] == ["q ppo"]
    result = project.import_policy(lab / "ppo.zip", format="sb3", preprocessing="same", name="b")
    assert result["critic"] and result["architecture"] == "chain"
    manifest = read_artifact(lab, "q", "b").manifest
    assert manifest["command"].startswith("corrtool import policy ")
    with pytest.raises(UsageError, match="import policy has no argument 'mapping'"):
        project.import_policy(lab / "ppo.zip", format="sb3", mapping="x")  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="choose one of sb3, cleanrl, onnx"):
        project.import_policy(lab / "ppo.zip", format="torch")  # type: ignore[arg-type]
