"""Who played a memory, and what the stages make of it.

Random play beside an agent's, F that learns from both, M_S of M_T's kind.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any, cast

import pytest
from support.commands import one_line_error, run_in_process

from corrtool.files.sealed import read_sealed_json, seal_json
from corrtool.memory import MemoryWriter
from corrtool.project.artifacts import read_artifact
from corrtool.project.manifests import Manifest, play_of_memory
from corrtool.project.memory_files import MEMORY_MANIFEST

TINY = ("--preset", "tiny", "--device", "cpu")
QUIET = (*TINY, "--quiet")
NO_TESTS = ("--gradient-steps", "2", "--eval-games", "0", "--lambda-q", "0", "--lambda-m", "0")


def result_of(capsys: pytest.CaptureFixture[str], *command: object) -> Any:
    """The object that a command prints with ``--json``."""
    capsys.readouterr()
    assert run_in_process(*command, "--json") == 0
    return json.loads(capsys.readouterr().out)


def sha256(lab: Path, kind: str, name: str) -> str:
    return read_artifact(lab, kind, name).sha256


@pytest.fixture(scope="module")
def _played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = tmp_path_factory.mktemp("played") / "lab"
    changed = ("--target-view", "permute:2,3,0,1")
    assert run_in_process("init", lab, "--source", "CartPole-v1", *changed, "--quiet") == 0
    assert run_in_process("train-dqn", "-p", lab, *QUIET) == 0
    assert run_in_process("collect", "-p", lab, *QUIET) == 0
    return lab


@pytest.fixture
def played(_played: Path, tmp_path: Path) -> Path:
    """A project after ``train-dqn`` and ``collect``, to change."""
    return shutil.copytree(_played, tmp_path / "played")


@pytest.mark.parametrize(
    ("manifest", "play"),
    [
        ({"stage": "train-dqn", "play": "random"}, "random"),
        ({"stage": "collect", "play": "agent"}, "agent"),
        ({"stage": "train-dqn"}, "agent"),  # from here on as older versions wrote them
        ({"stage": "collect", "parents": {}}, "random"),
        ({"stage": "collect", "parents": {"q": {}, "corr": {}}}, "agent"),
        ({"stage": "collect", "play": ["sealed by somebody else"]}, "random"),
        ({}, None),
    ],
)
def test_who_played_is_written_or_follows_from_what_made_it(
    manifest: dict[str, Any], play: str | None
) -> None:
    assert play_of_memory(cast(Manifest, manifest)) == play


def test_status_names_who_played(played: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifacts = result_of(capsys, "status", "-p", played)["artifacts"]
    assert {a["name"]: a["play"] for a in artifacts if a["kind"] == "memory"} == {
        "source-dqn": "agent",
        "source-dqn-random": "random",
        "target-random": "random",
    }
    assert all(a["play"] is None for a in artifacts if a["kind"] != "memory")
    assert run_in_process("status", "-p", played) == 0
    shown = capsys.readouterr().out
    assert shown.count("random play") == 2 and shown.count("an agent's play") == 1
    assert run_in_process("verify", "-p", played) == 0


class TestTrainDqn:
    def test_leaves_the_random_play_that_collect_would(
        self, played: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        same = ("collect", "-p", played, *QUIET, "--task", "source", "--name", "same")
        assert run_in_process(*same) == 0
        left, collected = (
            read_artifact(played, "memory", n) for n in ("source-dqn-random", "same")
        )
        assert left.sha256 == collected.sha256
        for part in ("play", "role", "task_sha256", "states", "actions", "records", "lanes"):
            assert left.manifest[part] == collected.manifest[part], part
        result = result_of(capsys, "train-dqn", "-p", played, *TINY)
        assert result["random_memory"] == "source-dqn-random"
        assert result["random_memory_sha256"] == left.sha256
        assert [(a["kind"], a["name"]) for a in result["artifacts"]] == [
            ("q", "source-dqn"),
            ("memory", "source-dqn"),
            ("memory", "source-dqn-random"),
        ]

    def test_leaves_none_where_none_is_asked_for(
        self, played: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        flags = ("--random-records", "0", "--name", "alone")
        result = result_of(capsys, "train-dqn", "-p", played, *QUIET, *flags)
        assert "random_memory" not in result and len(result["artifacts"]) == 2
        assert not (played / "memories" / "alone-random.zarr").exists()
        for kind in ("q", "memory"):  # it changes nothing else
            assert sha256(played, kind, "alone") == sha256(played, kind, "source-dqn")

    def test_of_the_target_task_the_target_is_played(self, played: Path) -> None:
        own = ("--task", "target", "--random-records", "50", "--env-steps", "100")
        assert run_in_process("train-dqn", "-p", played, *QUIET, *own) == 0
        memory = read_artifact(played, "memory", "target-dqn-random")
        assert (memory.manifest["role"], memory.manifest["records"]) == ("target", 50)

    @pytest.mark.parametrize("killed", [False, True])
    def test_a_kill_meanwhile_loses_no_learning(
        self, played: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
    ) -> None:
        """Without one the same would come of it: what was learnt, and what was played."""
        command = ("train-dqn", "-p", played, *QUIET, "--name", "again")
        record, recorded = MemoryWriter.record, 0

        def interrupted(writer: MemoryWriter, *arguments: Any, **limit: Any) -> None:
            nonlocal recorded
            recorded += 1
            if killed and recorded == 20:
                raise RuntimeError("as by a kill: nothing more is saved")
            record(writer, *arguments, **limit)
            if recorded == 20:
                os.kill(os.getpid(), signal.SIGTERM)

        with monkeypatch.context() as patch:
            patch.setattr(MemoryWriter, "record", interrupted)
            assert run_in_process(*command) == (1 if killed else 143)
        run = played / "runs" / "train-dqn" / "again"
        assert not (played / "memories" / "again.zarr").exists()
        with monkeypatch.context() as patch:
            patch.setattr("corrtool.q_learning.learner.DqnLearner.update", lambda *_: 1 / 0)
            assert run_in_process(*command) == 0  # there is nothing left to learn
        assert read_sealed_json(run / "run.json")["resumptions"] == 1
        assert sha256(played, "q", "again") == sha256(played, "q", "source-dqn")
        random, unbroken = (f"{name}-random" for name in ("again", "source-dqn"))
        assert sha256(played, "memory", random) == sha256(played, "memory", unbroken)
        assert run_in_process("verify", "-p", played) == 0

    def test_can_be_extended(self, played: Path) -> None:
        longer = ("train-dqn", "-p", played, *QUIET, "--env-steps", "900", "--extend")
        before = sha256(played, "memory", "source-dqn-random")
        assert run_in_process(*longer) == 0
        assert sha256(played, "memory", "source-dqn-random") == before


class TestTrainModel:
    def test_learns_from_both(self, played: Path, capsys: pytest.CaptureFixture[str]) -> None:
        result = result_of(capsys, "train-model", "-p", played, *QUIET)
        parents = read_artifact(played, "model", "source-dqn").manifest["parents"]
        assert {use: parent["name"] for use, parent in parents.items()} == {
            "source_memory": "source-dqn",
            "random_memory": "source-dqn-random",
        }
        overall, apart = result["validation"], result["validation_by_memory"]
        assert list(apart) == ["source_memory", "random_memory"]
        counts = [errors["records"] for errors in apart.values()]
        assert sum(counts) == overall["records"] and min(counts) > 10
        mean = sum(errors["records"] * errors["l1"] for errors in apart.values()) / sum(counts)
        assert overall["l1"] == pytest.approx(mean)
        summary = read_artifact(played, "model", "source-dqn").manifest["summary"]
        assert summary == overall | {"validation_by_memory": apart}

    def test_learns_from_one_where_only_that_is_wanted(
        self, played: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name, flags in (
            ("agent", ("--no-mixed-memories",)),
            ("random", ("--memory", "source-dqn-random")),
        ):
            result = result_of(capsys, "train-model", "-p", played, *QUIET, *flags, "--name", name)
            assert "validation_by_memory" not in result
            assert list(read_artifact(played, "model", name).manifest["parents"]) == [
                "source_memory"
            ]

    def test_says_so_where_there_is_no_random_play(
        self, played: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.rmtree(played / "memories" / "source-dqn-random.zarr")
        assert run_in_process("train-model", "-p", played, *TINY, "--name", "mixed") == 0
        (line,) = [x for x in capsys.readouterr().err.splitlines() if "of random play" in x]
        assert "memory source-dqn" in line and "corrtool collect --task source" in line
        alone = ("--no-mixed-memories", "--name", "alone")
        assert run_in_process("train-model", "-p", played, *TINY, *alone) == 0
        assert "of random play" not in capsys.readouterr().err
        assert sha256(played, "model", "mixed") == sha256(played, "model", "alone")
        done = result_of(capsys, "train-model", "-p", played, *TINY, *alone[1:], "--dry-run")
        assert done["done"]  # what it reads identifies it, not how that was chosen

    def test_a_damaged_memory_of_random_play_is_not_as_if_there_were_none(
        self, played: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (played / "memories" / "source-dqn-random.zarr" / MEMORY_MANIFEST).write_bytes(b"{}")
        capsys.readouterr()
        for command in (("train-model",), ("learn-corr", *NO_TESTS)):
            assert run_in_process(*command, "-p", played, *QUIET) == 3
            assert "source-dqn-random is damaged" in one_line_error(capsys)

    def test_a_named_memory_must_be_of_random_play_and_used(
        self, played: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ("train-model", "-p", played, *QUIET)
        assert run_in_process("collect", "-p", played, *QUIET, "--task", "source") == 0
        named = ("--memory", "source-dqn", "--random-memory", "source-random")
        plan = result_of(capsys, *command, *named, "--dry-run")
        assert plan["inputs"]["random_memory"] == "memory source-random"
        assert run_in_process(*command, "--random-memory", "source-dqn") == 3
        assert "it is not of random play" in one_line_error(capsys)
        assert run_in_process(*command, "--random-memory", "gone") == 3
        assert run_in_process(*command, *named, "--no-mixed-memories") == 2
        capsys.readouterr()
        with (played / "corrtool.toml").open("a") as file:
            file.write('\n[train-model]\nrandom-memory = "source-random"\n')
        plan = result_of(capsys, *command, *named[:2], "--no-mixed-memories", "--dry-run")
        assert list(plan["inputs"]) == ["source_memory"]


class TestLearnCorr:
    def test_takes_the_newest_memory_that_was_played_as_the_targets_was(
        self, played: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        plan = ("learn-corr", "-p", played, *QUIET, *NO_TESTS, "--dry-run")
        chosen = "source_memory"
        assert result_of(capsys, *plan)["inputs"][chosen] == "memory source-dqn-random"
        newest = result_of(capsys, *plan, "--no-match-play")
        assert newest["inputs"][chosen] == "memory source-dqn"
        named = result_of(capsys, *plan, "--source-memory", "source-dqn")
        assert named["inputs"][chosen] == "memory source-dqn"
        of_target = ("--task", "target", "--policy", "q:source-dqn", "--name", "by-agent")
        assert run_in_process("train-model", "-p", played, *QUIET) == 0
        learn = ("learn-corr", "-p", played, *QUIET, *NO_TESTS, "--name", "matched")
        assert run_in_process(*learn) == 0
        assert run_in_process("collect", "-p", played, *QUIET, *of_target) == 0
        plans = result_of(capsys, *plan, "--name", "other")["inputs"]
        assert (plans[chosen], plans["target_memory"]) == ("memory source-dqn", "memory by-agent")
        again = ("--target-memory", "target-random")
        assert result_of(capsys, *plan, *again)["inputs"][chosen] == "memory source-dqn-random"

    def test_a_damaged_one_among_which_it_chose_is_refused(
        self, played: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        lost = next((played / "memories" / "source-dqn.zarr").glob("*/c/**/0"))
        lost.unlink()
        assert run_in_process("learn-corr", "-p", played, *QUIET, *NO_TESTS) == 3
        assert f"{lost} is missing" in one_line_error(capsys)
        named = ("--source-memory", "source-dqn-random")
        assert run_in_process("learn-corr", "-p", played, *QUIET, *NO_TESTS, *named) == 0

    def test_says_so_where_there_is_no_such_memory(
        self, played: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.rmtree(played / "memories" / "source-dqn-random.zarr")
        learn = ("learn-corr", "-p", played, *TINY, *NO_TESTS)
        assert run_in_process(*learn) == 0
        lines = capsys.readouterr().err.splitlines()
        (line,) = [line for line in lines if "the losses compare" in line]
        assert "memory source-dqn is of an agent's play" in line
        assert line.endswith("with 'corrtool collect --task source'")
        assert run_in_process(*learn, "--source-memory", "source-dqn", "--name", "named") == 0
        assert run_in_process(*learn, "--no-match-play", "--name", "newest") == 0
        assert "the losses compare" not in capsys.readouterr().err

    def test_without_any_source_memory_it_says_how_to_make_one(
        self, played: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("source-dqn", "source-dqn-random"):
            shutil.rmtree(played / "memories" / f"{name}.zarr")
        learn = ("learn-corr", "-p", played, *QUIET, *NO_TESTS)
        capsys.readouterr()
        assert run_in_process(*learn) == 3
        assert "make it with 'corrtool collect --task source'" in one_line_error(capsys)
        assert run_in_process(*learn, "--no-match-play") == 3
        assert "--policy q:source-dqn" in one_line_error(capsys)

    def test_memories_of_before_are_known_by_what_made_them(
        self, played: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.rmtree(played / "memories" / "source-dqn-random.zarr")
        assert run_in_process("collect", "-p", played, *QUIET, "--task", "source") == 0
        assert run_in_process("train-model", "-p", played, *QUIET) == 0
        for path in played.glob(f"memories/*/{MEMORY_MANIFEST}"):
            manifest = read_sealed_json(path)
            del manifest["play"]
            path.write_bytes(seal_json(manifest))
        plan = ("learn-corr", "-p", played, *QUIET, *NO_TESTS, "--dry-run")
        assert result_of(capsys, *plan)["inputs"]["source_memory"] == "memory source-random"
