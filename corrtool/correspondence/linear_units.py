"""The units of a signed permutation, coordinate by coordinate: the simplest that explain as much.

F often says little of a coordinate's scale and nothing of its shift: a basket moves alike wherever
it is. Then descent leaves some value there, by which an agent misses. Most coordinates of two tasks
have a common zero, and two memories of one kind of play the same mean square. Where without a shift
the means would be far apart, as of a place seen from the left edge or the right, or of metres from
a corner and shares of the way from the middle, the zeros are others, and the means say more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from corrtool.correspondence.linear_maps import LinearMaps, raw_weight
from corrtool.state_scaling import StateScaling

# Deviations by which the means of two memories may differ where the zero is the same. Of one kind
# of play with many episodes they differ by less than half of one; of slow coordinates and E long
# episodes each by √(4/3E) of one, typically, and by up to two of them with three. The same unit
# says by itself that the zero may be the same, other units do not.
MEANS_APART = 0.5
MEANS_APART_IN_SAME_UNITS = 2.0
_STILL = 1e-3  # of the model range: by which what never changes may differ


def in_simpler_units(
    maps: LinearMaps,
    source_states: Tensor,
    target_states: Tensor,
    scalings: tuple[StateScaling, StateScaling],
    accepted: Callable[[LinearMaps], bool],
) -> LinearMaps:
    """A signed permutation (R = 1), each of whose coordinates is as simple as is accepted.

    Args:
        source_states: of M_S, (N, m) in the model range.
        target_states: of M_T, (N', n) in the model range.
        scalings: of the source and of the target.
        accepted: whether a map explains enough.
    """
    source, target = scalings
    raw_source, raw_target = source.model_to_raw(source_states), target.model_to_raw(target_states)
    weight = raw_weight(maps.weight[0], *scalings)
    shift = source.model_to_raw(maps.bias[0]) - weight @ target.mean
    for row in range(len(weight)):
        column = int(weight[row].abs().argmax())
        units = simpler_units(raw_source[:, row], raw_target[:, column], float(weight[row, column]))
        for unit, moved_by in units:
            one_weight, one_shift = weight.clone(), shift.clone()
            one_weight[row, column], one_shift[row] = unit, moved_by
            simpler = LinearMaps.of_raw(one_weight, source, target, one_shift)
            if accepted(simpler):
                maps, weight, shift = simpler, one_weight, one_shift
                break
    return maps


def are_near(source: Tensor, maps: LinearMaps, target: Tensor, deviations: float) -> bool:
    """True if a map (R = 1) of states of M_T (N', n) has the means of those of M_S (N, m), nearly.

    Both in the model range; within so many deviations of M_S.
    """
    apart = (maps(target)[0].mean(0) - source.mean(0)).abs()
    return bool((apart <= deviations * source.std(0) + _STILL).all())


def simpler_units(source: Tensor, target: Tensor, unit: float) -> Iterator[tuple[float, float]]:
    """Units and shifts that turn a raw coordinate of M_T (N',) into one of M_S (N,).

    The simplest first: the same unit, with a shift where the means would be far apart; without a
    shift, by the mean squares or ``unit``, where the means are near then; by mean and deviation.
    """
    sign = -1.0 if unit < 0 else 1.0
    none = 1e-6
    mean, deviation = float(source.mean()), float(source.std())
    target_mean, target_deviation = float(target.mean()), float(target.std())
    shift = mean - sign * target_mean
    yield sign, 0.0 if abs(shift) <= MEANS_APART_IN_SAME_UNITS * deviation + none else shift
    by_squares = sign * float(
        source.square().mean().sqrt() / (target.square().mean().sqrt() + none)
    )
    for without_shift in (by_squares, unit):
        if abs(without_shift * target_mean - mean) <= MEANS_APART * deviation:
            yield without_shift, 0.0
    if target_deviation > none * (1.0 + abs(target_mean)):  # of what never changes no unit is known
        by_deviation = sign * deviation / target_deviation
        yield by_deviation, mean - by_deviation * target_mean
