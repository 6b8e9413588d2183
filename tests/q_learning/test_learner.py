"""Algorithms 1 and 2, and one step of learning the correspondence."""

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.learner import CorrespondenceLearner, learning_rate_share
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.pool import StatePool
from corrtool.environment_model.network import ScaledModel, build_environment_model
from corrtool.layers import copy_of_weights, freeze
from corrtool.memory import ReplayMemory, TransitionBatch, read_rows
from corrtool.project.artifacts import check_memory, load_weights, read_artifact
from corrtool.project.directory import create_project
from corrtool.q_learning.learner import DqnLearner
from corrtool.q_learning.network import build_q_function
from corrtool.q_learning.progress import Progress
from corrtool.q_learning.schedules import exploration_rate, importance_exponent, learning_rate, return_length
from corrtool.runs.checkpoints import load_checkpoint, save_checkpoint
from corrtool.runs.context import StageContext
from corrtool.runtime.console import Console
from corrtool.settings.stages import LearnCorrSettings, TrainDqnSettings
from corrtool.stages import train_dqn as train_dqn_stage
from corrtool.stages.train_dqn import train_dqn
from corrtool.states import StateScaling, StateSpec
from corrtool.tasks import Lanes

CPU = torch.device("cpu")
TWO = StateSpec("vector", (2,))
STEP = 0.125  # learning rate


@pytest.fixture(autouse=True)
def _process_as_before():
    """Stages make the whole process deterministic; other tests should not notice."""
    torch.manual_seed(0)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def learner(weights: Sequence, target: Sequence | None = None, **given: Any) -> DqnLearner:
    """A linear Q-function of two coordinates and two actions, learnt with plain SGD; row a holds the weights of action a."""
    values = {"optimizer": "sgd", "loss": "squared", "learning_rate": STEP, "max_gradient_norm": 0.0, "double_q": False}
    q_function = build_q_function(TWO, 2, "linear")
    q_function.table.weight.data = torch.tensor(weights)
    made = DqnLearner(q_function, TWO, TrainDqnSettings(**(values | given)), CPU)
    if target is not None:
        made.target.table.weight.data = torch.tensor(target)
    return made


def weights(made: DqnLearner) -> list[list[float]]:
    return made.q_function.table.weight.tolist()


def batch(*transitions: tuple[list[float], int, float, list[float], float, bool]) -> TransitionBatch:
    """(state, action, return, next state, discount, terminated), each."""
    states, actions, returns, following, discounts, terminated = zip(*transitions, strict=True)
    return TransitionBatch(
        states=torch.tensor(states),
        actions=torch.tensor(actions),
        returns=torch.tensor(returns),
        next_states=torch.tensor(following),
        discounts=torch.tensor(discounts),
        terminated=torch.tensor(terminated),
        weights=torch.ones(len(states)),
        rows=np.arange(len(states)),
    )


def pictures(
    states: torch.Tensor, numbers: torch.Tensor, next_states: torch.Tensor, terminated: torch.Tensor
) -> TransitionBatch:
    """Two transitions of pictures, with actions 0 and 1; ``numbers`` are both returns and discounts."""
    actions, rows = torch.tensor([0, 1]), np.arange(2)
    return TransitionBatch(states, actions, numbers, next_states, numbers, terminated, torch.ones(2), rows)


