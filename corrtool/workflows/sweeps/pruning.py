"""``sweep --prune``: which cells are clearly worse than others at the same gradient step.

Successive halving, by Optuna's pruner: cells are compared at *rungs*, gradient steps each of which
is twice the one before, and the better half goes on. The numbers are those of the scores that
``learn-corr`` logs, never those of play tests, which are blind for most of a training. What is
worse by less than scores err is not worse.

Only the process of the sweep knows of it. It reads ``metrics.jsonl`` of all cells, so nothing is
kept but what is there anyway, and a sweep that was killed knows as much as before. A cell whose
file is damaged is left out of the comparisons, and the others go on.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, TypeGuard

from corrtool.correspondence.scores import CLEARLY_HIGHER
from corrtool.errors import ArtifactError, UsageError
from corrtool.project.directory import Project
from corrtool.runs.metrics import metrics_path, read_metrics
from corrtool.runs.records import run_directory
from corrtool.workflows.sweeps.planning import PlannedCell
from corrtool.workflows.sweeps.steps import Step

PruneBy: TypeAlias = Literal["score", "model-loss"]
_EXTRA = "pip install 'corrtool[prune]'"
FACTOR = 2  # the better half goes on; and each rung is twice as far as the one before


@dataclass(frozen=True)
class Signal:
    """A number of a score by which cells are compared.

    Attributes:
        key: in the line of a score.
        said: what people call it.
        sign: 1 where more is better, and -1 where less is.
    """

    key: str
    said: str
    sign: int


SIGNALS: dict[PruneBy, Signal] = {
    "score": Signal("value", "score", 1),
    "model-loss": Signal("model_loss", "relative model loss", -1),
}


def is_rung(step: int, first: int) -> bool:
    """True if cells are compared at ``step``: at the first rung, and at twice each one before."""
    times, rest = divmod(step, first)
    return rest == 0 and times > 0 and times & (times - 1) == 0


def check_optuna() -> None:
    """Compare two numbers, so that an Optuna which does not work is found before any cell runs.

    Raises :class:`UsageError`.
    """
    try:
        is_halved(0.0, (1.0,), 1)
    except ModuleNotFoundError as error:
        raise UsageError(f"--prune needs Optuna ({error})", _EXTRA) from None
    except Exception as error:  # a package that is installed by half can fail in any way
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"--prune needs Optuna, which does not work ({reason})", _EXTRA) from None


def is_halved(number: float, others: Iterable[float], rung: int) -> bool:
    """True if Optuna's pruner ends who comes last to a rung, since it is not in the better half.

    More is better. Who is alone is the best.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # it tells each study on stderr
    study = optuna.create_study(  # in the memory of this process, and for this once
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(),  # it samples nothing
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=rung, reduction_factor=FACTOR),
    )
    halved = False
    for reported in (*others, number):
        trial = study.ask()
        trial.report(reported, rung)
        halved = trial.should_prune()  # which also remembers that it came there
    return halved


