"""Which source action a target action is, by the errors of F."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from corrtool.correspondence import action_matrix as module
from corrtool.correspondence.action_matrix import (
    ActionMatrix,
    action_matrix,
    batch_matrix,
    double_centred,
)
from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.model import Correspondence
from corrtool.environment_model.network import ScaledModel
from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.memory.rows import FIELDS
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

BY_HAND = ActionMatrix(
    errors=np.array([[1.0, 3.0], [2.0, 4.0], [5.0, 1.0]]),
    changes=np.array([4.0, 4.0, 8.0]),
    actions=np.array([0, 0, 1]),
    target_count=2,
)
square = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.lists(st.floats(0, 10), min_size=n, max_size=n), min_size=n, max_size=n)
)


def measured(
    means: list[list[float]], each: int = 100, noise: float = 0.1, seed: int = 0
) -> ActionMatrix:
    """Errors about the ``means`` (A_T, A_S) of so many transitions of each target action."""
    random = np.random.default_rng(seed)
    actions = np.arange(each * len(means)) % len(means)
    errors = np.array(means)[actions]
    errors = errors + noise * random.normal(size=errors.shape)
    return ActionMatrix(errors, np.ones(len(actions)), actions, len(means))


def test_the_losses_by_hand() -> None:
    np.testing.assert_allclose(BY_HAND.relative, [[3 / 8, 7 / 8], [5 / 8, 1 / 8]], rtol=1e-6)
    np.testing.assert_allclose(BY_HAND.costs, [[3 / 16, 7 / 16], [5 / 16, 1 / 16]], rtol=1e-6)
    assert BY_HAND.best_map() == ActionMap((0, 1), 2)
    assert BY_HAND.loss(ActionMap((0, 1), 2)) == pytest.approx(4 / 16)
    assert BY_HAND.loss(ActionMap((1, 0), 2)) == pytest.approx(12 / 16)


def test_parts_are_joined() -> None:
    joined = ActionMatrix.joined([BY_HAND, BY_HAND])
    assert len(joined.actions) == 6
    np.testing.assert_allclose(joined.relative, BY_HAND.relative, rtol=1e-6)
    assert ActionMatrix.joined([BY_HAND]).target_count == 2


def test_every_second_transition_is_a_half() -> None:
    matrix = measured([[0.1, 0.2], [0.3, 0.4]], each=4)
    for first in (0, 1):
        half, rows = matrix._every_second(first), slice(first, None, 2)
        assert np.array_equal(half.errors, matrix.errors[rows])
        assert np.array_equal(half.changes, matrix.changes[rows]) and len(half.changes) == 4
        assert np.array_equal(half.actions, matrix.actions[rows])


def test_the_metrics_by_hand() -> None:
    assert BY_HAND.to_json() == {
        "transitions": 3,
        "relative_model_losses": [[0.375, 0.875], [0.625, 0.125]],
        "centred": [[-0.25, 0.25], [0.25, -0.25]],
        "equivalent_target_actions": [],
    }


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_the_noise_by_hand(scale: float) -> None:
    """Less their means the errors are ∓1, 0 and ∓2, which is ∓¾ of each of the changes 1, 2, 1.

    What that leaves are ∓¼, ±1½ and ∓1¼, with the sum of squares 3.875, over changes of 4.
    """
    errors, changes = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 7.0]]), np.array([1.0, 2.0, 1.0])
    matrix = ActionMatrix(errors, scale * changes, np.array([0, 0, 0]), 1)
    np.testing.assert_allclose(matrix.noise, [[3.875**0.5 / (4 * scale)] * 2])


def test_an_action_never_taken_says_nothing() -> None:
    matrix = ActionMatrix(np.array([[1.0, 2.0]]), np.array([4.0]), np.array([0]), 2)
    assert matrix.relative[1].tolist() == [1.0, 1.0]
    assert np.isinf(matrix.noise).all()
    assert matrix.equivalent() == []
    assert matrix.best_map() == ActionMap((0, 1), 2)


@given(square)
def test_centred_rows_and_columns_are_0_and_the_best_order_is_the_same(
    values: list[list[float]],
) -> None:
    matrix = np.array(values)
    centred = double_centred(matrix)
    np.testing.assert_allclose(centred.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(centred.mean(1), 0, atol=1e-9)
    np.testing.assert_allclose(double_centred(centred), centred, atol=1e-9)
    orders = [np.roll(np.arange(len(matrix)), k) for k in range(len(matrix))]
    rows = np.arange(len(matrix))
    apart = {(matrix[rows, o].sum() - centred[rows, o].sum()).round(6) for o in orders}
    assert max(apart) - min(apart) < 1e-5


def test_centred_by_hand() -> None:
    assert double_centred(np.array([[1.0, 2.0], [3.0, 8.0]])).tolist() == [[1, -1], [-1, 1]]


def test_a_permutation_is_found_whatever_is_easy_to_predict() -> None:
    """Source action 1 is predicted best of all, and the target's 2 worst."""
    matrix = measured([[0.5, 0.3, 0.4], [0.5, 0.3, 0.6], [0.7, 0.7, 0.8]])
    assert matrix.best_map() == ActionMap((2, 1, 0), 3)


