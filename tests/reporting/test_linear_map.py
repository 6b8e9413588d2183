"""The map of a linear generator in words, and in the units of both tasks, by hand."""

from __future__ import annotations

import pytest
import torch

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.explaining import known_map
from corrtool.correspondence.model import Correspondence
from corrtool.reporting.linear_map import (
    MOST_COORDINATES,
    LinearMapKnown,
    map_lines,
    map_note,
    map_table,
)
from corrtool.state_scaling import StateScaling
from corrtool.states import VECTOR, StateSpec

KNOWN: LinearMapKnown = {
    "weight": [[0.0, 0.0, -1.0], [2.5, 0.02, 0.0]],
    "shift": [0.3, 0.004],
    "source_deviations": [1.0, 1.0],
    "target_deviations": [1.0, 1.0, 1.0],
}


def correspondence(kind: str, source: StateScaling, target: StateScaling) -> Correspondence:
    return Correspondence(source, target, GeneratorDescription(kind=kind))


def vectors(
    size: int, mean: list[float] | None = None, deviation: list[float] | None = None
) -> StateScaling:
    spec = StateSpec(VECTOR, (size,))
    if mean is None or deviation is None:
        return StateScaling(spec)
    return StateScaling(spec, torch.tensor(mean), torch.tensor(deviation))


def test_each_source_coordinate_is_a_signed_combination() -> None:
    assert map_lines(KNOWN) == ["source[0] = -1.00 target[2] + 0.300", "source[1] = 2.50 target[0]"]
    note = map_note(KNOWN)
    assert "Left out: 4 of 6 coefficients" in note and "less than 1%" in note
    assert map_table(KNOWN).rows[0] == ["source[0]", "-1.00 target[2] + 0.300"]


def test_what_is_left_out_does_not_depend_on_the_units() -> None:
    """A target coordinate that is told in thousandths varies a thousand times as much."""
    scaled: LinearMapKnown = {**KNOWN, "target_deviations": [1.0, 1000.0, 1.0]}
    assert map_lines(scaled)[1] == "source[1] = 2.50 target[0] + 0.0200 target[1]"
    fine: LinearMapKnown = {**KNOWN, "source_deviations": [1.0, 0.1]}
    assert map_lines(fine)[1] == "source[1] = 2.50 target[0] + 0.004"
    nothing: LinearMapKnown = {**KNOWN, "weight": [[0.0] * 3] * 2, "shift": [-0.3, 0.0]}
    assert map_lines(nothing) == ["source[0] = -0.300", "source[1] = 0.00"]


def test_it_is_in_the_units_of_the_tasks() -> None:
    """s' = 3 s + 1 of standardised states: 2 (3 (s − 10) / 4 + 1) + 5 = 1.5 s − 8."""
    c = correspondence("linear", vectors(1, [5.0], [2.0]), vectors(1, [10.0], [4.0]))
    layer = c.target_to_source.layer
    assert isinstance(layer, torch.nn.Linear)
    with torch.no_grad():
        layer.weight.fill_(3.0)
        layer.bias.fill_(1.0)
    found = known_map(c)
    assert found is not None and map_lines(found) == ["source[0] = 1.50 target[0] - 8.00"]
    state = torch.tensor([[7.0]])
    assert c.source_scaling.model_to_raw(c.translate(state)).item() == pytest.approx(2.5)


def test_only_of_linear_generators_of_few_coordinates() -> None:
    assert known_map(correspondence("mlp", vectors(2), vectors(2))) is None
    for size, shown in ((MOST_COORDINATES, True), (MOST_COORDINATES + 1, False)):
        for sizes in ((size, 2), (2, size)):
            c = correspondence("linear", *map(vectors, sizes))
            assert (known_map(c) is not None) is shown