class TestUpdate:
    """Q(s, ·) = W s with W = [[1, 0], [0, 2]]: s = (1, 0) has the values (1, 0), s' = (0, 1) has (0, 2)."""

    W = ((1.0, 0.0), (0.0, 2.0))

    def test_one_transition(self) -> None:
        made = learner(self.W)
        loss, _ = made.update(batch(([1.0, 0.0], 0, 1.0, [0.0, 1.0], 0.5, False)))
        # Target 1 + 0.5·2 = 2, error 1, loss ½; W of action 0 moves by ⅛·1·(1, 0).
        assert loss.item() == 0.5
        assert weights(made) == [[1.125, 0.0], [0.0, 2.0]]

    def test_a_terminal_state_has_no_value(self) -> None:
        made = learner(self.W)
        made.update(batch(([1.0, 0.0], 1, 3.0, [0.0, 1.0], 0.5, True)))
        # Target 3, Q(s, 1) = 0: W of action 1 moves by ⅛·3·(1, 0).
        assert weights(made) == [[1.0, 0.0], [0.375, 2.0]]

    def test_a_batch_is_a_mean(self) -> None:
        made = learner(self.W)
        loss, _ = made.update(
            batch(([1.0, 0.0], 0, 1.0, [0.0, 1.0], 0.5, False), ([1.0, 1.0], 1, -2.0, [1.0, 0.0], 0.25, False))
        )
        # Errors 1 (as above) and -2 + 0.25·1 - 2 = -3.75; the loss is (1 + 14.0625) / 4.
        assert loss.item() == pytest.approx(3.765625)
        # W moves by ⅛·½·1·(1, 0) for action 0 and by ⅛·½·(-3.75)·(1, 1) for action 1.
        assert weights(made) == [[1.0625, 0.0], [-0.234375, 1.765625]]

    def test_huber_moves_by_one_at_most(self) -> None:
        made = learner(self.W, loss="huber")
        loss, _ = made.update(batch(([1.0, 0.0], 0, 5.0, [0.0, 1.0], 0.5, False)))
        # Error 5: loss 4.5, gradient 1.
        assert loss.item() == 4.5
        assert weights(made) == [[1.125, 0.0], [0.0, 2.0]]

    def test_targets_come_from_the_target_network(self) -> None:
        made = learner(self.W, target=[[0.0, 6.0], [0.0, -4.0]])
        made.update(batch(([1.0, 0.0], 0, 1.0, [0.0, 1.0], 0.5, False)))
        # Target 1 + 0.5·6 = 4, error 3.
        assert weights(made) == [[1.375, 0.0], [0.0, 2.0]]
        assert made.target.table.weight.tolist() == [[0.0, 6.0], [0.0, -4.0]]

    def test_double_q_takes_the_learning_networks_best_action(self) -> None:
        made = learner(self.W, target=[[0.0, 6.0], [0.0, -4.0]], double_q=True)
        made.update(batch(([1.0, 0.0], 0, 1.0, [0.0, 1.0], 0.5, False)))
        # Action 1 is best in s' for the learning network; the target network gives it -4: 1 - 2 = -1, error -2.
        assert weights(made) == [[0.75, 0.0], [0.0, 2.0]]

    def test_no_gradient_flows_through_the_target(self) -> None:
        made = learner(self.W, target_network=False)
        assert made.target is made.q_function
        made.update(batch(([1.0, 0.0], 0, 1.0, [0.0, 1.0], 0.5, False)))
        assert weights(made) == [[1.125, 0.0], [0.0, 2.0]]  # the weight of s' and its best action stays 2

    def test_large_gradients_are_scaled_down(self) -> None:
        made = learner(self.W, max_gradient_norm=2.0)
        made.update(batch(([1.0, 0.0], 0, 101.0, [0.0, 1.0], 0.0, True)))
        # The gradient is -100·(1, 0), scaled to length 2.
        torch.testing.assert_close(made.q_function.table.weight.data, torch.tensor([[1.25, 0.0], [0.0, 2.0]]))

    def test_images_come_to_the_q_function_between_zero_and_one(self) -> None:
        spec = StateSpec("image", (1, 36, 36))
        made = DqnLearner(build_q_function(spec, 2), spec, TrainDqnSettings(double_q=True), CPU)
        seen = []
        made.q_function.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        made.target.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        states = torch.randint(0, 256, (2, 1, 36, 36), dtype=torch.uint8)
        states[:, 0, 0, :2] = torch.tensor([0, 255], dtype=torch.uint8)
        numbers = torch.tensor([0.0, 1.0])
        made.update(pictures(states, numbers, states, numbers > 2))
        assert [(x.min().item(), x.max().item()) for x in seen] == [(0.0, 1.0)] * 3

    def test_weights_and_errors(self) -> None:
        made = learner([[1.0, 0.0], [0.0, 2.0]])
        transitions = batch(([1.0, 0.0], 0, 1.5, [0.0, 1.0], 0.5, True), ([0.0, 1.0], 1, 0.0, [1.0, 0.0], 0.5, False))
        loss, errors = made.update(replace(transitions, weights=torch.tensor([1.0, 0.5])))
        # Targets 1.5 and ½ max(1, 0) = 0.5 where Q has 1 and 2: ½ 0.5² and ½ 1.5², of which the second counts half.
        assert errors.tolist() == [0.5, -1.5]
        assert loss.item() == (0.125 + 1.125 / 2) / 2


