"""Algorithms 1 and 2 as train-dqn runs them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from corrtool.memory import ReplayMemory, read_rows
from corrtool.project.artifacts import read_artifact
from corrtool.project.directory import create_project
from corrtool.project.memory_files import check_memory
from corrtool.project.weights import load_weights
from corrtool.runs.context import StageContext
from corrtool.runtime.console import Console
from corrtool.settings.stages import TrainDqnSettings
from corrtool.stages import train_dqn as train_dqn_stage
from corrtool.stages.train_dqn import train_dqn
from corrtool.tasks import Lanes, LaneStep

CPU = torch.device("cpu")


LAKE = {"id": "FrozenLake-v1", "kwargs": {"desc": ["SFF", "FHF", "GFF"]}}
ALGORITHM_1 = TrainDqnSettings(
    architecture="linear", replay=False, target_network=False, optimizer="sgd", loss="squared",
    lanes=1, env_steps_per_update=1, batch_size=1, n_step=1, double_q=False, clip_rewards=False,
    max_gradient_norm=0.0,
    learning_rate=0.25, learning_rate_end=0.25, weight_ema=0.0, greedy_from=1.0, eval_every=0,
    gamma=0.9, epsilon_start=0.3, epsilon_end=0.3, learning_starts=0, env_steps=300,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _process_as_before() -> Iterator[None]:
    """Stages make the whole process deterministic; other tests should not notice."""
    torch.manual_seed(0)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def context_of(root: Path, task: dict[str, Any], seed: int = 0) -> StageContext:
    project = create_project(root, {"source": task, "target": task}, {})
    return StageContext(project, Console(quiet=True), CPU, seed)


class RecordingLanes(Lanes):
    """The real lanes; what was done and what came of it stays in ``steps``."""

    first: ClassVar[np.ndarray]
    steps: ClassVar[list[tuple[int, LaneStep]]]

    def reset(self, seeds: list[int]) -> np.ndarray:
        RecordingLanes.first, RecordingLanes.steps = super().reset(seeds), []
        return self.first

    def send(self, actions: np.ndarray) -> None:
        self.actions_sent = actions.copy()
        super().send(actions)

    def receive(self) -> LaneStep:
        step = super().receive()
        self.steps.append((int(self.actions_sent[0]), step))
        return step


class TestAlgorithm1:
    """A linear Q-function over one-hot states is tabular Q-learning.

    It is so without replay memory and target network.
    """

    def test_is_tabular_q_learning(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(train_dqn_stage, "Lanes", RecordingLanes)
        summary = train_dqn(context_of(tmp_path, LAKE), ALGORITHM_1)
        learnt = load_weights(read_artifact(tmp_path, "q", summary["q"]))["table.weight"].numpy()

        table, state, transitions, rewards = (
            np.zeros((9, 4)),
            RecordingLanes.first[0].argmax(),
            0,
            0.0,
        )
        for action, step in RecordingLanes.steps:
            following, reward = step.frames[0].argmax(), float(step.rewards[0])
            if step.valid[0]:
                future = 0.0 if step.terminated[0] else 0.9 * table[following].max()
                table[state, action] += 0.25 * (reward + future - table[state, action])
                transitions, rewards = transitions + 1, rewards + reward
            state = following
        assert transitions == summary["gradient_steps"] == summary["env_steps"] == 300
        assert rewards >= 3  # otherwise there was nothing to learn
        assert (table > 0.01).sum() >= 6
        np.testing.assert_allclose(learnt, table.T, rtol=0, atol=1e-6)

    def test_keeps_the_records_that_the_later_stages_need(self, tmp_path: Path) -> None:
        """M_S is what train-model and learn-corr learn from, however Q was learnt."""
        summary = train_dqn(context_of(tmp_path, LAKE), ALGORITHM_1)
        path = read_artifact(tmp_path, "memory", summary["memory"]).path
        assert read_rows(path, check_memory(path)).records == 300


class TestAlgorithm2:
    settings = TrainDqnSettings(
        architecture="mlp", width=8, lanes=2, env_steps=200, learning_starts=20,
        env_steps_per_update=4,
        batch_size=8, memory_capacity=100, memory_records=60,
    )  # fmt: skip

    def test_leaves_a_q_function_and_the_newest_records(self, tmp_path: Path) -> None:
        summary = train_dqn(context_of(tmp_path, {"id": "CartPole-v1"}), self.settings)
        assert summary["env_steps"] in (200, 201)  # two lanes at a time
        assert summary["gradient_steps"] in (44, 45)  # (200 - 20) / 4
        artifact = read_artifact(tmp_path, "memory", summary["memory"])
        rows = read_rows(artifact.path, check_memory(artifact.path))
        assert rows.records == artifact.manifest["records"] == summary["records"] == 60
        states = ReplayMemory.from_rows(rows, CPU)
        assert len(states.transition_rows()) == 60
        assert set(load_weights(read_artifact(tmp_path, "q", summary["q"]))) == {
            f"layers.{layer}.{part}" for layer in (0, 2, 4) for part in ("weight", "bias")
        }

    def test_two_runs_of_one_seed_are_equal(self, tmp_path: Path) -> None:
        first, second, other = (
            train_dqn(context_of(tmp_path / name, {"id": "CartPole-v1"}, seed), self.settings)
            for name, seed in (("a", 3), ("b", 3), ("c", 4))
        )
        for learnt in ("sha256", "memory_sha256"):
            assert first[learnt] == second[learnt] != other[learnt]

    def test_goes_on_learning_in_the_smallest_memory_that_is_allowed(self, tmp_path: Path) -> None:
        task = {"id": "CartPole-v1", "preprocessing": {"stack": 4}}
        smallest = TrainDqnSettings(
            architecture="mlp", width=4, lanes=1, n_step=3, memory_capacity=5, batch_size=4,
            learning_starts=0, env_steps_per_update=1, env_steps=40, memory_records=1,
        )  # fmt: skip
        assert train_dqn(context_of(tmp_path, task), smallest)["gradient_steps"] >= 30
