"""Inputs of learn-corr from different agents are named; what is unknown or random play is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Unpack, cast

import pytest
from support.commands import run_in_process

from corrtool.project.artifacts import Artifact
from corrtool.project.manifests import Manifest, Origin, Reference
from corrtool.stages.source_agents import Agent, agent_of_memory, different_agents

TINY = ("--preset", "tiny", "--device", "cpu")


def artifact(kind: str, name: str, sha256: str = "", **origin: Unpack[Origin]) -> Artifact:
    manifest = cast(Manifest, {"sha256": sha256 or name, **origin})
    return Artifact(kind, name, Path(), manifest)


def trained(name: str, fingerprint: str) -> Artifact:
    return artifact("memory", name, stage="train-dqn", fingerprint=fingerprint)


def collected(name: str, q: str | None) -> Artifact:
    parents: dict[str, Reference] = {}
    if q is not None:
        parents["q"] = {"kind": "q", "name": q, "sha256": f"{q}'s"}
    return artifact(
        "memory",
        name,
        stage="collect",
        fingerprint=name,
        settings={"policy": "random" if q is None else f"q:{q}"},
        parents=parents,
    )


def test_the_agent_of_a_memory_is_its_player_or_who_learnt_meanwhile() -> None:
    assert agent_of_memory(trained("m", "1")) == Agent("m", fingerprint="1")
    assert agent_of_memory(collected("m", "a")) == Agent("a", sha256="a's")
    assert agent_of_memory(collected("m", None)) is None
    beside = Artifact("memory", "m", Path(), {**trained("m", "1").manifest, "play": "random"})
    assert agent_of_memory(beside) is None
    assert agent_of_memory(artifact("memory", "m")) is None  # nothing is recorded


@pytest.mark.parametrize(
    ("memory", "others", "named"),
    [
        (trained("a", "1"), [], []),
        (trained("b", "2"), [], ["a", "memory b", "of b"]),
        (collected("play", "a"), [], []),
        (collected("play", "b"), [], ["a", "memory play", "of b"]),
        (collected("random", None), [], []),
        (trained("a", "1"), [trained("b", "2")], ["a", "model f", "of b"]),
        (trained("a", "1"), [collected("b", None)], []),
        (collected("random", None), [trained("b", "2")], ["a", "model f", "of b"]),
    ],
)
def test_inputs_of_different_agents_are_named(
    memory: Artifact, others: list[Artifact], named: list[str]
) -> None:
    learnt_from = {"source_memory": (others or [memory])[0].reference()}
    inputs = {
        "q": artifact("q", "a", "a's", stage="train-dqn", fingerprint="1"),
        "source_memory": memory,
        "model": artifact("model", "f", parents=learnt_from),
    }
    line = different_agents(inputs, [memory, *others])
    assert (line is None) == (not named) and all(word in (line or "") for word in named)
    without_f = {use: inputs[use] for use in ("q", "source_memory")}
    assert (different_agents(without_f, []) is None) == (not named or bool(others))
    assert different_agents({"source_memory": memory}, []) is None
    gone = different_agents({"q": inputs["q"], "model": inputs["model"]}, [])
    assert gone is None  # F's memory is no longer in the project


def test_learn_corr_says_so(
    cartpole: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = cartpole("permute:2,3,0,1")
    for command in (
        ("train-dqn",),
        ("collect",),
        ("train-model",),
        ("train-dqn", "--name", "q2", "--seed", "1"),
    ):
        assert run_in_process(*command, "-p", lab, *TINY, "--quiet") == 0
    capsys.readouterr()
    own = ("--source-memory", "source-dqn", "--gradient-steps", "2", "--eval-games", "1")
    assert run_in_process("learn-corr", "-p", lab, *TINY, *own, "--q", "source-dqn") == 0
    assert "different agents" not in capsys.readouterr().err
    assert run_in_process("learn-corr", "-p", lab, *TINY, *own, "--q", "q2", "--name", "c") == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "different agents" in line]
    assert "q2" in line and "source-dqn" in line


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Agent("a", sha256="1"), Agent("b", sha256="1"), True),
        (Agent("a", sha256="1"), Agent("a", sha256="2"), False),
        (Agent("a", sha256="1", fingerprint="f"), Agent("a", fingerprint="f"), True),
        (Agent("a", fingerprint="f"), Agent("a", fingerprint="g"), False),
        (Agent("a", sha256="1", fingerprint="f"), Agent("a", sha256="2", fingerprint="f"), False),
        (Agent("a", sha256="1"), Agent("a", fingerprint="f"), False),  # nothing to compare
        (Agent("a"), Agent("a"), False),
    ],
)
def test_agents_are_the_same_where_that_is_known(one: Agent, other: Agent, same: bool) -> None:
    assert one.is_known_as(other) is same
    assert other.is_known_as(one) is same
    assert not (same and one.differs_from(other))
