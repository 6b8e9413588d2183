"""Units of a signed permutation, coordinate by coordinate."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from corrtool.correspondence.linear_maps import LinearMaps
from corrtool.correspondence.linear_units import (
    are_near,
    guessed_units,
    in_simpler_units,
    same_unit,
    shifts_nothing,
)
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec


def test_guesses_are_by_mean_squares_by_descent_and_by_mean_and_deviation() -> None:
    """M_S has -2.5, 0.5 and 5, mean 1; M_T -2, 0 and 5, the same: mean squares 10.5 and 29 / 3."""
    source, target = torch.tensor([-2.5, 0.5, 5.0]), torch.tensor([-2.0, 0.0, 5.0])
    assert same_unit(source, target, 1.1) == (1.0, 0.0)
    units, shifts = zip(*guessed_units(source, target, 1.1), strict=True)
    by_deviation = (14.25 / 13.0) ** 0.5
    assert units == pytest.approx(((31.5 / 29) ** 0.5, 1.1, by_deviation, 1.1), abs=1e-4)
    assert shifts == pytest.approx((0.0, 0.0, 1.0 - by_deviation, -0.1), abs=1e-4)


def test_where_the_means_would_be_far_apart_there_is_a_shift() -> None:
    """M_S has 3 and 5, M_T -1 and 1: without a shift means would be 4 apart, of a deviation √2.

    1.8 deviations, 2.55, are not far in the same unit.
    """
    target = torch.tensor([-1.0, 1.0])
    for mean, shift in ((4.0, 4.0), (2.5, 0.0), (2.6, 2.6)):
        source = torch.tensor([mean - 1, mean + 1])
        assert same_unit(source, target, -2.5) == pytest.approx((-1.0, shift), abs=1e-4)
        units, shifts = zip(*guessed_units(source, target, -2.5), strict=True)
        assert units == pytest.approx((-1.0, -2.5), abs=1e-4)
        assert shifts == pytest.approx((mean, mean), abs=1e-4)


def test_a_flag_that_is_shown_the_other_way_round_has_its_shift() -> None:
    """By chance both means may be on either side of a half: 0.49 and 1 - 0.49 are 0.02 nearer."""
    for ones in (490, 500, 510):
        flag = (torch.arange(1_000) < ones).float()
        assert same_unit(flag, 1.0 - flag, -1.0) == pytest.approx((-1.0, 1.0), abs=0.03)


def test_of_what_never_changes_no_unit_is_known() -> None:
    source, target = torch.tensor([3.0, 5.0]), torch.tensor([-2.0, -2.0])
    assert same_unit(source, target, 1.3) == (1.0, 6.0)
    (guess,) = guessed_units(source, target, 1.3)
    assert guess == pytest.approx((1.3, 6.6))


@pytest.mark.parametrize(
    ("times", "same"), [(1.45, True), (0.7, True), (1.55, False), (0.6, False)]
)
def test_the_same_unit_has_nearly_the_same_deviation(times: float, same: bool) -> None:
    source = torch.tensor([-1.0, 0.0, 1.0])
    assert (same_unit(source, times * source, 1.0) is not None) is same


def test_what_never_changes_is_near_but_for_rounding() -> None:
    source, target = torch.full((3, 1), 0.25), torch.full((3, 1), 0.25 + 1e-6)
    maps = LinearMaps(torch.ones(1, 1, 1), torch.zeros(1, 1))
    assert are_near(source, maps, target, 0.5)
    assert not are_near(source, maps, target + 0.01, 0.5)


def test_means_are_near_within_so_many_deviations() -> None:
    source, target = (
        torch.tensor([[-1.0], [1.0]]),
        torch.tensor([[0.0], [2.0]]),
    )  # a deviation of √2
    shifted = [
        LinearMaps(torch.ones(1, 1, 1), torch.tensor([[shift]])) for shift in (-1.0, -0.4, -0.2, 0)
    ]
    near = [[are_near(source, maps, target, far) for maps in shifted] for far in (0.5, 0.6)]
    assert near == [[True, True, False, False], [True, True, True, False]]


def test_metres_from_a_corner_are_shares_of_the_way_from_the_middle() -> None:
    metres = torch.linspace(0.0, 200.0, 101)
    share = metres / 100.0 - 1.0
    assert same_unit(share, metres, 0.0054) is None
    units, shifts = zip(*guessed_units(share, metres, 0.0054), strict=True)
    assert units == pytest.approx((0.01, 0.0054), abs=1e-6)
    assert shifts == pytest.approx((-1.0, -0.54), abs=1e-4)


SCALINGS = tuple(
    StateScaling(StateSpec("vector", (2,)), torch.tensor(mean), torch.tensor(deviation))
    for mean, deviation in (([1.0, 2.0], [2.0, 0.5]), ([-1.0, 4.0], [3.0, 5.0]))
)
RAW_SOURCE = torch.tensor([[2.0, 1.0], [-2.0, 3.0]])
RAW_TARGET = torch.tensor([[10.0, -2.0], [30.0, 2.0]])  # first: 10 per unit, from 2; second: as is
FOUND = torch.tensor([[0.0, -1.1], [0.12, 0.0]])
SHIFT = torch.tensor([0.3, 0.1])


def simpler(losses: dict[tuple[float, float], float]) -> tuple[Tensor, Tensor]:
    """Raw weights and shifts; each row's (weight, shift) adds its loss: 1 as found, else 2."""

    def model_loss(maps: LinearMaps) -> float:
        weight, shift = raw(maps)
        rows = [(float(weight[0, 1]), float(shift[0])), (float(weight[1, 0]), float(shift[1]))]
        as_found = ((-1.1, 0.3), (0.12, 0.1))
        total = 0.0
        for row, found in zip(rows, as_found, strict=True):
            known = {**losses, found: 1.0}.items()
            near = (loss for one, loss in known if row == pytest.approx(one, abs=1e-3))
            total += next(near, 2.0)
        return total

    source, target = SCALINGS
    maps = in_simpler_units(
        LinearMaps.of_raw(FOUND, source, target, SHIFT),
        source.raw_to_model(RAW_SOURCE),
        target.raw_to_model(RAW_TARGET),
        (source, target),
        model_loss,
        2.5,
    )
    return raw(maps)


