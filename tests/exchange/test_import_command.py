"""``corrtool import q``: what it asks for, what it refuses, and what comes after it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.commands import one_line_error, run_in_process
from support.foreign_agents import CleanrlNetwork, Sb3Policy, saved, sb3_data, write_sb3

import corrtool
from corrtool.errors import ArtifactError, UsageError
from corrtool.project.artifacts import artifact_path, find_artifacts, read_artifact
from corrtool.project.directory import create_project
from corrtool.project.locks import lock_artifacts

pytestmark = pytest.mark.usefixtures("seeded")
TINY = ("--preset", "tiny", "--device", "cpu")
SAME = ("--preprocessing", "same")


@pytest.fixture
def lab(cartpole: Callable[..., Path]) -> Path:
    """A project of CartPole without anything, and of its target with its numbers reversed."""
    return cartpole("permute:3,2,1,0")


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """A DQN zip for CartPole."""
    return write_sb3(tmp_path / "my agent.zip", Sb3Policy(2, (4, 16, 8)), sb3_data([4], 2))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of CleanRL for CartPole."""
    path = tmp_path / "dqn.cleanrl_model"
    path.write_bytes(saved(CleanrlNetwork(2, 4).state_dict()))
    return path


def imported(lab: Path, path: Path, *flags: object, form: str = "sb3") -> int:
    return run_in_process("import", "q", path, "-p", lab, "--from", form, *flags)


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """What a command prints with --json."""
    capsys.readouterr()
    assert run_in_process(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


class TestWhatIsAskedFor:
    def test_the_preprocessing(
        self, lab: Path, agent: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert imported(lab, agent) == 2
        line = one_line_error(capsys)
        assert "the source task has states of 4 numbers, 1 stacked; numbers as the" in line
        assert line.endswith("if the agent had the same, else what was different")
        assert find_artifacts(lab, "q") == []
        for text in ("", " ", "x" * 501):
            assert imported(lab, agent, "--preprocessing", text) == 2
            assert "--preprocessing has" in one_line_error(capsys)

    def test_a_dry_run_asks_and_writes_nothing(
        self, lab: Path, agent: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = sorted(lab.rglob("*"))
        plan = told(capsys, "import", "q", agent, "--from", "sb3", "-p", lab, "--dry-run")
        assert sorted(lab.rglob("*")) == before
        assert (plan["dry_run"], plan["done"], plan["produces"]) == (True, False, ["q my-agent"])
        assert "--preprocessing" in plan["missing"][0]
        assert plan["imported"]["file"] == "my agent.zip"
        assert imported(lab, agent, "--dry-run", *SAME) == 0
        out = capsys.readouterr().out
        assert out.startswith("Q-function my-agent would be written, from my agent.zip\n")
        assert "missing" not in out and sorted(lab.rglob("*")) == before

    def test_what_the_file_does_not_say(
        self, lab: Path, model: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert imported(lab, model, *SAME, form="cleanrl") == 0
        out = capsys.readouterr().out
        assert "the file says: nothing but the weights" in out
        assert "does not say gamma, so 0.99 is assumed; --gamma says otherwise" in out
        assert "assumed: the rewards as they are; --clip-rewards says otherwise" in out
        flags = ("--gamma", 0.5, "--clip-rewards", "--seed", 4)
        assert imported(lab, model, *SAME, *flags, form="cleanrl") == 0
        assert "assumed" not in capsys.readouterr().out
        manifest = read_artifact(lab, "q", "dqn-seed4").manifest
        assert (manifest["settings"]["gamma"], manifest["settings"]["clip_rewards"]) == (0.5, True)
        assert (manifest["seed"], manifest["stage"]) == (4, "import")

    def test_what_contradicts_it(
        self, lab: Path, agent: Path, model: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert imported(lab, agent, *SAME, "--gamma", 0.9) == 2
        assert "--gamma is 0.9, but the file says 0.98" in one_line_error(capsys)
        assert imported(lab, agent, *SAME, "--gamma", 1.5) == 2
        assert "must be at most 1" in one_line_error(capsys)
        assert imported(lab, agent, *SAME, "--mapping", agent) == 2
        assert "--mapping is for --from torch, not sb3" in one_line_error(capsys)
        assert imported(lab, agent, *SAME, form="torch") == 3  # an archive of another library
        assert "holds more than tensors" in one_line_error(capsys)
        assert imported(lab, agent, *SAME, "--name", "../x") == 2
        assert "is not an artifact name" in one_line_error(capsys)
        assert run_in_process("import", "q", agent, "-p", lab, *SAME) == 2
        assert "--from" in one_line_error(capsys)


class TestAgain:
    def test_the_same_is_there_already(
        self, lab: Path, agent: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert imported(lab, agent, *SAME, "--name", "a", "--quiet") == 0
        path = artifact_path(lab, "q", "a")
        written = path.stat().st_mtime_ns
        assert imported(lab, agent, *SAME, "--name", "a") == 0
        assert "Q-function a is there already; --overwrite" in capsys.readouterr().out
        command = ("import", "q", agent, "--from", "sb3", "-p", lab, *SAME, "--name", "a")
        assert told(capsys, *command, "--dry-run")["done"] is True
        assert path.stat().st_mtime_ns == written
        assert imported(lab, agent, *SAME, "--name", "a", "--overwrite", "--quiet") == 0
        assert path.stat().st_mtime_ns > written

    def test_something_else_of_its_name(
        self, lab: Path, agent: Path, model: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert imported(lab, agent, *SAME, "--name", "a", "--quiet") == 0
        other = write_sb3(agent.parent / "b.zip", Sb3Policy(2, (4, 16, 8)), sb3_data([4], 2))
        for path, flags, why in (
            (agent, ("--preprocessing", "VecNormalize"), "preprocessing was same, now VecN"),
            (agent, (*SAME, "--seed", 3), "seed was 0, now 3"),
            (other, SAME, "its weights are others"),
        ):
            for more in ((), ("--dry-run",)):
                assert imported(lab, path, *flags, *more, "--name", "a") == 2
                line = one_line_error(capsys)
                assert f"Q-function a exists and is another one ({why}" in line
                assert line.endswith("choose another --name, or --overwrite it")
        assert imported(lab, other, *SAME, "--name", "a", "--overwrite", "--quiet") == 0
        assert run_in_process("train-dqn", "-p", lab, *TINY, "--name", "a") == 2
        assert "q 'a' exists" in one_line_error(capsys)

    def test_damage_and_locks(
        self, lab: Path, agent: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert imported(lab, agent, *SAME, "--name", "a", "--quiet") == 0
        path = artifact_path(lab, "q", "a")
        path.write_bytes(path.read_bytes()[:-1] + b"\x07")
        assert imported(lab, agent, *SAME, "--name", "a") == 3
        assert "is damaged" in one_line_error(capsys)
        with lock_artifacts(lab, [("q", "a")]):
            assert imported(lab, agent, *SAME, "--name", "a", "--overwrite") == 5
            assert "is being written by" in one_line_error(capsys)
        assert imported(lab, agent, *SAME, "--name", "a", "--overwrite", "--quiet") == 0
        assert run_in_process("verify", "-p", lab, "--quiet") == 0


class TestWhatDoesNotFit:
    @pytest.mark.parametrize(
        "network, message",
        [
            (CleanrlNetwork(3, 4), "does not fit the task: it has 3 actions, the task 2"),
            (CleanrlNetwork(2, 8), "it has 8 numbers in a state, the task 4"),
            (CleanrlNetwork(2), "for the states of the task (4 numbers, 1 stacked): convolutions"),
        ],
        ids=["actions", "numbers", "pictures"],
    )
    def test_vectors(
        self, lab: Path, network: Any, message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (lab / "agent").write_bytes(saved(network.state_dict()))
        assert imported(lab, lab / "agent", *SAME, form="cleanrl") == 3
        assert message in one_line_error(capsys)

    def test_pictures(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        table = {"id": "ALE/Breakout-v5", "preprocessing": {"stack": 3, "screen_size": 96}}
        lab = create_project(tmp_path / "lab", {"source": table, "target": table}, {}).root
        (lab / "agent").write_bytes(saved(CleanrlNetwork(6).state_dict()))
        assert imported(lab, lab / "agent", *SAME, form="cleanrl") == 3
        assert (
            "it has 4 channels in a state (frames times colours), the task 3; it has 3,136 numbers "
            "after the convolutions, the task 4,096; it has 6 actions, the task 4"
        ) in one_line_error(capsys)
        write_sb3(lab / "agent.zip", Sb3Policy(6), sb3_data([4, 84, 84], 6))
        assert imported(lab, lab / "agent.zip", *SAME) == 3
        assert (
            "was trained on observations of the shape (4, 84, 84), uint8; the states of the task "
            "have the shape (3, 96, 96) (96 × 96 pixels, 1 channel, 3 stacked)"
        ) in one_line_error(capsys)

    def test_bytes_of_three_axes_are_not_vectors(self, lab: Path) -> None:
        """Stable-Baselines3 divides them by 255."""
        data = sb3_data([2, 2, 1], 2)
        path = write_sb3(lab / "agent.zip", Sb3Policy(2, (4, 8)), data)
        assert imported(lab, path, *SAME) == 3
        data["observation_space"]["dtype"] = "float32"
        assert imported(lab, write_sb3(path, Sb3Policy(2, (4, 8)), data), *SAME, "--quiet") == 0

    @pytest.mark.parametrize(
        "text, code, message",
        [
            ('{"layers.0.weight": "w"}', 3, "holds no Q-function for the states of the task"),
            ('{"layers.0.weight": "v"}', 3, "has no 'v', which the mapping names"),
            ("{}", 3, "it has no weights"),
            ("[]", 2, "it is no table of names"),
            ('{"layers.0.weight": 3}', 2, "it is no table of names"),
            ("layers", 2, "cannot be understood"),
            ("[" * 10**5, 2, "cannot be understood"),
        ],
    )
    def test_mappings(
        self, lab: Path, text: str, code: int, message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        save_file({"w": torch.zeros(8, 4)}, lab / "agent")
        (lab / "names.json").write_text(text)
        assert imported(lab, lab / "agent", *SAME, form="torch") == 2
        said = one_line_error(capsys)
        assert "--mapping FILE" in said and "layers.0" in said and "which has " in said
        flags = (*SAME, "--mapping", lab / "names.json")
        assert imported(lab, lab / "agent", *flags, form="torch") == code
        assert message in one_line_error(capsys)
        assert imported(lab, lab / "agent", *SAME, "--mapping", lab / "no", form="torch") == 2
        assert "--mapping: cannot read" in one_line_error(capsys)


class TestWhatComesAfter:
    def test_every_stage_works_with_it(
        self, lab: Path, agent: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert imported(lab, agent, *SAME, "--name", "them", "--quiet") == 0
        status = told(capsys, "status", "-p", lab)["artifacts"]
        assert [(a["kind"], a["state"], a["imported"]["file"]) for a in status] == [
            ("q", "whole", "my agent.zip")
        ]
        assert run_in_process("status", "-p", lab) == 0
        assert "from my agent.zip" in capsys.readouterr().out
        assert run_in_process("train-model", "-p", lab, *TINY) == 3
        assert "'corrtool collect --task source --policy q:them'" in one_line_error(capsys)
        plans = told(capsys, "transfer", "-p", lab, *TINY, "--from-q", "them", "--dry-run")
        made = [(p["stage"], p["name"]) for p in plans["steps"] if p["stage"] != "evaluate"]
        assert made[:2] == [("collect", "source-them"), ("collect", "source-random")]
        assert made[2:] == [
            ("collect", "target-random"),
            ("train-model", None),
            ("learn-corr", None),
        ]
        result = told(capsys, "transfer", "-p", lab, *TINY, "--from-q", "them", "--games", 2)
        assert result["source_agent"] == "them" and len(result["rows"]) == 5
        memory = read_artifact(lab, "memory", "source-them").manifest
        assert memory["parents"]["q"]["sha256"] == read_artifact(lab, "q", "them").sha256
        assert imported(lab, agent, *SAME, "--name", "them") == 0
        assert "M_S" not in capsys.readouterr().out  # it is there now
        assert run_in_process("finetune", "-p", lab, *TINY, "--quiet") == 0
        assert run_in_process("verify", "-p", lab, "--quiet") == 0

    def test_an_agent_of_the_target(
        self, lab: Path, model: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        flags = ("--task", "target", "--preprocessing", "the numbers as they are", "--name", "them")
        assert imported(lab, model, *flags, form="cleanrl") == 0
        out = capsys.readouterr().out
        assert "'corrtool evaluate --task target --q them'" in out and "M_S" not in out
        assert "it may play worse than where it comes from: the numbers as they are" in out
        assert "seen through permute:3,2,1,0" in out
        played = told(capsys, "evaluate", "-p", lab, "--q", "them", "--games", 2)
        assert (played["task"], played["q"], played["corr"]) == ("target", "them", None)

    def test_from_python(self, lab: Path, agent: Path, model: Path) -> None:
        project = corrtool.open_project(lab)
        plan: Any = project.import_q(agent, format="sb3", dry_run=True)
        assert plan["missing"] and project.artifacts() == []
        result = project.import_q(agent, format="sb3", preprocessing="same", name="a", seed=2)
        assert (result["q"], result["seed"], result["parameters"]) == ("a", 2, 234)
        assert result["artifacts"][0]["sha256"] == result["sha256"]
        assert read_artifact(lab, "q", "a").manifest["command"] == (
            f"corrtool import q '{agent}' --from sb3 --preprocessing same --name a --seed 2"
        )
        made = project.import_q(model, format="cleanrl", preprocessing="same", clip_rewards=False)
        assert "--no-clip-rewards" in read_artifact(lab, "q", made["q"]).manifest["command"]
        with pytest.raises(UsageError, match="--format is 'keras'"):
            project.import_q(agent, format="keras")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="import q has no argument 'device'"):
            project.import_q(agent, format="sb3", device="cpu")  # type: ignore[call-arg]
        with pytest.raises(ArtifactError, match="there is no file"):
            project.import_q(lab / "missing", format="sb3", preprocessing="same")
