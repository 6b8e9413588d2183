"""The parts of the search for a linear start, each on numbers that can be computed in the head."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from corrtool.correspondence import linear_candidates
from corrtool.correspondence import linear_starts as module
from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.linear_candidates import CandidateLosses, Candidates, Transitions
from corrtool.correspondence.linear_maps import LinearMaps, SignedPermutation, matrices
from corrtool.correspondence.linear_start import LinearStart
from corrtool.correspondence.linear_starts import LinearStartSearch
from corrtool.environment_model.network import ScaledModel
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

SPEC = StateSpec("vector", (2,))
SAME, SWAPPED = ActionMap((0, 1), 2), ActionMap((1, 0), 2)
FIRST_OF_TWO = LinearMaps(torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), torch.tensor([[1.0, 0.0]]))


class Half(nn.Module):
    """F: the first coordinate grows by half of the action."""

    actions = 2

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        return states + torch.stack([actions / 2, torch.zeros(len(actions))], dim=1)


# The changes are (1, 0) and (3, ½), after the actions 1 and 0.
PLAYED = Transitions(
    torch.tensor([[2.0, 4.0], [2.0, 4.0]]),
    torch.tensor([1, 0]),
    torch.tensor([[3.0, 4.0], [5.0, 4.5]]),
)


def search(
    monkeypatch: pytest.MonkeyPatch, played: Transitions = PLAYED, **more: Any
) -> LinearStartSearch:
    """A search for which all states are of one kind, but for a distance of 2 of their moments."""
    model = ScaledModel(Half(), StateScaling(SPEC))
    states, random = torch.tensor([[0.0, 0.0], [1.0, 2.0]]), np.random.default_rng(0)
    made = LinearStartSearch(model, states, played, StateScaling(SPEC), SAME, random, **more)
    moments: Any = SimpleNamespace(distances=lambda here: torch.full((len(here),), 2.0))
    monkeypatch.setattr(made, "losses", replace(made.losses, moments=moments))
    return made


def candidates(*weights: Tensor, source_of: tuple[int, ...] = (0, 1)) -> Candidates:
    """Maps by these weights without a bias, all with one map of actions."""
    maps = LinearMaps(torch.stack(weights), torch.zeros(len(weights), len(weights[0])))
    return Candidates(maps, torch.tensor([source_of]).expand(len(weights), -1))


def by_first_weight(candidates: Candidates, *_: Any) -> Tensor:
    """Losses: the first weight of each."""
    return candidates.maps.weight[:, 0, 0]


class TestLosses:
    def test_are_half_over_all_and_half_over_each_coordinate(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """F adds (½, 0) and (0, 0); the second coordinate of the first does not change.

        So F misses ½ of 1, 3 of 3 and ½ of ½. Exchanged, the coordinates change by (0, 1) and
        (½, 3), and of the first of them F misses ½ of ½, of the second 4 of 4.
        """
        made = search(monkeypatch)
        both = candidates(torch.eye(2), torch.eye(2).flip(0))
        losses = made.losses(both, PLAYED, 0.25)
        here = (4.0 / 4.5 + (3.5 / 4 + 1) / 2) / 2
        assert losses.tolist() == pytest.approx([here + 0.25 * 2, 1 + 0.25 * 2], abs=1e-5)
        assert made.losses(both, PLAYED).tolist() == pytest.approx([here + 2, 3], abs=1e-5)

    def test_without_the_moments(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loss = search(monkeypatch).model_loss(candidates(torch.eye(2)))
        assert loss == pytest.approx((4.0 / 4.5 + (3.5 / 4 + 1) / 2) / 2, abs=1e-5)

    def test_know_the_actions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With actions exchanged F adds (0, 0) and (½, 0), and misses 1, 2½ and ½."""
        made = search(monkeypatch)
        (loss,) = made.losses(candidates(torch.eye(2), source_of=(1, 0)), PLAYED, 0.0).tolist()
        assert loss == pytest.approx((4 / 4.5 + (3.5 / 4 + 1) / 2) / 2, abs=1e-5)
        three = Transitions(PLAYED.states, torch.tensor([1, 1]), PLAYED.next_states)
        (loss,) = made.losses(candidates(torch.eye(2)), three, 0.0).tolist()
        assert loss == pytest.approx((3.5 / 4.5 + (3 / 4 + 1) / 2) / 2, abs=1e-5)

    def test_of_nothing_that_moves_are_those_of_persistence(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (loss,) = search(monkeypatch).losses(candidates(torch.zeros(2, 2)), PLAYED, 0.0).tolist()
        assert loss == pytest.approx(1.0)

    def test_of_each_pair_of_actions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Target action 1 was taken first, and misses 1 as 0 and ½ as 1; 0 misses 3½ and 3."""
        costs = search(monkeypatch).losses._action_costs(candidates(torch.eye(2)).maps, PLAYED)
        assert costs.tolist() == [[[3.5, 3.0], [1.0, 0.5]]]

    def test_the_best_map_of_actions_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = search(monkeypatch)
        costs = torch.tensor([[[1.0, 2.0], [0.0, 3.0]], [[0.0, 3.0], [1.0, 2.0]]])
        monkeypatch.setattr(CandidateLosses, "_action_costs", lambda of, maps, batch: costs)
        found = made.losses.assigned(candidates(torch.eye(2), torch.eye(2)), PLAYED)
        assert found.source_of.tolist() == [[1, 0], [0, 1]]


class TestDescent:
    def test_is_by_a_step_size_that_falls_to_zero(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Adam's steps on a plane are as long as its step size: 0.1, 0.075, 0.05 and 0.025."""
        told: list[int] = []
        made, weights = search(monkeypatch, advance=told.append), list[Any]()

        def plane(given: Candidates, batch: Transitions, moments_weight: float) -> Tensor:
            weights.append((len(batch.states), moments_weight))
            return given.maps.weight.flatten(1).sum(1) - given.maps.bias.sum(1)

        monkeypatch.setattr(made, "losses", plane)
        start = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        moved = made._descended(candidates(start, 2 * start), 4, 1, 0.1, 0.5)
        expected = torch.stack([start, 2 * start]) - 0.25
        torch.testing.assert_close(moved.maps.weight, expected, atol=1e-4, rtol=0)
        assert moved.maps.bias.flatten().tolist() == pytest.approx([0.25] * 4, abs=1e-4)
        assert not moved.maps.weight.requires_grad
        assert weights == [(1, 0.5)] * 4 and told == [1] * 4
        sparse = made._descended(candidates(start), 4, 1, 0.1, 0.5, FIRST_OF_TWO)
        expected = torch.tensor([[[0.75, 0.0], [0.0, 2.0]]])
        torch.testing.assert_close(sparse.maps.weight, expected, atol=1e-4, rtol=0)
        assert sparse.maps.bias.tolist()[0] == pytest.approx([0.25, 0.0], abs=1e-4)

    @pytest.mark.parametrize("find_actions", [False, True])
    def test_finds_actions_anew_now_and_then(
        self, monkeypatch: pytest.MonkeyPatch, find_actions: bool
    ) -> None:
        monkeypatch.setattr(module, "REASSIGN_EVERY_STEPS", 2)
        made, asked = search(monkeypatch, find_actions=find_actions), list[Any]()

        def exchanged(losses: CandidateLosses, given: Candidates, batch: Transitions) -> Candidates:
            asked.append((given.source_of.tolist(), len(batch.states), len(told)))
            return Candidates(given.maps, given.source_of.flip(1))

        told: list[int] = []
        monkeypatch.setattr(made, "advance", told.append)
        monkeypatch.setattr(CandidateLosses, "assigned", exchanged)
        moved = made._descended(candidates(torch.eye(2)), 3, 1, 0.1, 0.5)
        same, other = [[0, 1]], [[1, 0]]
        assert asked == ([(same, 1, 0), (other, 1, 2), (same, 2, 3)] if find_actions else [])
        assert moved.source_of.tolist() == (other if find_actions else same)

    def test_a_sample_is_of_different_transitions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        states = torch.arange(10.0).repeat_interleave(2).view(10, 2)
        played = Transitions(states, torch.arange(10) % 2, states + 1)
        made = search(monkeypatch, played)
        for count, size in ((4, 4), (10, 10), (99, 10)):
            sample = made.sample(count)
            assert len(set(sample.states[:, 0].tolist())) == len(sample.states) == size
            assert torch.equal(sample.next_states, sample.states + 1)
            assert torch.equal(sample.actions, sample.states[:, 0].long() % 2)


@pytest.mark.parametrize(("count", "kept"), [(4, [2, 2]), (16, [4, 2]), (40, [10, 2])])
def test_a_quarter_of_the_best_goes_on_and_two_at_least(
    monkeypatch: pytest.MonkeyPatch, count: int, kept: list[int]
) -> None:
    made, rounds, sizes = search(monkeypatch), list[Any](), list[int]()

    def descended(given: Candidates, *of_round: Any) -> Candidates:
        rounds.append(of_round)
        sizes.append(len(given.source_of))
        return given

    monkeypatch.setattr(module, "ROUNDS", ((1, 2, 0.5, 0.25), (3, 4, 0.75, 0.125)))
    monkeypatch.setattr(made, "_descended", descended)
    monkeypatch.setattr(made, "judged", by_first_weight)
    monkeypatch.setattr(made, "_simplest", lambda given: given)
    left: Any = made.best(count)
    assert rounds == [(1, 2, 0.5, 0.25), (3, 4, 0.75, 0.125)]
    assert sizes == [count, kept[0]] and len(left.source_of) == kept[1]
    firsts = left.maps.weight[:, 0, 0]
    assert firsts[0] <= firsts[1] and left.source_of.tolist() == [[0, 1]] * 2


class TestSnapped:
    def test_one_is_changed_step_by_step_while_that_helps(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """From +1 of both coordinates over one sign to both, of which each is better by one."""
        of_signs: dict[tuple[int, ...], float] = {
            (1, 1): 5.0,
            (-1, 1): 4.0,
            (1, -1): 4.5,
            (-1, -1): 4.25,
        }
        steps: list[int] = []

        def judged(permutations: list[SignedPermutation], source_of: Tensor) -> Any:
            assert source_of.tolist() == [1, 0]
            steps.append(len(permutations))
            return [of_signs[signs] + 10 * (order != (0, 1)) for order, signs in permutations]

        made = search(monkeypatch)
        monkeypatch.setattr(made, "_of", lambda given, source_of: (given, source_of))
        monkeypatch.setattr(made, "judged", lambda pair: torch.tensor(judged(*pair)))
        found: Any = made._snapped(torch.eye(2), torch.tensor([1, 0]))
        ((permutations, source_of), loss) = found
        assert permutations == [((0, 1), (-1, 1))] and loss == 4.0
        assert source_of.tolist() == [1, 0] and steps == [8, 8]

    @pytest.mark.parametrize("find_actions", [False, True])
    def test_permutations_have_the_actions_that_go_best(
        self, monkeypatch: pytest.MonkeyPatch, find_actions: bool
    ) -> None:
        made, asked = search(monkeypatch, find_actions=find_actions), list[int]()

        def exchanged(losses: CandidateLosses, given: Candidates, batch: Transitions) -> Candidates:
            asked.append(len(batch.states))
            return Candidates(given.maps, given.source_of.flip(1))

        monkeypatch.setattr(CandidateLosses, "assigned", exchanged)
        found = made._of([((0, 1), (1, 1)), ((1, 0), (1, -1))], torch.tensor([0, 1]))
        assert found.source_of.tolist() == [[1, 0] if find_actions else [0, 1]] * 2
        assert found.maps.weight.sign().tolist() == [[[1, 0], [0, 1]], [[0, 1], [-1, 0]]]
        assert asked == ([2] if find_actions else [])


@pytest.mark.parametrize(("share", "explained"), [(0.1, True), (0.2, False)])
def test_what_f_explains(monkeypatch: pytest.MonkeyPatch, share: float, explained: bool) -> None:
    """F misses 3½ of the first coordinate's 4, and all of the second's ½."""
    monkeypatch.setattr(linear_candidates, "EXPLAINED", share)
    found = search(monkeypatch).losses.explained(candidates(torch.eye(2)), PLAYED)
    assert found.tolist() == [[explained, False]]


def test_what_f_does_not_explain_after_descent_is_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ROUNDS", ((1, 1, 1.0, 1.0), (7, 8, 0.5, 0.25)))
    made = search(monkeypatch)

    def descended(given: Candidates, *of_round: Any) -> Candidates:
        *settings, moving = of_round
        assert settings == [7, 8, 0.5, 0.25]
        assert moving.weight.tolist() == [[[0.0, 1.0], [1.0, 0.0]]]
        assert moving.bias.tolist() == [[1.0, 1.0]]
        maps = LinearMaps(given.maps.weight / 4, given.maps.bias + 1)
        return Candidates(maps, given.source_of.flip(1))

    polished: list[LinearMaps] = []

    def polish(given: Candidates, moving: LinearMaps) -> Candidates:
        polished.append(moving)
        return given

    monkeypatch.setattr(made, "_descended", descended)
    explained = torch.tensor([[True, False]])
    monkeypatch.setattr(CandidateLosses, "explained", lambda losses, given, batch: explained)
    monkeypatch.setattr(made, "_polished", polish)
    found = made._without_shrinking(candidates(torch.tensor([[0.0, 4.0], [-8.0, 0.0]])))
    assert found.maps.weight.tolist() == [[[0.0, 1.0], [-8.0, 0.0]]]
    assert found.maps.bias.tolist() == [[1.0, 0.0]] and found.source_of.tolist() == [[1, 0]]
    (moving,) = polished
    assert moving.weight.tolist() == [[[0.0, 1.0], [0.0, 0.0]]]
    assert moving.bias.tolist() == [[1.0, 0.0]]


class TestPolished:
    @pytest.mark.parametrize(("after", "taken"), [(0.5, True), (1.0, False), (2.0, False)])
    def test_a_map_is_taken_if_it_is_better(
        self, monkeypatch: pytest.MonkeyPatch, after: float, taken: bool
    ) -> None:
        made, asked = search(monkeypatch), list[Any]()

        def losses(given: Candidates, batch: Transitions, moments_weight: float) -> Tensor:
            asked.append((len(batch.states), moments_weight, given.source_of.tolist()))
            return by_first_weight(given)

        def polish(maps: LinearMaps, model: Any, *given: Any) -> LinearMaps:
            states, actions, next_states, moving = given
            assert torch.equal(states, PLAYED.states) and actions.tolist() == [0, 1]
            assert torch.equal(next_states, PLAYED.next_states)
            assert moving is FIRST_OF_TWO
            return LinearMaps(maps.weight * after, maps.bias)

        monkeypatch.setattr(
            module, "ROUNDS", ((1, 1, 1.0, 0.5), (1, 1, 1.0, 1.0), (1, 1, 1.0, 0.25))
        )
        monkeypatch.setattr(module, "polished", polish)
        monkeypatch.setattr(made, "losses", losses)
        before = candidates(torch.eye(2), source_of=(1, 0))
        found = made._polished(before, FIRST_OF_TWO)
        assert found.maps.weight[0, 0, 0] == (after if taken else 1.0)
        assert asked == [(2, 0.25, [[1, 0]])] * 2 and found.source_of.tolist() == [[1, 0]]


class TestSimplest:
    """The best of two finalists has a loss of 2; snapped the other is better, and then descends."""

    FINALISTS = candidates(3 * torch.eye(2), 2 * torch.eye(2))

    def chosen(
        self,
        monkeypatch: pytest.MonkeyPatch,
        made: LinearStartSearch,
        loss: float,
        same_units: float = 1e6,
        apart: float = 0.0,
        unshifted: bool = False,
    ) -> LinearStart:
        """``same_units`` is the loss of the map of signs alone."""

        def snapped(weight: Tensor, source_of: Tensor) -> tuple[Candidates, float]:
            assert source_of.tolist() == [0, 1]
            return candidates(weight * 100), 5 - float(weight[0, 0])

        def descended(given: Candidates) -> Candidates:
            assert given.maps.weight[0, 0, 0] == 300
            return candidates(torch.full((2, 2), loss) * torch.tensor([1.0, -1.0]))

        monkeypatch.setattr(
            module, "ROUNDS", ((1, 1, 1.0, 1.0), (2, 2, 2.0, 2.0), (7, 8, 0.5, 0.25))
        )
        monkeypatch.setattr(module, "SIMPLER_TOLERANCE", 1.25)
        monkeypatch.setattr(module, "SIMPLER_SLACK", 0.25)
        for name, function in (("_snapped", snapped), ("_without_shrinking", descended)):
            monkeypatch.setattr(made, name, function)
        monkeypatch.setattr(made, "_polished", lambda given: given)

        def raw(weight: Tensor, source: StateScaling, target: StateScaling) -> LinearMaps:
            assert weight.tolist() == [[1.0, -1.0]] * 2
            assert source is made.scalings[0] and target is made.scalings[1]
            return LinearMaps(same_units * weight[None], torch.zeros(1, 2))

        monkeypatch.setattr(LinearMaps, "of_raw", raw)
        monkeypatch.setattr(module, "in_simpler_units", lambda maps, *rest: maps)
        monkeypatch.setattr(module, "shifts_nothing", lambda maps, scalings: unshifted)
        monkeypatch.setattr(
            module, "are_near", lambda source, maps, target, deviations: apart <= deviations
        )
        monkeypatch.setattr(made, "model_loss", lambda given: float(by_first_weight(given)))
        monkeypatch.setattr(made, "judged", by_first_weight)
        return made._simplest(self.FINALISTS)

    @pytest.mark.parametrize(("loss", "simple"), [(1.0, True), (2.75, True), (2.8125, False)])
    def test_a_signed_permutation_may_explain_a_little_less(
        self, monkeypatch: pytest.MonkeyPatch, loss: float, simple: bool
    ) -> None:
        start = self.chosen(monkeypatch, search(monkeypatch), loss)
        assert start.signed_permutation is simple
        assert start.loss == (loss if simple else 2.0)
        of_simple = [[loss, -loss]] * 2
        assert start.weight.tolist() == (of_simple if simple else [[2.0, 0.0], [0.0, 2.0]])
        assert not start.exact
        assert start.bias.tolist() == [0.0, 0.0] and start.action_map == SAME

    @pytest.mark.parametrize(("loss", "near"), [(2.75, False), (2.8125, True), (4.0, False)])
    def test_one_that_explains_hardly_less_is_kept_for_the_rewards(
        self, monkeypatch: pytest.MonkeyPatch, loss: float, near: bool
    ) -> None:
        made = search(monkeypatch)
        self.chosen(monkeypatch, made, loss)
        assert (made.near is not None) is near
        if made.near is not None:
            assert made.near.signed_permutation and made.near.loss == loss

    @pytest.mark.parametrize(("apart", "exact"), [(1.8, True), (1.9, False)])
    def test_in_the_same_unit_there_is_a_shift_where_the_means_would_be_far_apart(
        self, monkeypatch: pytest.MonkeyPatch, apart: float, exact: bool
    ) -> None:
        start = self.chosen(monkeypatch, search(monkeypatch), 1.0, 1.5, apart)
        assert start.signed_permutation and start.exact is exact

    def test_in_other_units_without_a_shift_it_is_exact_too(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start = self.chosen(monkeypatch, search(monkeypatch), 1.0, unshifted=True)
        assert start.signed_permutation and start.exact and start.loss == 1.0

    @pytest.mark.parametrize(
        ("loss", "same_units", "taken"),
        [(1.0, 1.5, 1.5), (1.0, 1.5625, None), (2.75, 3.5, 3.5), (2.8125, 1.0, None)],
    )
    def test_one_in_the_same_units_again_a_little_less(
        self,
        monkeypatch: pytest.MonkeyPatch,
        loss: float,
        same_units: float,
        taken: float | None,
    ) -> None:
        start = self.chosen(monkeypatch, search(monkeypatch), loss, same_units)
        assert start.exact is (taken is not None)
        if taken is not None:
            assert start.signed_permutation and start.loss == taken
            assert start.weight.tolist() == [[taken, -taken]] * 2

    @pytest.mark.parametrize(("most", "told"), [(1, [7]), (2, [])])
    def test_many_coordinates_are_not_snapped(
        self, monkeypatch: pytest.MonkeyPatch, most: int, told: list[int]
    ) -> None:
        monkeypatch.setattr(module, "SNAPPED_COORDINATES", most)
        found: list[int] = []
        start = self.chosen(monkeypatch, search(monkeypatch, advance=found.append), 1.0)
        assert start.signed_permutation is not bool(told) and found == told

    @pytest.mark.parametrize(("coordinates", "snapped"), [(1, False), (3, True)])
    def test_fewer_coordinates_are_not_snapped(
        self, monkeypatch: pytest.MonkeyPatch, coordinates: int, snapped: bool
    ) -> None:
        shape = (2, coordinates)
        other = Transitions(torch.zeros(shape), torch.tensor([1, 0]), torch.ones(shape))
        chosen = self.chosen(monkeypatch, search(monkeypatch, other), 1.0)
        assert chosen.signed_permutation is snapped


def test_a_start_is_that_of_its_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    made = search(monkeypatch)
    monkeypatch.setattr(made, "judged", lambda given: torch.tensor([0.5]))
    weight = matrices([((1, 0), (1, -1))], 2)
    maps = LinearMaps(weight, torch.tensor([[3.0, 4.0]]))
    start = made.start_at(Candidates(maps, torch.tensor([[1, 0]])))
    assert start.weight.tolist() == [[0.0, 1.0], [-1.0, 0.0]] and start.bias.tolist() == [3.0, 4.0]
    assert start.action_map == SWAPPED and start.action_map.source_count == 2
    assert (start.loss, start.signed_permutation) == (0.5, False)
