"""The search for the start of a linear generator."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.linear_play import random_play
from torch import Tensor, nn

from corrtool.correspondence import linear_candidates, linear_starts
from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.linear_candidates import Candidates, Transitions
from corrtool.correspondence.linear_maps import LinearMaps, matrices
from corrtool.correspondence.linear_start import LinearStart
from corrtool.correspondence.linear_starts import ROUNDS, LinearStartSearch
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.starts import set_linear_start
from corrtool.environment_model.network import ScaledModel
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

SPEC = StateSpec("vector", (4,), 1)
ORDER, SIGNS = (2, 0, 3, 1), (-1, 1, 1, -1)
UNDONE = matrices([(ORDER, SIGNS)], 4)[0]  # target to source
ACTIONS = (1, 2, 0)  # of each target action the source action
PUSHES = torch.tensor([[0.9, 0.0, 0.0, 0.3], [-0.2, 0.7, 0.0, 0.0], [-0.4, -0.5, 0.6, 0.0]])
DYNAMICS = torch.tensor(
    [[0.8, 0.3, 0.0, 0.0], [-0.3, 0.7, 0.2, 0.0], [0.0, 0.0, 0.5, 0.4], [0.1, 0.0, -0.2, 0.9]]
)


class Exact(nn.Module):
    """The environment itself: s' = A s + b_a, with three actions."""

    actions = 3

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        return states @ DYNAMICS.T + PUSHES[actions]


MODEL = ScaledModel(Exact(), StateScaling(SPEC))


def played(count: int, seed: int) -> Transitions:
    """Random play of one long game of the source."""
    return random_play(MODEL, count, seed)


def seen_as_target(transitions: Transitions) -> Transitions:
    """The same with coordinates permuted, signs flipped and actions in another order."""
    target_action = torch.tensor([ACTIONS.index(action) for action in range(3)])
    return Transitions(
        transitions.states @ UNDONE,  # the transpose of the inverse is the matrix itself
        target_action[transitions.actions],
        transitions.next_states @ UNDONE,
    )


def in_units(target: Transitions, units: Tensor) -> Transitions:
    """The same with each coordinate in units of its own."""
    return replace(target, states=target.states * units, next_states=target.next_states * units)


