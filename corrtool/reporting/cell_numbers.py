"""The numbers of a sweep's cell, whose runs come one after the other: which of them counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from corrtool.reporting.finished import Evaluation, FinishedRun
from corrtool.reporting.key_numbers import FRESH_GAMES, KeyNumber, key_numbers
from corrtool.runs.sweeps import SweepStep

RunKey: TypeAlias = tuple[str, str]  # stage and name


@dataclass(frozen=True)
class CellNumber:
    """A number of a cell.

    Attributes:
        learnt: the run that learnt what is measured; None where its record is not there.
        played: the evaluation, where the number is that of fresh games.
    """

    number: KeyNumber
    learnt: FinishedRun[Any] | None
    played: Evaluation | None = None


def cell_numbers(
    steps: Sequence[SweepStep],
    runs: Sequence[FinishedRun[Any] | None],
    fresh: Mapping[RunKey, Sequence[Evaluation]],
) -> list[CellNumber]:
    """All numbers of a cell, the one that counts first.

    A later run counts more than an earlier one, for it is what the cell was for; fresh games of
    what a run learnt count more than what the run says of itself.

    Args:
        runs: of the steps, None for those that are not finished.
        fresh: evaluations outside the cell, by the run that learnt what played.
    """
    found = []
    for index in reversed(range(len(steps))):
        run = runs[index]
        if run is None:
            continue
        stage = run.stage
        if stage != "evaluate":
            found += [
                CellNumber(KeyNumber(FRESH_GAMES, float(played.result["mean_return"])), run, played)
                for played in fresh.get((stage, run.name), [])
            ]
        learnt = _last_learnt(steps, runs, index)
        played = run if stage == "evaluate" else None
        found += [CellNumber(n, learnt, played) for n in key_numbers(stage, run.result)]
    return found


def _last_learnt(
    steps: Sequence[SweepStep], runs: Sequence[FinishedRun[Any] | None], index: int
) -> FinishedRun[Any] | None:
    """The run at ``index``, or of an evaluation the one before it that learnt what played."""
    learning = [i for i in range(index + 1) if steps[i]["stage"] != "evaluate"]
    return runs[learning[-1]] if learning else None
