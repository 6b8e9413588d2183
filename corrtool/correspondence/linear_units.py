"""The units of a signed permutation, coordinate by coordinate: the simplest that explain as much.

F often says little of a coordinate's scale and nothing of its shift: a basket moves alike wherever
it is. Then descent leaves some value there, by which an agent misses. Most coordinates of two tasks
have a common zero, and two memories of one kind of play the same mean square. Where without a shift
the means would be far apart, as of a place seen from the left edge or the right, or of metres from
a corner and shares of the way from the middle, the zeros are others, and the means say more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from corrtool.correspondence.linear_maps import LinearMaps, raw_weight
from corrtool.state_scaling import StateScaling

# Deviations by which the means of two memories may differ where the zero is the same. Of one kind
# of play with many episodes they differ by less than half of one; of slow coordinates and E long
# episodes each by √(4/3E) of one, typically, and by up to two of them with three. The same unit
# says by itself that the zero may be the same, other units do not. What lies in [0, L] and is
# mirrored there has a mean that is L apart without its shift: two deviations at the least, of a
# flag that is as often 0 as 1, and by chance a little less.
MEANS_APART = 0.5
MEANS_APART_IN_SAME_UNITS = 1.8
# Times the least loss, and more: on the same transitions F can tell what differs by more.
AS_GOOD, AS_GOOD_SLACK = 1.01, 1e-3
SAME_UNIT_SPREAD = 1.5  # times the deviation that the other may have, in the same unit
_NOTHING = 1e-6
_STILL = 1e-3  # of the model range: by which what never changes may differ


def in_simpler_units(
    maps: LinearMaps,
    source_states: Tensor,
    target_states: Tensor,
    scalings: tuple[StateScaling, StateScaling],
    model_loss: Callable[[LinearMaps], float],
    most: float,
) -> LinearMaps:
    """A signed permutation (R = 1), each of whose coordinates is as simple as F allows.

    In the same unit where that explains enough. Other units are guesses: the simplest of those that
    F cannot tell from the best.

    Args:
        source_states: of M_S, (N, m) in the model range.
        target_states: of M_T, (N', n) in the model range.
        scalings: of the source and of the target.
        model_loss: what a map leaves unexplained.
        most: with which a map explains enough.
    """
    source, target = scalings
    raw_source, raw_target = source.model_to_raw(source_states), target.model_to_raw(target_states)
    weight = raw_weight(maps.weight[0], *scalings)
    shift = source.model_to_raw(maps.bias[0]) - weight @ target.mean

    def loss_with(row: int, column: int, unit: float, moved_by: float) -> float:
        one_weight, one_shift = weight.clone(), shift.clone()
        one_weight[row, column], one_shift[row] = unit, moved_by
        return model_loss(LinearMaps.of_raw(one_weight, source, target, one_shift))

    for row in range(len(weight)):
        column = int(weight[row].abs().argmax())
        unit, moved_by = float(weight[row, column]), float(shift[row])
        states = raw_source[:, row], raw_target[:, column]
        same = same_unit(*states, unit)
        if same is not None and loss_with(row, column, *same) <= most:
            weight[row, column], shift[row] = same
            continue
        guesses = [*guessed_units(*states, unit), (unit, moved_by)]
        losses = [loss_with(row, column, *guess) for guess in guesses]
        as_good = AS_GOOD * min(losses) + AS_GOOD_SLACK
        best = next(g for g, loss in zip(guesses, losses, strict=True) if loss <= as_good)
        weight[row, column], shift[row] = best
    return LinearMaps.of_raw(weight, source, target, shift)


def shifts_nothing(maps: LinearMaps, scalings: tuple[StateScaling, StateScaling]) -> bool:
    """True if a map (R = 1) is a matrix of raw states, without a shift."""
    unshifted = LinearMaps.of_raw(raw_weight(maps.weight[0], *scalings), *scalings)
    return torch.allclose(maps.bias, unshifted.bias, atol=1e-5)


def are_near(source: Tensor, maps: LinearMaps, target: Tensor, deviations: float) -> bool:
    """True if a map (R = 1) of states of M_T (N', n) has the means of those of M_S (N, m), nearly.

    Both in the model range; within so many deviations of M_S.
    """
    apart = (maps(target)[0].mean(0) - source.mean(0)).abs()
    return bool((apart <= deviations * source.std(0) + _STILL).all())


def same_unit(source: Tensor, target: Tensor, unit: float) -> tuple[float, float] | None:
    """Unit and shift that turn a raw coordinate of M_T (N',) into one of M_S (N,), in its unit.

    With a shift where the means would be far apart. None where the deviations differ too much, but
    for one that never changes.
    """
    sign = -1.0 if unit < 0 else 1.0
    mean, deviation, target_deviation = (
        float(source.mean()), float(source.std()), float(target.std())
    )  # fmt: skip
    shift = mean - sign * float(target.mean())
    few, many = sorted((deviation, target_deviation))
    if many > SAME_UNIT_SPREAD * few and few > _NOTHING:
        return None
    near = abs(shift) <= MEANS_APART_IN_SAME_UNITS * deviation + _NOTHING
    return sign, 0.0 if near else shift


def guessed_units(source: Tensor, target: Tensor, unit: float) -> Iterator[tuple[float, float]]:
    """As :func:`same_unit`, in other units.

    The simplest first: without a shift, by the mean squares or ``unit``, where the means are near
    then; by mean and deviation; in ``unit``, by the mean.
    """
    sign = -1.0 if unit < 0 else 1.0
    mean, deviation = float(source.mean()), float(source.std())
    target_mean, target_deviation = float(target.mean()), float(target.std())
    by_squares = sign * float(
        source.square().mean().sqrt() / (target.square().mean().sqrt() + _NOTHING)
    )
    for without_shift in (by_squares, unit):
        if abs(without_shift * target_mean - mean) <= MEANS_APART * deviation:
            yield without_shift, 0.0
    if target_deviation > _NOTHING * (1.0 + abs(target_mean)):  # else no unit is known
        by_deviation = sign * deviation / target_deviation
        yield by_deviation, mean - by_deviation * target_mean
    yield unit, mean - unit * target_mean