def search(
    action_map: ActionMap, *, find_actions: bool, target: Transitions | None = None
) -> LinearStartSearch:
    target = seen_as_target(played(2000, 1)) if target is None else target
    return LinearStartSearch(
        MODEL,
        played(2000, 0).states,
        target,
        StateScaling(StateSpec("vector", (target.states.shape[1],))),
        action_map,
        np.random.default_rng(0),
        find_actions=find_actions,
    )


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer gradient steps: this environment is linear, and its model exact."""
    monkeypatch.setattr(
        linear_starts,
        "ROUNDS",
        ((100, 256, 0.03, 1.0), (150, 256, 0.03, 1.0), (150, 256, 0.02, 1.0)),
    )


@pytest.mark.parametrize("find_actions", [False, True])
def test_a_signed_permutation_is_found_with_the_actions_or_without(find_actions: bool) -> None:
    known = ActionMap(ACTIONS, 3)
    action_map = ActionMap.identity(3) if find_actions else known
    target = seen_as_target(played(2000, 0))  # the source's own game
    start = search(action_map, find_actions=find_actions, target=target).best(24)
    assert start.signed_permutation and start.exact
    assert torch.equal(start.weight, UNDONE)
    assert start.action_map == known
    assert start.loss < 5e-3
    assert not start.bias.any()


def test_in_other_units_the_scales_are_learnt() -> None:
    units = torch.tensor([1.0, 3.0, 0.5, 1.2])
    target = in_units(seen_as_target(played(2000, 0)), units)
    start = search(ActionMap(ACTIONS, 3), find_actions=False, target=target).best(24)
    assert start.signed_permutation and start.exact
    assert torch.equal(start.weight != 0, UNDONE != 0)
    torch.testing.assert_close(start.weight, UNDONE / units, atol=1e-2, rtol=0)
    assert not start.bias.any()


def test_one_coordinate_in_slightly_other_units_is_not_taken_for_the_same() -> None:
    """Two memories of random play differ by more than that in their moments."""
    units = torch.tensor([1.0, 1.0, 1.15, 1.0])
    target = in_units(seen_as_target(played(2000, 1)), units)
    start = search(ActionMap(ACTIONS, 3), find_actions=False, target=target).best(24)
    assert start.signed_permutation
    torch.testing.assert_close(start.weight, UNDONE / units, atol=2e-2, rtol=0)


def test_a_shift_is_learnt() -> None:
    target = seen_as_target(played(2000, 0))
    by = torch.tensor([0.0, 2.0, -1.0, 0.0])
    target = replace(target, states=target.states + by, next_states=target.next_states + by)
    start = search(ActionMap(ACTIONS, 3), find_actions=False, target=target).best(24)
    assert start.signed_permutation and not start.exact
    torch.testing.assert_close(start.weight, UNDONE, atol=1e-2, rtol=0)
    torch.testing.assert_close(start.bias, -UNDONE @ by, atol=2e-2, rtol=0)


class Anywhere(nn.Module):
    """A place, how fast it moves, and two more: all move alike wherever the place is."""

    actions = 3

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        place, rest = states[:, :1], states.clone()
        rest[:, 0] = 0.0
        after = rest @ DYNAMICS.T + PUSHES[actions]
        return torch.cat([place + 0.05 * states[:, 1:2], after[:, 1:]], 1)


def test_a_place_seen_from_the_other_end_has_a_shift_though_f_does_not_see_it() -> None:
    model = ScaledModel(Anywhere(), StateScaling(SPEC))
    played = random_play(model, 2000, 0)
    far = 10.0 * float(played.states[:, 0].std())
    mirror, end = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0])), torch.tensor([far, 0, 0, 0])
    target = Transitions(
        played.states @ mirror + end, played.actions, played.next_states @ mirror + end
    )
    same = ActionMap.identity(3)
    search = LinearStartSearch(
        model, played.states, target, StateScaling(SPEC), same, np.random.default_rng(0)
    )
    start = search.best(24)
    assert start.signed_permutation and not start.exact
    torch.testing.assert_close(start.weight, mirror, atol=1e-2, rtol=0)
    torch.testing.assert_close(start.bias, end, atol=2e-2 * far, rtol=0)


def test_another_game_is_explained_as_well() -> None:
    start = search(ActionMap.identity(3), find_actions=True).best(24)
    torch.testing.assert_close(start.weight, UNDONE, atol=0.02, rtol=0)
    assert start.action_map == ActionMap(ACTIONS, 3)
    assert start.loss < 0.05  # nothing but the moments of two different games


def test_a_target_that_has_an_action_twice() -> None:
    """Four target actions, of which 3 does what 0 does."""
    target = seen_as_target(played(2000, 1))
    doubled = target.actions.clone()
    doubled[(doubled == 0) & (torch.arange(2000) % 2 == 0)] = 3
    target = replace(target, actions=doubled)
    found = search(ActionMap.unknown(3, 4), find_actions=True, target=target)
    finalist = Candidates(
        LinearMaps.with_means(UNDONE[None], played(2000, 0).states, target.states),
        torch.tensor([[0, 1, 2, 0]]),
    )
    assert found.losses.assigned(finalist, target).source_of.tolist() == [[1, 2, 0, 1]]
    assert found.best(24).action_map.source_of == (1, 2, 0, 1)


def test_a_rotation_stays_a_linear_map() -> None:
    """No signed permutation explains coordinates that are all mixtures."""
    turn = torch.from_numpy(np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0]).float()
    plain = played(2000, 1)
    target = Transitions(plain.states @ turn, plain.actions, plain.next_states @ turn)
    start = search(ActionMap.identity(3), find_actions=False, target=target).best(24)
    assert not start.signed_permutation
    torch.testing.assert_close(start.weight, turn, atol=0.1, rtol=0)


def wider(plain: Transitions, by: int) -> Transitions:
    """With so many more coordinates of noise."""
    count = len(plain.states)
    noise = torch.randn(count + 1, by, generator=torch.Generator().manual_seed(0))
    states, following = noise[:-1], noise[1:]
    return replace(
        plain,
        states=torch.cat([states, plain.states], 1),
        next_states=torch.cat([following, plain.next_states], 1),
    )


def test_coordinates_of_noise_are_left_out() -> None:
    target = wider(seen_as_target(played(2000, 0)), by=2)
    start = search(ActionMap(ACTIONS, 3), find_actions=False, target=target).best(24)
    assert start.signed_permutation
    expected = torch.cat([torch.zeros(4, 2), UNDONE], 1)
    assert torch.equal(start.weight != 0, expected != 0)
    assert torch.equal(start.weight, expected)


def test_fewer_coordinates_have_no_signed_permutation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_starts, "ROUNDS", ((5, 256, 0.03, 1.0),))
    plain = played(300, 1)
    target = replace(plain, states=plain.states[:, :2], next_states=plain.next_states[:, :2])
    start = search(ActionMap.identity(3), find_actions=False, target=target).best(4)
    assert start.weight.shape == (4, 2) and not start.signed_permutation


class Blind(nn.Module):
    """F of two coordinates: the first is pushed by the action, of the second it knows nothing."""

    actions = 2

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        return states + torch.stack([2.0 * actions - 1.0, torch.zeros(len(states))], 1)


def test_what_the_model_does_not_explain_keeps_the_scale_of_the_moments() -> None:
    """The second coordinate jumps as it likes; descent would make it so small that it is still."""
    random = np.random.default_rng(0)
    pushes = torch.from_numpy(random.integers(2, size=401))
    jumps = torch.from_numpy(random.choice([0.0, 1.0], size=401)).float()
    states = torch.stack([(2.0 * pushes - 1.0).cumsum(0), jumps], 1)
    spec = StateSpec("vector", (2,))
    units = torch.tensor([-0.5, -2.0])
    target = Transitions(states[:-1].flip(1) * units, pushes[1:], states[1:].flip(1) * units)
    made = LinearStartSearch(
        ScaledModel(Blind(), StateScaling(spec)),
        states,
        target,
        StateScaling(spec),
        ActionMap.identity(2),
        np.random.default_rng(0),
    )
    start = made.best(8)
    assert start.signed_permutation
    assert start.weight[0].tolist() == pytest.approx([0.0, -0.5], abs=0.02)
    assert start.weight[1].tolist() == pytest.approx([-2.0, 0.0], abs=0.02)


def test_many_coordinates_have_too_many_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_starts, "ROUNDS", ((5, 256, 0.03, 1.0),))
    monkeypatch.setattr(linear_starts, "SNAPPED_COORDINATES", 3)
    monkeypatch.setattr(linear_starts, "SIMPLER_TOLERANCE", float("inf"))
    assert not search(ActionMap.identity(3), find_actions=False).best(4).signed_permutation
    monkeypatch.setattr(linear_starts, "SNAPPED_COORDINATES", 4)
    assert search(ActionMap.identity(3), find_actions=False).best(4).signed_permutation


def test_a_few_maps_at_a_time_are_judged_as_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    random = torch.Generator().manual_seed(0)
    maps = LinearMaps(torch.randn(5, 4, 4, generator=random), torch.randn(5, 4, generator=random))
    candidates = Candidates(maps, torch.tensor([ACTIONS]).expand(5, -1))
    together, sample = (f(ActionMap(ACTIONS, 3), find_actions=True) for f in (search, search))
    expected = together.judged(candidates)
    assigned = together.losses.assigned(candidates, seen_as_target(played(300, 2))).source_of
    monkeypatch.setattr(linear_candidates, "JUDGED_TOGETHER", 2)
    torch.testing.assert_close(sample.judged(candidates), expected)
    again = sample.losses.assigned(candidates, seen_as_target(played(300, 2))).source_of
    assert torch.equal(assigned, again)


def test_the_loss_of_persistence_and_of_the_truth() -> None:
    """The truth has no error; a map of everything to one point has that of the moments."""
    target = seen_as_target(played(2000, 0))
    found = search(ActionMap(ACTIONS, 3), find_actions=False, target=target)
    exact, flat = (
        LinearMaps.with_means(weight[None], played(2000, 0).states, target.states)
        for weight in (UNDONE, torch.zeros(4, 4))
    )
    losses = [
        found.losses(Candidates(maps, torch.tensor([ACTIONS])), target).item()
        for maps in (exact, flat)
    ]
    assert losses[0] == pytest.approx(0, abs=1e-4)
    assert losses[1] > 1


def test_the_search_tells_of_every_gradient_step(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LinearStartSearch.length == sum(steps for steps, *_ in ROUNDS) + ROUNDS[-1][0]
    rounds = ((3, 256, 0.03, 1.0), (2, 256, 0.02, 1.0))
    monkeypatch.setattr(linear_starts, "ROUNDS", rounds)
    told: list[int] = []
    source = played(100, 0)
    LinearStartSearch(
        MODEL,
        source.states,
        source,
        StateScaling(SPEC),
        ActionMap.identity(3),
        np.random.default_rng(0),
        told.append,
    ).best(4)
    assert told == [1] * 7


def test_a_search_whose_time_is_over_ends_with_the_best_map_so_far() -> None:
    told, asked = list[int](), list[int]()

    def over() -> bool:
        asked.append(1)
        return len(asked) > 5

    source = played(100, 0)
    start = LinearStartSearch(
        MODEL,
        source.states,
        source,
        StateScaling(SPEC),
        ActionMap.identity(3),
        np.random.default_rng(0),
        told.append,
        over=over,
    ).best(4)
    assert told == [1] * 5
    assert np.isfinite(start.loss) and not start.signed_permutation


def test_a_start_is_kept_to_the_last_bit() -> None:
    start = start_of(torch.rand(4, 4), torch.rand(4))
    again = LinearStart.from_state(json.loads(json.dumps(start.state())))
    assert torch.equal(again.weight, start.weight) and torch.equal(again.bias, start.bias)
    assert again.state() == start.state() and again.action_map == start.action_map


def start_of(weight: Tensor, bias: Tensor) -> LinearStart:
    return LinearStart(weight, bias, ActionMap(ACTIONS, 3), 0.25, signed_permutation=True)


def test_a_start_is_told_in_json_and_in_words() -> None:
    start = start_of(UNDONE, torch.tensor([0.5, 0.0, -1.0, 0.25]))
    told = json.loads(json.dumps(start.to_json()))
    assert (told["loss"], told["signed_permutation"]) == (0.25, True)
    again = LinearStart(
        torch.tensor(told["weight"]),
        torch.tensor(told["bias"]),
        ActionMap(tuple(told["source_of"]), 3),
        told["loss"],
        told["signed_permutation"],
    )
    assert torch.equal(again.weight, start.weight) and torch.equal(again.bias, start.bias)
    assert replace(again, weight=start.weight, bias=start.bias) == start
    assert str(start) == (
        "a signed permutation of the coordinates, target actions are [1, 2, 0] of the source"
    )
    plain = replace(start, action_map=ActionMap.identity(3), signed_permutation=False)
    assert str(plain) == "a linear map of the coordinates"


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_generators_that_are_set_undo_each_other(kind: str) -> None:
    description = GeneratorDescription(kind, filters=8, blocks=2)
    correspondence = Correspondence(StateScaling(SPEC), StateScaling(SPEC), description)
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 4, generator=random) + 3 * torch.eye(4)
    bias = torch.tensor([0.5, 0.0, -1.0, 0.25])
    set_linear_start(correspondence, start_of(weight, bias))
    states = torch.randn(6, 4, generator=random)
    translated = correspondence.target_to_source(states)
    torch.testing.assert_close(translated, states @ weight.T + bias, atol=1e-5, rtol=1e-5)
    back = correspondence.source_to_target(translated)
    torch.testing.assert_close(back, states, atol=1e-4, rtol=1e-4)
    assert correspondence.action_map == ActionMap(ACTIONS, 3)
    assert correspondence.source_actions(torch.arange(3)).tolist() == list(ACTIONS)


def test_generators_of_two_sizes_undo_each_other_where_they_can() -> None:
    """From six coordinates to four and back, what the four hold stays."""
    scalings = StateScaling(SPEC), StateScaling(StateSpec("vector", (6,), 1))
    correspondence = Correspondence(*scalings, GeneratorDescription("linear"))
    weight = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    set_linear_start(correspondence, start_of(weight, torch.ones(4)))
    states = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    back = correspondence.target_to_source(correspondence.source_to_target(states))
    torch.testing.assert_close(back, states, atol=1e-4, rtol=1e-4)


def test_an_mlp_that_is_set_still_learns_in_all_its_layers() -> None:
    """Its last layer begins at zero; after one step of that the others have gradients too."""
    description = GeneratorDescription("mlp", filters=8, blocks=1)
    correspondence = Correspondence(StateScaling(SPEC), StateScaling(SPEC), description)
    set_linear_start(correspondence, start_of(UNDONE, torch.zeros(4)))
    generator = correspondence.target_to_source
    optimizer = torch.optim.SGD(generator.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss = generator(torch.ones(3, 4)).square().sum()
        torch.autograd.backward(loss)
        optimizer.step()
    assert all(p.grad is not None and p.grad.any() for p in generator.parameters())