class TestTargetNetwork:
    def test_is_copied_every_so_many_gradient_steps(self) -> None:
        made = learner([[1.0, 0.0], [0.0, 2.0]], target_sync_every=3)
        first = made.target.table.weight.clone()
        for step in range(1, 8):
            made.update(batch(([1.0, 0.5], 0, 1.0, [0.0, 1.0], 0.5, False)))
            if step % 3 == 0:
                first = made.q_function.table.weight.detach().clone()
            assert torch.equal(made.target.table.weight, first)
            assert torch.equal(made.q_function.table.weight, first) == (step % 3 == 0)
        assert made.gradient_steps == 7

    def test_is_never_learnt(self) -> None:
        made = learner([[1.0, 0.0], [0.0, 2.0]])
        made.update(batch(([1.0, 0.0], 0, 1.0, [0.0, 1.0], 0.5, False)))
        assert all(parameter.grad is None and not parameter.requires_grad for parameter in made.target.parameters())


class TestCheckpoint:
    @pytest.mark.parametrize("target_network", [True, False])
    @pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
    def test_a_learner_goes_on_exactly_where_it_was(self, tmp_path: Path, optimizer: str, target_network: bool) -> None:
        def new() -> DqnLearner:
            settings = TrainDqnSettings(optimizer=optimizer, target_network=target_network, target_sync_every=3)
            return DqnLearner(build_q_function(TWO, 2, "mlp", width=8), TWO, settings, CPU)

        def learn(made: DqnLearner, steps: int) -> dict[str, torch.Tensor]:
            for step in range(steps):
                made.update(batch(([1.0, 0.1 * step], 0, 1.0, [0.0, 1.0], 0.5, False)))
            return copy_of_weights(made.q_function)

        unbroken = new()
        learn(unbroken, 4)
        save_checkpoint(tmp_path / "c", unbroken.state())
        expected = learn(unbroken, 4)
        resumed = new()
        resumed.load_state(load_checkpoint(tmp_path / "c"))
        assert resumed.gradient_steps == 4
        found = learn(resumed, 4)
        assert all(torch.equal(found[name], weight) for name, weight in expected.items())

    def test_a_convolutional_one_too(self, tmp_path: Path) -> None:
        """Its weights lie in memory channels last, those in a file do not; Adam's moments have to follow."""
        spec = StateSpec("image", (2, 36, 36))
        random = np.random.default_rng(0)
        states = torch.from_numpy(random.integers(0, 256, (2, *spec.state_shape), dtype=np.uint8))
        numbers = torch.tensor([0.5, 1.0])
        transitions = pictures(states, numbers, states.flip(0), numbers > 0.7)

        def learn(made: DqnLearner) -> dict[str, torch.Tensor]:
            for _ in range(3):
                made.update(transitions)
            return copy_of_weights(made.q_function)

        unbroken, resumed = (DqnLearner(build_q_function(spec, 2), spec, TrainDqnSettings(), CPU) for _ in range(2))
        learn(unbroken)
        save_checkpoint(tmp_path / "c", unbroken.state())
        resumed.load_state(load_checkpoint(tmp_path / "c"))
        expected, found = learn(unbroken), learn(resumed)
        assert all(torch.equal(found[name], weight) for name, weight in expected.items())


class TestExplorationRate:
    settings = TrainDqnSettings(
        learning_starts=100, epsilon_start=0.9, epsilon_end=0.1, epsilon_env_steps=400, greedy_from=1.0
    )

    @pytest.mark.parametrize(
        "env_steps, epsilon",
        [(0, 0.9), (99, 0.9), (100, 0.9), (200, 0.7), (300, 0.5), (500, 0.1), (501, 0.1), (10**9, 0.1)],
    )
    def test_falls_in_a_line_once_learning_begins(self, env_steps: int, epsilon: float) -> None:
        assert exploration_rate(self.settings, env_steps) == pytest.approx(epsilon)

    def test_is_that_of_the_tests_in_the_greedy_part(self) -> None:
        settings = TrainDqnSettings(env_steps=1_000, greedy_from=0.7, epsilon_end=0.1, eval_epsilon=0.02)
        assert exploration_rate(settings, 699) > 0.1
        assert [exploration_rate(settings, step) for step in (700, 1_000, 1_007)] == [0.02] * 3

    def test_may_be_constant(self) -> None:
        constant = TrainDqnSettings(epsilon_start=0.3, epsilon_end=0.3, greedy_from=1.0)
        assert {exploration_rate(constant, step) for step in (0, 20_000, 10**6)} == {0.3}


