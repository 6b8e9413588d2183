"""Rotations of the raw coordinates as the start of a linear generator."""

from __future__ import annotations

from dataclasses import replace
from math import pi

import numpy as np
import pytest
import torch
from support.linear_play import random_play
from torch import Tensor, nn

from corrtool.correspondence import linear_rotations as module
from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.linear_candidates import Transitions
from corrtool.correspondence.linear_families import RawRotations
from corrtool.correspondence.linear_maps import random_orthogonal
from corrtool.correspondence.linear_rotations import (
    LENGTH,
    STEPS_OF_SWEEP,
    SWEEPS,
    TURNS,
    best_rotation,
    nearest_orthogonal,
    plane_turns,
)
from corrtool.correspondence.linear_start import LinearStart
from corrtool.correspondence.linear_starts import LinearStartSearch
from corrtool.environment_model.network import ScaledModel
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

DYNAMICS = torch.tensor([[0.8, 0.3, 0.0], [-0.3, 0.7, 0.2], [0.0, 0.0, 0.5]])
PUSHES = torch.tensor([[0.9, 0.0, 0.0], [-0.2, 0.7, 0.0], [-0.4, -0.5, 0.6]])
SPEC = StateSpec("vector", (4,))


class WithLeg(nn.Module):
    """F: three coordinates are linear, and a leg of which it says that it stays as it is."""

    actions = 3

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        return torch.cat([states[:, :3] @ DYNAMICS.T + PUSHES[actions], states[:, 3:]], 1)


MODEL = ScaledModel(WithLeg(), StateScaling(SPEC))


def played(count: int, seed: int) -> Transitions:
    """Random play, in which a leg touches the ground in every twentieth step or so, for a while."""
    plain, random = random_play(MODEL, count, seed), np.random.default_rng(seed + 100)
    leg = torch.zeros(count + 1)
    for k in range(count):
        leg[k + 1] = float(random.random() < (0.5 if leg[k] else 0.03))
    plain.states[:, 3], plain.next_states[:, 3] = leg[:-1], leg[1:]
    return plain


def turned(plain: Transitions, matrix: Tensor) -> Transitions:
    """The same seen through ``matrix`` (m, n), whose transpose undoes it."""
    return replace(plain, states=plain.states @ matrix, next_states=plain.next_states @ matrix)


def search(target: Transitions, over: bool = False) -> LinearStartSearch:
    scaling = StateScaling(StateSpec("vector", (target.states.shape[1],)))
    known, random = ActionMap.identity(3), np.random.default_rng(0)
    return LinearStartSearch(
        MODEL, played(3000, 0).states, target, scaling, known, random, over=lambda: over
    )


def shrunk(matrix: Tensor) -> LinearStart:
    """What descent over all matrices makes of it: smaller, and without the leg."""
    weight = torch.diag(torch.tensor([0.8, 0.7, 0.9, 0.01])) @ matrix
    return LinearStart(weight, torch.zeros(4), ActionMap.identity(3), 9.0, signed_permutation=False)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUNDS", ((60, 256, 0.05, 1.0), (100, 512, 0.03, 0.3)))


def test_the_size_and_the_leg_are_found() -> None:
    matrix = random_orthogonal(1, 4, np.random.default_rng(3))[0]
    made, told = search(turned(played(3000, 1), matrix)), list[int]()
    made.advance = told.append
    found = best_rotation(made, shrunk(matrix), 16)
    assert found.exact and not found.signed_permutation
    torch.testing.assert_close(found.weight, matrix, atol=0.08, rtol=0)
    assert not found.bias.abs().max() > 1e-6
    assert str(found) == "a rotation of the coordinates, without a shift"
    assert sum(told) == 160 + STEPS_OF_SWEEP * len(SWEEPS)


def test_one_that_explains_less_than_the_linear_map_is_not_taken() -> None:
    """In other units no rotation is right."""
    units = torch.diag(torch.tensor([3.0, 0.3, 1.0, 1.0]))
    matrix = random_orthogonal(1, 4, np.random.default_rng(3))[0]
    target = turned(turned(played(3000, 1), units), matrix)
    start = replace(shrunk(matrix), weight=torch.linalg.inv(units) @ matrix)
    assert best_rotation(search(target), start, 8) is start


def test_none_is_looked_for_of_many_coordinates_or_of_other_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, told = played(20, 1), list[int]()
    wider = replace(
        plain,
        states=torch.cat([plain.states, torch.zeros(20, 1)], 1),
        next_states=torch.cat([plain.next_states, torch.zeros(20, 1)], 1),
    )
    for target, most in ((wider, 12), (plain, 3)):
        monkeypatch.setattr(module, "ROTATED_COORDINATES", most)
        made = search(target)
        made.advance = told.append
        other = shrunk(torch.eye(4))
        assert best_rotation(made, other, 4) is other
    assert told == [LENGTH] * 2


def test_out_of_time_none_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """However well it explains: nothing was descended, or not every plane was turned."""
    monkeypatch.setattr(module, "TOLERANCE", 1e9)
    start = shrunk(torch.eye(4))
    assert best_rotation(search(played(300, 1), over=True), start, 4) is start


@pytest.mark.parametrize("widest", [0.3, pi])
def test_turns_of_a_plane(widest: float) -> None:
    turns = plane_turns((0, 2), widest, 3)
    assert len(turns) == (2 * TURNS if widest == pi else TURNS)
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3).expand_as(turns))
    assert torch.equal(turns[TURNS // 2], torch.eye(3))  # none is always among them
    last = turns[TURNS - 1] @ torch.tensor([1.0, 5.0, 0.0])
    expected = torch.tensor([np.cos(widest), 5.0, np.sin(widest)], dtype=torch.float32)
    torch.testing.assert_close(last, expected)
    if widest == pi:
        mirrored = turns[TURNS + TURNS // 2]
        assert torch.equal(mirrored, torch.diag(torch.tensor([-1.0, 1.0, 1.0])))


def test_the_nearest_orthogonal_matrix() -> None:
    turn = random_orthogonal(1, 3, np.random.default_rng(0))[0]
    torch.testing.assert_close(nearest_orthogonal(2.5 * turn), turn)


def test_maps_of_rotations_are_of_raw_states_and_shift_nothing() -> None:
    spec = StateSpec("vector", (2,))
    source = StateScaling(spec, torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0]))
    target = StateScaling(spec, torch.tensor([0.0, 3.0]), torch.tensor([1.0, 0.5]))
    quarter = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])
    maps = RawRotations(quarter, (source, target)).maps()
    raw = torch.tensor([[5.0, 7.0]])
    translated = source.model_to_raw(maps(target.raw_to_model(raw))[0])
    assert translated.tolist() == [[-7.0, 5.0]]


def test_what_is_descended_stays_a_rotation() -> None:
    family = RawRotations(torch.eye(3)[None], (StateScaling(SPEC), StateScaling(SPEC)))
    (skew,) = family.parameters
    with torch.no_grad():
        skew.copy_(torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(0)))
    turned_by = family.matrices()
    torch.testing.assert_close(turned_by @ turned_by.mT, torch.eye(3)[None])