class Pruning:
    """Which cells of a sweep are clearly worse, from what all of them have logged so far.

    A cell is compared at the newest rung that it has come to, with all that came there, whenever
    one more has. So what is found depends on the numbers alone, and on nothing that a sweep that
    was killed has forgotten.

    Args:
        after: the gradient step of the first rung, rounded up to one at which all cells have a
            score; None for the first such step.

    Raises:
        UsageError: a cell has no score, or all end before they can be compared.
    """

    def __init__(
        self, project: Project, planned: Sequence[PlannedCell], by: PruneBy, after: int | None
    ) -> None:
        self._project, self._signal = project, SIGNALS[by]
        self._totals = _check_cells(planned)
        every = math.lcm(*(one.steps[0].settings["eval_every"] for one in planned))
        self.first = every * max(1, -(-(after or 0) // every))
        if all(total is not None and total <= self.first for total in self._totals.values()):
            raise UsageError(
                f"--prune has no effect: cells are compared from gradient step {self.first:,} on, "
                "and all of them end there or before",
                "make eval-every smaller, by --grid, or gradient-steps larger",
            )
        self._numbers: dict[int, dict[str, float]] = {}  # by rung and cell; more is better
        self._read: dict[str, tuple[int, int]] = {}
        self._compared: dict[str, tuple[int, int]] = {}
        self._left_out: dict[str, str] = {}  # why, by cell
        self._told = 0  # of these, which stay in the order in which they were found
        for one in planned:
            self._read_new(one.steps[0])

    def __str__(self) -> str:
        """``paused where the score is clearly worse, from gradient step 250 on``."""
        return (
            f"paused where the {self._signal.said} is clearly worse, "
            f"from gradient step {self.first:,} on"
        )

    def worse(self, step: Step) -> str | None:
        """Why the first run of a cell should wait; None where nothing new says so."""
        self._read_new(step)
        name, total = step.name, self._totals[step.name]
        rung = max((at for at, numbers in self._numbers.items() if name in numbers), default=None)
        if rung is None or (total is not None and rung >= total):  # it ends there by itself
            return None
        numbers = self._numbers[rung]
        before, self._compared[name] = self._compared.get(name), (rung, len(numbers))
        number, best = numbers[name], max(numbers.values())
        if before == self._compared[name] or number >= best - CLEARLY_HIGHER:
            return None
        if not is_halved(number, (n for other, n in numbers.items() if other != name), rung):
            return None
        sign = self._signal.sign
        return (
            f"{self._signal.said} {sign * number:.3f} after {rung:,} gradient steps, where the "
            f"best has {sign * best:.3f}"
        )

    def left_out(self) -> list[str]:
        """Which cells cannot be compared, and why; each is told once."""
        lines = [f"{name}: {why}" for name, why in self._left_out.items()][self._told :]
        self._told += len(lines)
        return lines

    def _read_new(self, step: Step) -> None:
        """Read what a run has logged at rungs; one that resumes logs again what is known.

        What is left of another run of its name, or of one that has saved nothing, is not its own.
        """
        path = metrics_path(run_directory(self._project.root, step.stage, step.name))
        if not path.exists():
            return
        now = path.stat()
        if self._read.get(step.name) == (now.st_size, now.st_mtime_ns):
            return
        try:
            if step.standing(self._project).state not in ("running", "interrupted", "done"):
                return
            logged = _logged(path, self.first, self._signal)
        except ArtifactError as error:
            self._left_out.setdefault(step.name, error.message)
            logged = None
        self._read[step.name] = now.st_size, now.st_mtime_ns
        if logged is None:
            for numbers in self._numbers.values():
                numbers.pop(step.name, None)
            return
        for rung, number in logged.items():
            self._numbers.setdefault(rung, {})[step.name] = number


def _logged(path: Path, first: int, signal: Signal) -> dict[int, float]:
    """The numbers of a cell by rung, where more is better. Raises :class:`ArtifactError`."""
    numbers = {}
    for line in read_metrics(path):
        if line.get("event") != "score":
            continue
        step, number = line.get("gradient_steps"), line.get(signal.key)
        if type(step) is not int:
            raise _no_number(path, "gradient_steps", step)
        if not _is_number(number):
            raise _no_number(path, signal.key, number)
        if is_rung(step, first):
            numbers[step] = signal.sign * float(number)
    return numbers


def _is_number(value: object) -> TypeGuard[float]:
    """True for what can be compared; JSON has integers that are no float."""
    if type(value) is int:
        return abs(value) <= sys.float_info.max
    return type(value) is float and not math.isnan(value)


def _no_number(path: Path, key: str, value: object) -> ArtifactError:
    return ArtifactError(f"{path} is damaged: a score has {key} {value!r:.40}")


def _check_cells(planned: Sequence[PlannedCell]) -> dict[str, int | None]:
    """The gradient steps of each cell, None where they are counted in epochs.

    Raises :class:`UsageError` where a cell has no score, which takes an environment model.
    """
    for one in planned:
        if "model" not in one.steps[0].inputs:
            raise UsageError(
                f"--prune cannot compare {one.name}: without F it has no score",
                "give every cell a --lambda-m above 0",
            )
    return {one.name: one.steps[0].settings["gradient_steps"] for one in planned}