class TestAverage:
    def test_follows_the_weights_at_a_distance(self) -> None:
        made = learner([[1.0, 0.0], [0.0, 2.0]], weight_ema=0.75)
        for _ in range(2):
            made.update(batch(([1.0, 0.0], 0, 2.0, [0.0, 1.0], 0.5, True)))
        # Errors 1 and ⅞: the weight goes 1, 1.125, 1.234375. Its average goes along by 9/10 at first, then by 9/11, …, until
        # that would be less than a quarter.
        assert weights(made)[0][0] == 1.234375
        assert made.average.table.weight[0, 0].item() == pytest.approx(1.1125 + 9 / 11 * (1.234375 - 1.1125))
        made.gradient_steps = 1_000
        assert made._average_share() == 0.75
        assert not made.average.table.weight.requires_grad

    def test_is_the_network_itself_without_a_setting(self) -> None:
        made = learner([[1.0, 0.0], [0.0, 2.0]], weight_ema=0.0)
        assert made.average is made.q_function

    @pytest.mark.parametrize("env_steps, plays", [(0, False), (29, False), (30, True), (1_000, True)])
    def test_plays_the_training_games_in_the_end(self, env_steps: int, plays: bool) -> None:
        made = learner([[1.0, 0.0], [0.0, 2.0]], weight_ema=0.75, greedy_from=0.3, env_steps=100)
        assert made.player(env_steps) is (made.average if plays else made.q_function)


class TestLearningRate:
    @pytest.mark.parametrize("env_steps, rate", [(0, 0.5), (100, 0.5), (150, 0.4), (200, 0.3), (300, 0.1), (400, 0.1)])
    def test_falls_in_a_line_to_the_last_step(self, env_steps: int, rate: float) -> None:
        settings = TrainDqnSettings(learning_rate=0.5, learning_rate_end=0.1, env_steps=300, constant_share=1 / 3)
        assert learning_rate(settings, env_steps) == pytest.approx(rate)

    def test_never_rises(self) -> None:
        settings = TrainDqnSettings(learning_rate=0.1, learning_rate_end=0.5)
        assert {learning_rate(settings, step) for step in (0, 1_000, 10**6)} == {0.1}

    def test_moves_the_weights(self) -> None:
        made = learner([[1.0, 0.0], [0.0, 2.0]], learning_rate_end=STEP / 4, env_steps=10)
        made.update(batch(([1.0, 0.0], 1, 3.0, [0.0, 1.0], 0.5, True)), env_steps=10)
        # As a terminal state above: error 3, but a step of ⅛ / 4.
        assert weights(made) == [[1.0, 0.0], [0.09375, 2.0]]


@pytest.mark.parametrize("env_steps, exponent", [(0, 0.4), (50, 0.7), (100, 1.0), (107, 1.0)])
def test_importance_weights_become_exact(env_steps: int, exponent: float) -> None:
    assert importance_exponent(TrainDqnSettings(env_steps=100), env_steps) == pytest.approx(exponent)


@pytest.mark.parametrize("env_steps, n", [(0, 10), (1_000, 10), (5_500, 6), (10_000, 3), (10**6, 3)])
def test_returns_get_shorter(env_steps: int, n: int) -> None:
    settings = TrainDqnSettings(n_step=10, n_step_end=3, n_step_env_steps=9_000, learning_starts=1_000)
    assert return_length(settings, env_steps) == n
    assert return_length(TrainDqnSettings(n_step=2, n_step_end=3), env_steps) == 2


def test_progress_keeps_the_last_twenty_returns() -> None:
    progress = Progress()
    assert progress.mean_return is None
    for game_return in range(30):
        progress.finish_game(float(game_return))
    assert (progress.games, len(progress.recent_returns)) == (30, 20)
    assert progress.mean_return == pytest.approx(19.5)  # 10 … 29


LAKE = {"id": "FrozenLake-v1", "kwargs": {"desc": ["SFF", "FHF", "GFF"]}}
ALGORITHM_1 = TrainDqnSettings(
    architecture="linear", replay=False, target_network=False, optimizer="sgd", loss="squared", lanes=1,
    env_steps_per_update=1, batch_size=1, n_step=1, double_q=False, clip_rewards=False, max_gradient_norm=0.0,
    learning_rate=0.25, learning_rate_end=0.25, weight_ema=0.0, greedy_from=1.0, eval_every=0,
    gamma=0.9, epsilon_start=0.3, epsilon_end=0.3, learning_starts=0, env_steps=300,
)  # fmt: skip


