"""The map that a linear generator has learnt, in the units of both tasks, in words."""

from __future__ import annotations

from typing import TypedDict

from corrtool.reporting.table import Table

MOST_COORDINATES = 8  # of either task; a larger map is no help to a reader
LEAST_SHARE = 0.01  # of what moves a coordinate most; what does less is not shown


class LinearMapKnown(TypedDict):
    """G_T of vectors as raw states: source = ``weight`` · target + ``shift``.

    Attributes:
        weight: (m, n), for each source coordinate a coefficient of each target coordinate.
        shift: (m,).
        source_deviations, target_deviations: of each coordinate, (m,) and (n,), in its own units.
    """

    weight: list[list[float]]
    shift: list[float]
    source_deviations: list[float]
    target_deviations: list[float]


def map_lines(known: LinearMapKnown) -> list[str]:
    """Each source coordinate: ``source[0] = -1.00 target[2] + 0.30``."""
    lines = []
    for index, (row, shift) in enumerate(zip(known["weight"], known["shift"], strict=True)):
        moves = [
            abs(coefficient) * deviation
            for coefficient, deviation in zip(row, known["target_deviations"], strict=True)
        ]
        terms = [
            (coefficient, f" target[{column}]")
            for column, (coefficient, moved) in enumerate(zip(row, moves, strict=True))
            if moved > 0 and moved >= LEAST_SHARE * max(moves)
        ]
        if abs(shift) >= LEAST_SHARE * known["source_deviations"][index] or not terms:
            terms.append((shift, ""))
        lines.append(f"source[{index}] = {_sum(terms)}")
    return lines


def map_note(known: LinearMapKnown) -> str:
    """Units, and what the lines leave out."""
    shown = sum(line.count("target[") for line in map_lines(known))
    total = sum(map(len, known["weight"]))
    left_out = (
        f" Left out: {total - shown} of {total} coefficients, by which a target coordinate, as it "
        f"varies, moves the source coordinate less than {LEAST_SHARE:.0%} as much as the one that "
        f"moves it most; and shifts below {LEAST_SHARE:.0%} of the source coordinate's deviation."
    )
    return f"Raw states, in the units of the tasks; coordinates are counted from 0.{left_out}"


def map_table(known: LinearMapKnown) -> Table:
    """The lines as a table of the explanation."""
    rows = [line.split(" = ", 1) for line in map_lines(known)]
    return Table(
        "The map that was learnt", ["source coordinate", "of the target's"], rows, map_note(known)
    )


def _sum(terms: list[tuple[float, str]]) -> str:
    """``-1.00 target[2] + 0.30``."""
    (first, name), *others = terms
    text = f"{'-' if first < 0 else ''}{_number(abs(first))}{name}"
    for value, name in others:
        text += f" {'-' if value < 0 else '+'} {_number(abs(value))}{name}"
    return text


def _number(value: float) -> str:
    """Two decimals, of small numbers and large ones three digits."""
    if value == 0 or 1 <= value < 1000:
        return f"{value:.2f}"
    return f"{value:#.3g}" if 0.01 <= value < 1 else f"{value:.3g}"
