"""Cells of a sweep: a stage with some settings and a seed, and what comes after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from corrtool.errors import UsageError
from corrtool.settings.grid import Point, as_text
from corrtool.stages.registry import STAGES
from corrtool.workflows.call import StageCall

MOST_CELLS = 10_000


@dataclass(frozen=True)
class Then:
    """A stage that comes after others of its cell, with settings that nothing else decides."""

    stage: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """Runs that belong together, one after the other.

    Attributes:
        point: what the grid gives it.
        call: its first run. A name that this says is kept; otherwise it is made from the settings.
        then: the stages after it.
        after: the name of another cell's first run that this one needs.
    """

    point: Point
    call: StageCall
    then: tuple[Then, ...] = ()
    after: str | None = None

    @property
    def seed(self) -> int:
        """The seed of all of its runs."""
        seed = self.call.common.seed
        assert seed is not None  # whoever makes a cell says it
        return seed

    def __str__(self) -> str:
        """For messages about one that has no name yet."""
        said = as_text(self.point)
        return f"{said} seed={self.seed}" if said else f"{self.call.stage.name} seed={self.seed}"


def check_stages(stage: str, then: Sequence[str]) -> None:
    """Check that ``stage`` learns, and that each of ``then`` can come after what was before it.

    Raises :class:`UsageError`.
    """
    learning = [name for name, known in STAGES.items() if known.learns]
    if stage not in learning:
        raise UsageError(f"{stage!r} is no stage that learns", f"choose {', '.join(learning)}")
    before = stage
    for earlier, following in zip(["", *then], then, strict=False):
        if following == earlier:
            raise UsageError(f"--then {following} is given twice in a row", "give it once")
        if following not in STAGES or before not in STAGES[following].comes_after:
            able = [name for name, known in STAGES.items() if before in known.comes_after]
            raise UsageError(
                f"--then {following!r} cannot come after {before}",
                f"{' and '.join(able)} can" if able else f"nothing comes after {before}",
            )
        before = before if following == "evaluate" else following


def check_count(points: int, seeds: int) -> None:
    """Check that a sweep has no more cells than anybody could run, before they are planned.

    Raises :class:`UsageError`.
    """
    count = points * seeds
    if count > MOST_CELLS:
        raise UsageError(
            f"the sweep has {count:,} cells",
            f"give it {MOST_CELLS:,} at most: fewer values or seeds",
        )


def cells_of_grid(
    call: StageCall, points: Sequence[Point], seeds: Sequence[int], then: Sequence[str]
) -> list[Cell]:
    """A cell for each point and seed, seeds fastest.

    Args:
        call: what is said of the stage before the grid is.
    """
    cells = []
    for point in points:
        inputs = {name: value for name, value in point.items() if name in call.stage.inputs}
        settings = {name: value for name, value in point.items() if name not in inputs}
        for seed in seeds:
            own = replace(
                call,
                common=replace(call.common, seed=seed),
                settings=call.settings | settings,
                options=call.options | inputs,
                from_environment=call.from_environment - inputs.keys(),
            )
            cells.append(Cell(point, own, tuple(map(Then, then))))
    return cells
