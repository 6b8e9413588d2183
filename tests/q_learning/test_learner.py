"""One update of a Q-function, its target network and the average of its weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import nn

from corrtool.layers import copy_of_weights
from corrtool.memory import TransitionBatch
from corrtool.q_learning import learner as module
from corrtool.q_learning.learner import DqnLearner
from corrtool.q_learning.network import build_q_function
from corrtool.runs.checkpoints import load_checkpoint, save_checkpoint
from corrtool.settings.stages import TrainDqnSettings
from corrtool.states import StateSpec

CPU = torch.device("cpu")
TWO = StateSpec("vector", (2,))
STEP = 0.125  # learning rate


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def table(q_function: nn.Module) -> nn.Parameter:
    """The weights of a linear Q-function."""
    return q_function.get_parameter("table.weight")


def learner(
    weights: list[list[float]], target: list[list[float]] | None = None, **given: Any
) -> DqnLearner:
    """A linear Q-function of two coordinates and two actions, learnt with plain SGD.

    Row a holds the weights of action a.
    """
    values: dict[str, Any] = {
        "optimizer": "sgd",
        "loss": "squared",
        "learning_rate": STEP,
        "max_gradient_norm": 0.0,
        "double_q": False,
    }
    q_function = build_q_function(TWO, 2, "linear")
    table(q_function).data = torch.tensor(weights)
    made = DqnLearner(q_function, TWO, TrainDqnSettings(**(values | given)), CPU)
    if target is not None:
        table(made.target).data = torch.tensor(target)
    return made


def weights(made: DqnLearner) -> list[list[float]]:
    rows: list[list[float]] = table(made.q_function).tolist()
    return rows


def batch(
    *transitions: tuple[list[float], int, float, list[float], float, bool],
) -> TransitionBatch:
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
    """Two transitions of pictures, with actions 0 and 1.

    ``numbers`` are both returns and discounts.
    """
    actions, rows = torch.tensor([0, 1]), np.arange(2)
    return TransitionBatch(
        states, actions, numbers, next_states, numbers, terminated, torch.ones(2), rows
    )


class TestUpdate:
    """Q(s, ·) = W s with W = [[1, 0], [0, 2]].

    So s = (1, 0) has the values (1, 0), s' = (0, 1) has (0, 2).
    """

    W: ClassVar[list[list[float]]] = [[1.0, 0.0], [0.0, 2.0]]

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
            batch(
                ([1.0, 0.0], 0, 1.0, [0.0, 1.0], 0.5, False),
                ([1.0, 1.0], 1, -2.0, [1.0, 0.0], 0.25, False),
            )
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
        assert table(made.target).tolist() == [[0.0, 6.0], [0.0, -4.0]]

    def test_double_q_takes_the_learning_networks_best_action(self) -> None:
        made = learner(self.W, target=[[0.0, 6.0], [0.0, -4.0]], double_q=True)
        made.update(batch(([1.0, 0.0], 0, 1.0, [0.0, 1.0], 0.5, False)))
        # Action 1 is best in s' for the learning network; the target network gives it -4:
        # 1 - 2 = -1, error -2.
        assert weights(made) == [[0.75, 0.0], [0.0, 2.0]]

    def test_double_q_takes_the_best_action_of_each_transition(self) -> None:
        made = learner(self.W, target=[[0.0, 6.0], [10.0, -4.0]], double_q=True)
        _, errors = made.update(
            batch(
                ([1.0, 0.0], 0, 0.0, [0.0, 1.0], 1.0, False),  # action 1, of -4
                ([1.0, 0.0], 0, 0.0, [1.0, 0.0], 1.0, False),  # action 0, of 0, not 1, of 10
            )
        )
        assert errors.tolist() == [-5.0, -1.0]

    def test_no_gradient_flows_through_the_target(self) -> None:
        made = learner(self.W, target_network=False)
        assert made.target is made.q_function
        made.update(batch(([1.0, 0.0], 0, 1.0, [0.0, 1.0], 0.5, False)))
        assert weights(made) == [
            [1.125, 0.0],
            [0.0, 2.0],
        ]  # the weight of s' and its best action stays 2

    @pytest.mark.parametrize("longest", [2.0, 0.5])
    def test_large_gradients_are_scaled_down(self, longest: float) -> None:
        made = learner(self.W, max_gradient_norm=longest)
        made.update(batch(([1.0, 0.0], 0, 101.0, [0.0, 1.0], 0.0, True)))
        # The gradient is -100·(1, 0), scaled to the length 2 or ½.
        torch.testing.assert_close(
            table(made.q_function).data, torch.tensor([[1 + STEP * longest, 0.0], [0.0, 2.0]])
        )

    @pytest.mark.parametrize("optimizer, step", [("adam", 1 / 1.5), ("rmsprop", 1 / (0.1 + 0.5))])
    def test_epsilon_shortens_the_steps(self, optimizer: str, step: float) -> None:
        made = learner(self.W, optimizer=optimizer, optimizer_epsilon=0.5)
        made.update(batch(([1.0, 0.0], 0, 1.0, [0.0, 1.0], 0.5, False)))
        # The gradient is 1, Adam's unbiased mean square too, and RMSprop's a hundredth of that.
        assert weights(made)[0][0] == pytest.approx(1 + STEP * step)

    @pytest.mark.parametrize("architecture", ["small", "nature"])
    def test_images_come_to_the_q_function_between_zero_and_one(self, architecture: str) -> None:
        spec = StateSpec("image", (1, 36, 36))
        q_function = build_q_function(spec, 2, architecture)
        made = DqnLearner(q_function, spec, TrainDqnSettings(double_q=True), CPU)
        seen = []
        for network in (made.q_function, made.target):
            first = next(m for m in network.modules() if isinstance(m, torch.nn.Conv2d))
            first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        states = torch.randint(0, 256, (2, 1, 36, 36), dtype=torch.uint8)
        states[:, 0, :2, :2], states[:, 0, :2, 2:4] = 0, 255
        numbers = torch.tensor([0.0, 1.0])
        made.update(pictures(states, numbers, states, numbers > 2))
        assert [(x.min().item(), x.max().item()) for x in seen] == [(0.0, 1.0)] * 3

    def test_weights_count_in_the_huber_loss(self) -> None:
        made = learner([[1.0, 0.0], [0.0, 2.0]], loss="huber")
        transitions = batch(
            ([1.0, 0.0], 0, 1.5, [0.0, 1.0], 0.5, True), ([0.0, 1.0], 1, 0.0, [1.0, 0.0], 0.5, True)
        )
        loss, _ = made.update(replace(transitions, weights=torch.tensor([1.0, 0.5])))
        # Errors 0.5 and -2: ½ 0.5² and 2 - ½, of which the second counts half.
        assert loss.item() == (0.125 + 1.5 / 2) / 2

    def test_weights_and_errors(self) -> None:
        made = learner([[1.0, 0.0], [0.0, 2.0]])
        transitions = batch(
            ([1.0, 0.0], 0, 1.5, [0.0, 1.0], 0.5, True),
            ([0.0, 1.0], 1, 0.0, [1.0, 0.0], 0.5, False),
        )
        loss, errors = made.update(replace(transitions, weights=torch.tensor([1.0, 0.5])))
        # Targets 1.5 and ½ max(1, 0) = 0.5 where Q has 1 and 2: ½ 0.5² and ½ 1.5², of which the
        # second counts half.
        assert errors.tolist() == [0.5, -1.5]
        assert loss.item() == (0.125 + 1.125 / 2) / 2


class TestTargetNetwork:
    def test_is_copied_every_so_many_gradient_steps(self) -> None:
        made = learner([[1.0, 0.0], [0.0, 2.0]], target_sync_every=3)
        first = table(made.target).clone()
        for step in range(1, 8):
            made.update(batch(([1.0, 0.5], 0, 1.0, [0.0, 1.0], 0.5, False)))
            if step % 3 == 0:
                first = table(made.q_function).detach().clone()
            assert torch.equal(table(made.target), first)
            assert torch.equal(table(made.q_function), first) == (step % 3 == 0)
        assert made.gradient_steps == 7

    def test_is_never_learnt(self) -> None:
        made = learner([[1.0, 0.0], [0.0, 2.0]])
        made.update(batch(([1.0, 0.0], 0, 1.0, [0.0, 1.0], 0.5, False)))
        assert all(
            parameter.grad is None and not parameter.requires_grad
            for parameter in made.target.parameters()
        )


class TestCheckpoint:
    @pytest.mark.parametrize("target_network", [True, False])
    @pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
    def test_a_learner_goes_on_exactly_where_it_was(
        self, tmp_path: Path, optimizer: Literal["adam", "rmsprop", "sgd"], target_network: bool
    ) -> None:
        def new() -> DqnLearner:
            settings = TrainDqnSettings(
                optimizer=optimizer, target_network=target_network, target_sync_every=3
            )
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
        """Its weights lie in memory channels last, those in a file do not.

        Adam's moments have to follow.
        """
        spec = StateSpec("image", (2, 36, 36))
        random = np.random.default_rng(0)
        states = torch.from_numpy(random.integers(0, 256, (2, *spec.state_shape), dtype=np.uint8))
        numbers = torch.tensor([0.5, 1.0])
        transitions = pictures(states, numbers, states.flip(0), numbers > 0.7)

        def learn(made: DqnLearner) -> dict[str, torch.Tensor]:
            for _ in range(3):
                made.update(transitions)
            return copy_of_weights(made.q_function)

        unbroken, resumed = (
            DqnLearner(build_q_function(spec, 2), spec, TrainDqnSettings(), CPU) for _ in range(2)
        )
        learn(unbroken)
        save_checkpoint(tmp_path / "c", unbroken.state())
        resumed.load_state(load_checkpoint(tmp_path / "c"))
        expected, found = learn(unbroken), learn(resumed)
        assert all(torch.equal(found[name], weight) for name, weight in expected.items())


class TestAverage:
    def test_follows_the_weights_at_a_distance(self) -> None:
        made = learner([[1.0, 0.0], [0.0, 2.0]], weight_ema=0.75)
        for _ in range(2):
            made.update(batch(([1.0, 0.0], 0, 2.0, [0.0, 1.0], 0.5, True)))
        # Errors 1 and ⅞: the weight goes 1, 1.125, 1.234375. Its average goes along by 9/10 at
        # first, then by 9/11, …, until that would be less than a quarter.
        assert weights(made)[0][0] == 1.234375
        assert table(made.ema)[0, 0].item() == pytest.approx(1.1125 + 9 / 11 * (1.234375 - 1.1125))
        made.gradient_steps = 1_000
        assert made._ema_decay() == 0.75
        assert not table(made.ema).requires_grad

    def test_goes_on_from_a_checkpoint(self, tmp_path: Path) -> None:
        made, resumed = (learner([[1.0, 0.0], [0.0, 2.0]], weight_ema=0.75) for _ in range(2))
        for _ in range(2):
            made.update(batch(([1.0, 0.0], 0, 2.0, [0.0, 1.0], 0.5, True)))
        save_checkpoint(tmp_path / "c", made.state())
        resumed.load_state(load_checkpoint(tmp_path / "c"))
        assert torch.equal(table(resumed.ema), table(made.ema))
        assert not torch.equal(table(resumed.ema), table(resumed.q_function))

    def test_is_the_network_itself_without_a_setting(self) -> None:
        made = learner([[1.0, 0.0], [0.0, 2.0]], weight_ema=0.0)
        assert made.ema is made.q_function

    @pytest.mark.parametrize(
        "env_steps, plays", [(0, False), (29, False), (30, True), (1_000, True)]
    )
    def test_plays_the_training_games_in_the_end(self, env_steps: int, plays: bool) -> None:
        made = learner([[1.0, 0.0], [0.0, 2.0]], weight_ema=0.75, greedy_from=0.3, env_steps=100)
        assert made.acting_network(env_steps) is (made.ema if plays else made.q_function)


def test_the_learning_rate_moves_the_weights() -> None:
    made = learner([[1.0, 0.0], [0.0, 2.0]], learning_rate_end=STEP / 4, env_steps=10)
    made.update(batch(([1.0, 0.0], 1, 3.0, [0.0, 1.0], 0.5, True)), env_steps=10)
    # As a terminal state above: error 3, but a step of ⅛ / 4.
    assert weights(made) == [[1.0, 0.0], [0.09375, 2.0]]


@pytest.mark.parametrize("compiled", [False, True])
def test_the_objective_is_compiled_if_asked_for(
    monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    asked, begun = list[Any](), list[Any]()
    monkeypatch.setattr(module, "compile_module", lambda *given: asked.append(given))
    monkeypatch.setattr(module, "begin_step", lambda *given: begun.append(given))
    made = learner([[1.0, 0.0], [0.0, 2.0]], compile=compiled)
    made.update(batch(([1.0, 0.0], 0, 1.0, [0.0, 1.0], 0.5, False)))
    assert asked == ([(made._objective, CPU)] if compiled else [])
    assert begun == [(compiled, CPU)]
