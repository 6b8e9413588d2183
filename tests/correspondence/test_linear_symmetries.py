"""Which of several symmetries of F a linear start is."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.linear_candidates import Transitions
from corrtool.correspondence.linear_maps import matrices
from corrtool.correspondence.linear_start import LinearStart
from corrtool.correspondence.linear_starts import LinearStartSearch, comparable
from corrtool.correspondence.linear_symmetries import best_symmetry, few_changes, symmetries
from corrtool.environment_model.network import ScaledModel
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

SPEC = StateSpec("vector", (4,))
LEFT_AND_RIGHT = ActionMap((0, 1), 2)


class BasketAndFruit(nn.Module):
    """F: place and speed of a basket, which is pushed, and of a fruit, which is not."""

    actions = 2

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        basket, speed, fruit, wind = states.unbind(1)
        push = 2.0 * actions - 1.0
        return torch.stack(
            [0.9 * basket + speed, 0.5 * speed + 0.3 * push, 0.8 * fruit + wind, 0.9 * wind], 1
        )


class TwoAxes(nn.Module):
    """F: two places, each with its speed; the actions push them to the right and upwards."""

    actions = 2

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        x, right, y, up = states.unbind(1)
        pushed_right, pushed_up = 0.3 * (actions == 0), 0.3 * (actions == 1)
        return torch.stack(
            [0.9 * x + right, 0.5 * right + pushed_right, 0.9 * y + up, 0.5 * up + pushed_up], 1
        )


def transitions(model: nn.Module) -> Transitions:
    random = torch.Generator().manual_seed(0)
    states = torch.randn(400, 4, generator=random)
    actions = torch.randint(2, (400,), generator=random)
    following: Tensor = model(states, actions)
    return Transitions(states, actions, following)


def search_with(model: nn.Module, *, find_actions: bool) -> LinearStartSearch:
    played = transitions(model)
    return LinearStartSearch(
        ScaledModel(model, StateScaling(SPEC)),
        played.states,
        played,
        StateScaling(SPEC),
        LEFT_AND_RIGHT,
        np.random.default_rng(0),
        find_actions=find_actions,
    )


def start_of(weight: Tensor, action_map: ActionMap = LEFT_AND_RIGHT) -> LinearStart:
    return LinearStart(weight, torch.zeros(4), action_map, 0.0, signed_permutation=True, exact=True)


def diagonal(*signs: float) -> Tensor:
    return torch.diag(torch.tensor(signs, dtype=torch.float32))


def found_by(search: LinearStartSearch, start: LinearStart) -> set[tuple[object, ...]]:
    return {
        (tuple(map(tuple, other.weight.round().int().tolist())), other.action_map.source_of)
        for other in symmetries(search, start)
    }


def entries(weight: Tensor) -> tuple[tuple[int, ...], ...]:
    return tuple(map(tuple, weight.int().tolist()))


def test_parts_that_do_not_move_each_other_are_mirrored_one_by_one() -> None:
    """The mirrored basket needs the other actions; both parts together are a product."""
    start = start_of(torch.eye(4))
    fruit = (entries(diagonal(1, 1, -1, -1)), (0, 1))
    basket = (entries(diagonal(-1, -1, 1, 1)), (1, 0))
    both = (entries(diagonal(-1, -1, -1, -1)), (1, 0))
    model = BasketAndFruit()
    assert found_by(search_with(model, find_actions=False), start) == {fruit}
    assert found_by(search_with(model, find_actions=True), start) == {fruit, basket, both}
    wrong = start_of(diagonal(1, 1, -1, -1))
    right = (entries(torch.eye(4)), (0, 1))
    assert right in found_by(search_with(model, find_actions=True), wrong)


def test_axes_are_exchanged_along_with_their_actions() -> None:
    start = start_of(torch.eye(4))
    exchanged = (entries(torch.eye(4)[[2, 3, 0, 1]]), (1, 0))
    assert found_by(search_with(TwoAxes(), find_actions=True), start) == {exchanged}
    assert found_by(search_with(TwoAxes(), find_actions=False), start) == set()


def test_a_shift_stays_where_the_mean_of_the_source_is() -> None:
    """A fruit whose place is 2 on average is mirrored about that, where the start has a shift."""
    search = search_with(BasketAndFruit(), find_actions=False)
    shift = torch.tensor([0.0, 0.0, 2.0, 0.0])
    start = replace(start_of(torch.eye(4)), bias=shift, exact=False)
    search._source = search._source + shift
    (change,) = matrices([((0, 1, 2, 3), (1, 1, -1, -1))], 4)
    maps = search.changed(start, change[None], search.judging).maps
    mean = search._source.mean(0)
    fruit = search.judging.states[:, 2] + 2.0
    torch.testing.assert_close(maps(search.judging.states)[0, :, 2], 2 * mean[2] - fruit)
    torch.testing.assert_close(maps(search.judging.states)[0, :, 0], search.judging.states[:, 0])


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_few_changes_are_distinct_signed_permutations(size: int) -> None:
    found = few_changes(size)
    assert len(set(found)) == len(found)
    for order, signs in found:
        assert sorted(order) == list(range(size)) and set(signs) <= {-1, 1}
    signs_of_three = [change for change in found if change[0] == tuple(range(size))]
    most = {1: 1, 2: 3, 3: 7, 5: 30}  # of 2⁵ - 1 all but that of five
    assert len(signs_of_three) == most[size]


def test_f_may_explain_the_right_one_a_third_less() -> None:
    """Of a drone's lantern it did, on a few transitions; the rewards have to see both."""
    assert comparable(0.3) >= 0.3 * 4 / 3
    assert comparable(1.0) == pytest.approx(1.25 * (1.25 + 0.005) + 0.005)


