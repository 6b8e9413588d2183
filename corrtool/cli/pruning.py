"""``--prune`` of ``sweep``, and what is said to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from corrtool.errors import UsageError

if TYPE_CHECKING:
    from corrtool.workflows.sweeps.pruning import Pruning
    from corrtool.workflows.sweeps.sweep import Sweep

PruneFlag = Annotated[
    bool,
    typer.Option(
        "--prune",
        help="Pause cells of learn-corr that are clearly worse than others at the same gradient "
        "step, by successive halving; the same command without it goes on with them. Off by "
        "default: who is behind early may win. Play tests are blind for most of a training (the "
        "paper's winner has −21 until step 38,000 of 40,000), so scores alone are compared.",
    ),
]
PruneByOption = Annotated[
    Literal["score", "model-loss"] | None,
    typer.Option(
        help="With --prune: what cells are compared by, the score or its relative model loss.",
        metavar="<choice>",
        show_default="score",
    ),
]
PruneAfterOption = Annotated[
    int | None,
    typer.Option(
        help="With --prune: gradient steps before which no cell is paused.",
        metavar="STEPS",
        min=1,
        show_default="those of the first score",
    ),
]

_SCORED = ("learn-corr",)  # stages that log what cells are compared by


@dataclass(frozen=True)
class PruneChoice:
    """Pruning as the command line asks for it; what is None is not given."""

    on: bool = False
    by: Literal["score", "model-loss"] | None = None
    after: int | None = None

    @property
    def is_said(self) -> bool:
        """True if anything of it is given."""
        return self.on or self.by is not None or self.after is not None

    def check(self, stage: str | None, engine: str, given: Mapping[str, bool]) -> None:
        """Check that what does it is there, and that all that is said to it has an effect.

        Args:
            given: flags that have each cell run alone, and whether each is given.

        Raises:
            UsageError: or not.
        """
        if not self.on:
            for flag, said in {"--prune-by": self.by, "--prune-after": self.after}.items():
                if said is not None:
                    raise UsageError(f"{flag} has no effect", "give it together with --prune")
            return
        if engine == "slurm":
            raise UsageError(
                "--prune has no effect with --engine slurm: nobody stays to compare the cells",
                "the engines local and ray have it",
            )
        for flag in ("--cell", "--print-sbatch"):
            if given[flag]:
                raise UsageError(
                    f"--prune has no effect with {flag}: each cell runs alone",
                    "leave one of them out",
                )
        if stage is not None and stage not in _SCORED:
            raise UsageError(
                f"--prune cannot compare cells of {stage}: they log no score",
                f"{' and '.join(_SCORED)} does",
            )
        from corrtool.workflows.sweeps.pruning import check_optuna

        check_optuna()

    def of(self, planned: Sweep) -> Pruning | None:
        """What says which cells are paused; None where nothing does.

        Raises:
            CorrtoolError: its cells cannot be compared.
        """
        if not self.on:
            return None
        from corrtool.workflows.sweeps.pruning import Pruning

        return Pruning(planned.project, planned.planned, self.by or "score", self.after)