def test_a_map_stays_unless_another_is_better_beyond_the_noise() -> None:
    near = measured([[0.500, 0.501], [0.501, 0.500]])
    assert near.better_map(ActionMap((1, 0), 2)) == ActionMap((1, 0), 2)
    far = measured([[0.5, 0.7], [0.7, 0.5]])
    assert far.better_map(ActionMap((1, 0), 2)) == ActionMap((0, 1), 2)


def test_actions_that_do_the_same_are_named() -> None:
    """As Pong's six, of which two each do the same."""
    matrix = measured([[0.2, 0.6, 0.6, 0.2], [0.6, 0.2, 0.2, 0.6], [0.6, 0.2, 0.2, 0.6],
                       [0.5, 0.5, 0.3, 0.3]])  # fmt: skip
    assert matrix.equivalent() == [(1, 2)]
    assert matrix.to_json()["equivalent_target_actions"] == [[1, 2]]
    assert measured([[0.25, 0.75], [0.25, 0.75]], noise=0.0).equivalent() == [(0, 1)]


def test_what_cannot_be_told_apart_stays_in_the_order_of_the_source() -> None:
    """Left and right are exchanged, each with a twin that does the same."""
    left, right = [0.2, 0.6, 0.2, 0.6], [0.6, 0.2, 0.6, 0.2]
    ordered = raw = 0
    for seed in range(20):
        matrix = measured([right, left, right, left], noise=0.1, seed=seed)
        raw += matrix.best_map() == ActionMap((1, 0, 3, 2), 4)
        ordered += matrix.in_order(matrix.best_map()) == ActionMap((1, 0, 3, 2), 4)
    assert raw < 10 and ordered >= 17
    told = measured([[0.3, 0.1], [0.1, 0.3]], noise=0.1)
    assert told.in_order(told.best_map()) == ActionMap((1, 0), 2)


def test_many_small_losses_do_not_add_up_to_another_order() -> None:
    """Each action is told from the next by a little, and the map turns them all round."""
    count, lost = 6, 0
    means = [[0.5 + 0.02 * abs(5 - a - b) for b in range(count)] for a in range(count)]
    right = ActionMap(tuple(reversed(range(count))), count)
    for seed in range(20):
        matrix = measured(means, noise=0.08, seed=seed)
        assert matrix._deviations_better(right, ActionMap.identity(count)) > 5
        lost += matrix._deviations_better(right, matrix.in_order(right)) > 2
    assert lost == 0


def test_of_source_actions_that_do_the_same_none_is_taken_twice_by_chance() -> None:
    """Pong's six, of which the target has four: nothing, FIRE, right and left."""
    nothing = [0.2, 0.2, 0.6, 0.6, 0.6, 0.6]
    rows = [nothing, nothing, [0.6, 0.6, 0.2, 0.9, 0.2, 0.9], [0.6, 0.6, 0.9, 0.2, 0.9, 0.2]]
    ordered = raw = 0
    for seed in range(20):
        matrix = measured(rows, noise=0.05, seed=seed)
        raw += matrix.best_map() == ActionMap((0, 1, 2, 3), 6)
        ordered += matrix.in_order(matrix.best_map()) == ActionMap((0, 1, 2, 3), 6)
    assert raw < 10 and ordered >= 15


def test_more_target_actions_than_source_actions_take_the_best_of_each() -> None:
    matrix = measured([[0.2, 0.6], [0.6, 0.2], [0.3, 0.6]])
    assert matrix.best_map() == ActionMap((0, 1, 0), 2)


def test_the_noise_is_that_of_the_mean() -> None:
    matrix = measured([[0.5, 0.5], [0.5, 0.5]], each=400, noise=0.2)
    # Half the difference of two errors with a deviation of 0.2, over √400.
    np.testing.assert_allclose(matrix.noise, 0.2 / np.sqrt(2) / 20, rtol=0.1)