def context_of(root: Path, task: dict[str, Any], seed: int = 0) -> StageContext:
    project = create_project(root, {"source": task, "target": task}, {})
    return StageContext(project, Console(quiet=True), CPU, seed)


class RecordingLanes(Lanes):
    """The real lanes; what was done and what came of it stays in ``steps``."""

    steps: list[tuple[int, Any]]

    def reset(self, seeds: list[int]) -> np.ndarray:
        type(self).first, type(self).steps = super().reset(seeds), []
        return self.first

    def send(self, actions: np.ndarray) -> None:
        self.actions_sent = actions.copy()
        super().send(actions)

    def receive(self):
        step = super().receive()
        self.steps.append((int(self.actions_sent[0]), step))
        return step


class TestAlgorithm1:
    """A linear Q-function over one-hot states, without replay memory and target network, is tabular Q-learning."""

    def test_is_tabular_q_learning(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(train_dqn_stage, "Lanes", RecordingLanes)
        summary = train_dqn(context_of(tmp_path, LAKE), ALGORITHM_1)
        learnt = load_weights(read_artifact(tmp_path, "q", summary["q"]))["table.weight"].numpy()

        table, state, transitions, rewards = np.zeros((9, 4)), RecordingLanes.first[0].argmax(), 0, 0.0
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
        architecture="mlp", width=8, lanes=2, env_steps=200, learning_starts=20, env_steps_per_update=4,
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


class TestStatePool:
    def states(self, *values: float) -> torch.Tensor:
        return torch.tensor(values)[:, None]

    def test_of_size_zero_lets_everything_through(self) -> None:
        pool, random = StatePool(0), np.random.default_rng(0)
        for value in range(100):
            assert pool.exchange(self.states(value), random).item() == value

    def test_lets_everything_through_while_it_fills(self) -> None:
        pool, random = StatePool(5), np.random.default_rng(0)
        assert pool.exchange(self.states(0, 1, 2), random).flatten().tolist() == [0, 1, 2]
        assert pool.exchange(self.states(3, 4), random).flatten().tolist() == [3, 4]

    def test_gives_an_older_state_back_half_of_the_time(self) -> None:
        pool, random = StatePool(10), np.random.default_rng(0)
        pool.exchange(self.states(*range(10)), random)
        given = list(range(10))
        older = 0
        for value in range(10, 4010):
            out = pool.exchange(self.states(value), random).item()
            assert out in given or out == value
            if out != value:
                older += 1
                given.remove(out)  # what was given back is no longer in the pool
                given.append(value)
        assert older / 4000 == pytest.approx(0.5, abs=0.03)
        assert sorted(pool.state()["states"].flatten().tolist()) == sorted(given)

    def test_keeps_copies(self) -> None:
        pool, random = StatePool(1), np.random.default_rng(0)
        states = self.states(7)
        pool.exchange(states, random)
        states.zero_()
        given = {pool.exchange(self.states(8), random).item() for _ in range(20)}
        assert given == {7.0, 8.0}

    def test_goes_on_exactly_where_it_was(self, tmp_path: Path) -> None:
        for filled in (0, 2, 9):
            pool, random = StatePool(4), np.random.default_rng(filled)
            for value in range(filled):
                pool.exchange(self.states(value), random)
            save_checkpoint(tmp_path / "c", {"pool": pool.state(), "random": random.bit_generator.state})
            expected = [pool.exchange(self.states(value), random).item() for value in range(100, 140)]

            loaded = load_checkpoint(tmp_path / "c")
            resumed, random = StatePool(4), np.random.default_rng(99)
            resumed.load_state(loaded["pool"], CPU)
            random.bit_generator.state = loaded["random"]
            assert [resumed.exchange(self.states(value), random).item() for value in range(100, 140)] == expected


class TestLearningRateShare:
    @pytest.mark.parametrize("step, share", [(0, 1.0), (1, 0.9), (5, 0.5), (9, 0.1), (10, 0.0), (11, 0.0)])
    def test_falls_in_a_line_to_zero(self, step: int, share: float) -> None:
        assert learning_rate_share(step, 10, 0.0) == pytest.approx(share)

    @pytest.mark.parametrize("step, share", [(0, 1.0), (74, 1.0), (75, 1.0), (80, 0.8), (99, 0.04), (100, 0.0)])
    def test_may_be_constant_at_first(self, step: int, share: float) -> None:
        assert learning_rate_share(step, 100, 0.75) == pytest.approx(share)

    def test_may_be_constant_to_the_end(self) -> None:
        assert [learning_rate_share(step, 10, 1.0) for step in (0, 5, 9)] == [1.0] * 3


class Setup:
    """A correspondence between vectors of two sizes, or between small pictures, with everything around it."""

    def __init__(self, kind: str = "vector", steps: int = 10, **given: Any) -> None:
        if kind == "vector":
            source, target, generator = (
                StateSpec("vector", (3,)),
                StateSpec("vector", (2,)),
                GeneratorDescription("linear"),
            )
        else:
            source = target = StateSpec("image", (1, 36, 36))
            generator = GeneratorDescription("resnet-rotation", filters=2, blocks=1)
        torch.manual_seed(0)
        self.source_q = freeze(build_q_function(source, 4, "auto", 8))
        network = build_environment_model(source, 4, filters=2, blocks=1)
        self.model = ScaledModel(network, StateScaling(source))
        freeze(self.model)
        self.correspondence = Correspondence(StateScaling(source), StateScaling(target), generator)
        settings = LearnCorrSettings(discriminator_filters=2, **given)
        q = self.source_q if settings.lambda_q else None
        model = self.model if settings.lambda_m else None
        random = np.random.default_rng(0)
        self.learner = CorrespondenceLearner(self.correspondence, q, model, settings, steps, random, CPU)
        draw = torch.Generator().manual_seed(1)

        def states(spec: StateSpec) -> torch.Tensor:
            if spec.kind == "vector":
                return torch.randn(3, *spec.state_shape, generator=draw)
            return torch.randint(0, 256, (3, *spec.state_shape), generator=draw, dtype=torch.uint8)

        self.batch = states(source), states(target), torch.tensor([0, 1, 3]), states(target)

    def update(self) -> dict[str, torch.Tensor]:
        return self.learner.update(*self.batch)

    def networks(self) -> dict[str, nn.Module]:
        return {
            "target_to_source": self.correspondence.target_to_source,
            "source_to_target": self.correspondence.source_to_target,
            "q": self.source_q,
            "model": self.model,
            "source_discriminator": self.learner.source_discriminator,
            "target_discriminator": self.learner.target_discriminator,
        }


def changed(before: dict[str, torch.Tensor], network: nn.Module) -> bool:
    return any(not torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


class TestCorrespondenceLearner:
    @pytest.mark.parametrize(
        "lambdas, forwards, terms",
        [
            # GAN: each generator once, nothing else.
            ((0, 0, 0), (1, 1, 0, 0), {"gan"}),
            # CycleGAN: each generator also reconstructs.
            ((10, 0, 0), (2, 2, 0, 0), {"gan", "cycle"}),
            # (10) reconstructs source states only, and needs Q of them and of the originals.
            ((0, 1, 0), (2, 1, 2, 0), {"gan", "q"}),
            # (11) translates the next target state and predicts it once.
            ((0, 0, 10), (2, 1, 0, 1), {"gan", "model"}),
            # Everything: the reconstruction of source states is shared by (9) and (10).
            ((1, 1, 1), (3, 2, 2, 1), {"gan", "cycle", "q", "model"}),
        ],
        ids=["GAN", "CycleGAN", "Q", "model", "all"],
    )
    def test_a_lambda_of_zero_costs_nothing(self, lambdas: tuple, forwards: tuple, terms: set[str]) -> None:
        cyc, q, m = lambdas
        setup = Setup(lambda_cyc=cyc, lambda_q=q, lambda_m=m)
        states: Counter[str] = Counter()
        for name, network in setup.networks().items():
            network.register_forward_pre_hook(lambda _, inputs, name=name: states.update({name: len(inputs[0])}))
        computed = setup.update()
        batches = {name: count / 3 for name, count in states.items()}  # one pass may take several batches at once
        names = ("target_to_source", "source_to_target", "q", "model")
        assert tuple(batches.get(name, 0) for name in names) == forwards
        assert batches["source_discriminator"] == batches["target_discriminator"] == 3  # for G, real and generated
        assert set(computed) == terms | {"source_discriminator", "target_discriminator"}
        assert all(term.isfinite() and not term.requires_grad for term in computed.values())

    @pytest.mark.parametrize("kind", ["vector", "image"])
    def test_q_and_model_are_frozen_and_everything_else_learns(self, kind: str) -> None:
        setup = Setup(kind, lambda_cyc=1, lambda_q=1, lambda_m=1)
        networks = setup.networks()
        before = {name: copy_of_weights(network) for name, network in networks.items()}
        setup.update()
        assert {name for name, network in networks.items() if changed(before[name], network)} == {
            "target_to_source", "source_to_target", "source_discriminator", "target_discriminator",
        }  # fmt: skip
        for name in ("q", "model"):
            assert not networks[name].training
            assert all(parameter.grad is None for parameter in networks[name].parameters())
        for name in ("target_to_source", "source_to_target"):
            gradients = [parameter.grad for parameter in networks[name].parameters()]
            assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
            assert any(gradient.any() for gradient in gradients)

    @pytest.mark.parametrize("name, term", [("lambda_q", "q"), ("lambda_m", "model")])
    def test_gradients_flow_through_q_and_model_into_the_generators(self, name: str, term: str) -> None:
        gradients = []
        for weight in (1.0, 1000.0):
            setup = Setup(**{"lambda_cyc": 0, "lambda_q": 0, "lambda_m": 0, name: weight})
            assert setup.update()[term] > 0
            gradients.append(setup.correspondence.target_to_source.layer.weight.grad.norm().item())
        assert gradients[1] > 10 * gradients[0] > 0

    def test_a_generator_does_not_train_the_discriminators(self) -> None:
        """Their gradients are those of their own loss alone."""
        setup = Setup(lambda_cyc=0, lambda_q=0, lambda_m=0, pool_size=0)
        discriminator = copy.deepcopy(setup.learner.source_discriminator)
        real = setup.batch[0]
        with torch.no_grad():
            generated = setup.correspondence.target_to_source(setup.batch[1])
        (0.5 * ((discriminator(real) - 1).square().mean() + discriminator(generated).square().mean())).backward()
        setup.update()
        for expected, found in zip(
            discriminator.parameters(), setup.learner.source_discriminator.parameters(), strict=True
        ):
            torch.testing.assert_close(found.grad, expected.grad)

    def test_the_learning_rate_falls_to_zero(self) -> None:
        setup = Setup(steps=2, learning_rate=0.01)
        networks = {k: v for k, v in setup.networks().items() if k not in ("q", "model")}
        moved = []
        for _ in range(3):
            before = {name: copy_of_weights(network) for name, network in networks.items()}
            setup.update()
            moved.append({name for name, network in networks.items() if changed(before[name], network)})
        assert moved == [set(networks), set(networks), set()]  # 1, ½ and 0 of the learning rate

    def test_adams_first_step_is_as_long_as_the_learning_rate(self) -> None:
        setup = Setup(steps=10, learning_rate=0.01)
        before = setup.correspondence.target_to_source.layer.weight.detach().clone()
        setup.update()
        step = (setup.correspondence.target_to_source.layer.weight - before).abs()
        torch.testing.assert_close(step, torch.full_like(step, 0.01), rtol=1e-3, atol=0)

    def test_goes_on_exactly_where_it_was(self, tmp_path: Path) -> None:
        unbroken = Setup(pool_size=4)
        for _ in range(4):
            unbroken.update()
        save_checkpoint(tmp_path / "c", unbroken.learner.state())
        expected = [unbroken.update() for _ in range(4)]

        resumed = Setup(pool_size=4)
        resumed.learner.load_state(load_checkpoint(tmp_path / "c"))
        assert resumed.learner.gradient_steps == 4
        for terms in expected:
            found = resumed.update()
            assert {name: term.item() for name, term in found.items()} == {n: t.item() for n, t in terms.items()}
        for name, weight in copy_of_weights(unbroken.correspondence).items():
            assert torch.equal(resumed.correspondence.state_dict()[name], weight)

    def test_both_directions_start_from_opposite_angles(self) -> None:
        spec = StateSpec("image", (1, 36, 36))
        generator = GeneratorDescription("rotation", angle_init=30.0)
        correspondence = Correspondence(StateScaling(spec), StateScaling(spec), generator)
        angles = [g.angle.item() for g in (correspondence.target_to_source, correspondence.source_to_target)]
        assert angles == pytest.approx([np.radians(30), -np.radians(30)])