def raw(maps: LinearMaps) -> tuple[Tensor, Tensor]:
    """Weight and shift of raw states, by what becomes of three of them."""
    source, target = SCALINGS
    states = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    origin, *axes = source.model_to_raw(maps(target.raw_to_model(states))[0])
    return torch.stack(axes, 1) - origin[:, None], origin


def test_a_row_that_nothing_simpler_explains_stays() -> None:
    weight, shift = simpler({})
    source, target = SCALINGS
    assert not shifts_nothing(LinearMaps.of_raw(weight, source, target, shift), (source, target))
    assert shifts_nothing(LinearMaps.of_raw(weight, source, target), (source, target))
    torch.testing.assert_close(weight, FOUND)
    torch.testing.assert_close(shift, SHIFT)


def test_the_same_unit_is_taken_where_it_explains_enough() -> None:
    weight, shift = simpler({(-1.0, 0.0): 1.5})
    torch.testing.assert_close(weight, torch.tensor([[0.0, -1.0], [0.12, 0.0]]))
    torch.testing.assert_close(shift, torch.tensor([0.0, 0.1]))
    weight, shift = simpler({(-1.0, 0.0): 1.51})
    torch.testing.assert_close(weight, FOUND)


@pytest.mark.parametrize(
    ("losses", "unit"),
    [
        ({(0.1, 0.0): 1.019}, 0.1),  # 2.019, and the least is 2: F cannot tell
        ({(0.1, 0.0): 1.025}, 0.12),
        ({(0.1, 0.0): 1.0, (0.12, 0.0): 1.0}, 0.1),  # the simplest of those
        ({(0.1, 0.0): 1.0, (0.12, 0.0): 0.9}, 0.12),  # but where F can tell
    ],
)
def test_of_other_units_the_simplest_that_f_cannot_tell_from_the_best(
    losses: dict[tuple[float, float], float], unit: float
) -> None:
    """The mean squares of the second row's coordinates are 5 and 500: 0.1."""
    weight, shift = simpler(losses)
    torch.testing.assert_close(weight, torch.tensor([[0.0, -1.1], [unit, 0.0]]))
    as_found = unit == 0.12 and (0.12, 0.0) not in losses
    assert float(shift[1]) == pytest.approx(0.1 if as_found else 0.0, abs=1e-5)