class TestBest:
    """The rewards say of each map how large the temporal differences are."""

    SEARCH = search_with(BasketAndFruit(), find_actions=True)
    START = start_of(torch.eye(4))

    def best(self, *, mirrored_fruit: float, noise: float = 0.0) -> LinearStart:
        """Others have differences of 1; a fruit that is mirrored alone has these."""
        random = torch.Generator().manual_seed(0)

        def differences(start: LinearStart) -> Tensor:
            alone = entries(start.weight) == entries(diagonal(1, 1, -1, -1))
            size = mirrored_fruit if alone else 1.0
            return size + noise * torch.randn(200, generator=random)

        best, count = best_symmetry(self.SEARCH, self.START, differences)
        assert count == 3
        return best

    def test_the_least_squares_are_taken(self) -> None:
        assert torch.equal(self.best(mirrored_fruit=0.5).weight, diagonal(1, 1, -1, -1))
        assert self.best(mirrored_fruit=1.5) is self.START

    def test_of_equals_the_one_that_was_found(self) -> None:
        assert self.best(mirrored_fruit=1.0) is self.START

    def test_a_difference_within_the_noise_is_none(self) -> None:
        assert self.best(mirrored_fruit=0.98, noise=1.0) is self.START

    def test_once_the_start_is_refuted_the_best_of_the_others_is_taken(self) -> None:
        """One is better for sure; another by more, 0.3, of which the standard error is 0.12."""
        surely, most = symmetries(self.SEARCH, self.START)[:2]
        few = torch.zeros(200)
        few[:28] = 5**0.5

        def differences(start: LinearStart, sure: float) -> Tensor:
            if torch.equal(start.weight, most.weight):
                return few
            size = sure if torch.equal(start.weight, surely.weight) else 1.0
            return torch.full((200,), size)

        for sure, best in ((0.9, most), (0.5, surely), (1.0, self.START)):
            found, _ = best_symmetry(self.SEARCH, self.START, partial(differences, sure=sure))
            assert torch.equal(found.weight, best.weight)

    def test_a_signed_permutation_near_another_map_may_be_better(self) -> None:
        """The search ended at a map with a little of everything; the rewards know its neighbour."""
        search = search_with(BasketAndFruit(), find_actions=True)
        found = replace(self.START, weight=torch.eye(4) + 0.03, signed_permutation=False)
        search.near = self.START

        def differences(start: LinearStart) -> Tensor:
            return torch.full((200,), 0.5 if start is self.START else 1.0)

        assert best_symmetry(search, found, differences) == (self.START, 4)
        same = best_symmetry(search, found, lambda start: torch.ones(200))
        assert same == (found, 4)

    def test_rewards_tell_units_that_f_does_not(self) -> None:
        """A fruit whose place and speed are both doubled moves as F says too."""
        search = search_with(BasketAndFruit(), find_actions=False)
        doubled = start_of(diagonal(1, 1, 2, 2))

        def differences(start: LinearStart) -> Tensor:
            return torch.full((200,), 0.5 if start.weight[2, 2] == 1 else 1.0)

        best, _ = best_symmetry(search, doubled, differences)
        assert torch.equal(best.weight, torch.eye(4)) and best.exact and best.signed_permutation
        assert best_symmetry(search, doubled, lambda start: torch.ones(200))[0] is doubled

    def test_a_map_that_is_no_signed_permutation_stays(self) -> None:
        start = replace(self.START, signed_permutation=False)
        assert best_symmetry(self.SEARCH, start, lambda s: torch.zeros(3)) == (start, 0)