@pytest.mark.parametrize("actions", [2, 6, 18])
def test_actions_without_an_effect_keep_their_map(actions: int) -> None:
    """The best of very many maps must not win on the transitions that chose it."""
    identity, changed = ActionMap.identity(actions), 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        errors = np.abs(random.normal(size=(512, 1)))
        errors = errors + 0.3 * np.abs(random.normal(size=(512, actions)))
        taken = random.integers(actions, size=512)
        matrix = ActionMatrix(errors, np.ones(512), taken, actions)
        changed += matrix.better_map(identity) != identity
    assert changed <= 4  # two standard errors are passed once in forty times


TWO_FRAMES = StateSpec("vector", (2,), 2)


class AddsTheAction(nn.Module):
    """F of two frames of two numbers: the first number of the newest grows by the action."""

    actions = 2

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        grown = states.clone()
        grown[:, 2] += actions
        return grown


MODEL = ScaledModel(AddsTheAction(), StateScaling(TWO_FRAMES))


def test_errors_and_changes_of_a_batch_by_hand() -> None:
    """The newest frame goes from (1, 5) to (2, 3), from (2, 0) to (2, 0), from (3, 0) to (3½, 0).

    What does not change does not count, however wrong F is about it.
    """
    here = torch.tensor([[9.0, 9.0, 1.0, 5.0], [9.0, 9.0, 2.0, 0.0], [9.0, 9.0, 3.0, 0.0]])
    following = torch.tensor([[7.0, 7.0, 2.0, 3.0], [7.0, 7.0, 2.0, 0.0], [7.0, 7.0, 3.5, 0.0]])
    actions = torch.tensor([2, 0, 1])
    matrix = batch_matrix(MODEL, TWO_FRAMES, here, following, actions, 3)
    assert matrix.errors.tolist() == [[3.0, 2.0], [0.0, 0.0], [0.5, 0.5]]
    assert matrix.changes.tolist() == [3.0, 0.0, 0.5]
    assert (matrix.actions.tolist(), matrix.target_count) == ([2, 0, 1], 3)
    assert matrix.errors.dtype == matrix.changes.dtype == np.float64


class Half(nn.Module):
    """A generator that halves, and notes whether it is in training and how many states come."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))
        self.calls: list[tuple[bool, int]] = []

    def forward(self, states: Tensor) -> Tensor:
        self.calls.append((self.training, len(states)))
        return states * self.weight


def halving(action_map: ActionMap | None) -> tuple[Correspondence, Half]:
    spec = StateSpec("vector", (2,))
    scalings = StateScaling(spec), StateScaling(spec)
    correspondence = Correspondence(*scalings, GeneratorDescription("linear"), action_map)
    correspondence.target_to_source = half = Half()
    return correspondence, half


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("action_map", "count"), [(None, 2), (ActionMap((0, 1, 1), 2), 3)])
def test_the_transitions_of_a_memory_are_translated_in_batches(
    monkeypatch: pytest.MonkeyPatch, training: bool, action_map: ActionMap | None, count: int
) -> None:
    """Frame k is (2k, 0): each change is 2, as translated 1, and F is right with action 1."""
    monkeypatch.setattr(module, "BATCH", 2)
    fields: dict[str, np.ndarray] = {name: np.zeros(6, dtype) for name, dtype in FIELDS.items()}
    fields["valid"][:5], fields["episode_steps"][:] = True, np.arange(6)
    fields["actions"][:5] = [0, 1, 0, 1, 1]
    frames = np.stack([2.0 * np.arange(6), np.zeros(6)], axis=1).astype(np.float32)
    spec = StateSpec("vector", (2,))
    memory = ReplayMemory.from_rows(MemoryRows(spec, 1, frames, fields), torch.device("cpu"))

    class Grows(nn.Module):
        actions = 2

        def forward(self, states: Tensor, actions: Tensor) -> Tensor:
            return states + torch.stack([actions, torch.zeros_like(actions)], dim=1)

    correspondence, half = halving(action_map)
    correspondence.train(training)
    model = ScaledModel(Grows(), StateScaling(spec))
    matrix = action_matrix(correspondence, model, memory, np.arange(5))
    assert matrix.errors.tolist() == [[1.0, 0.0]] * 5 and matrix.changes.tolist() == [1.0] * 5
    assert (matrix.actions.tolist(), matrix.target_count) == ([0, 1, 0, 1, 1], count)
    assert half.calls == [(False, 2)] * 4 + [(False, 1)] * 2
    assert correspondence.training is half.training is training
