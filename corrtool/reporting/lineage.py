"""The report's tables of what everything was made from.

Environment models, and every run with its inputs.
"""

from __future__ import annotations

from corrtool.reporting.finished import FinishedRun
from corrtool.reporting.results import Results
from corrtool.reporting.table import Table, duration
from corrtool.runs.commands import without_project
from corrtool.runs.results import NewestFrameErrors, TrainModelResult


def models(results: Results) -> Table:
    """Prediction errors of each environment model."""
    rows = []
    for cell in results.models:
        for run in cell.runs:
            errors = run.result["validation"]
            rows.append(
                [
                    run.name,
                    str(run.seed),
                    f"{run.result['gradient_steps']:,}",
                    *(_newest(errors) if _has_older_frames(run) else ["–", "–"]),
                    f"{errors['l1_changing']:.4f}",
                    f"{errors['l1_changing_persistence']:.4f}",
                    f"{errors['l1']:.5f}",
                    f"{errors['l1_persistence']:.5f}",
                    duration(run.seconds),
                ]
            )
    columns = [
        "model",
        "seed",
        "gradient steps",
        "newest frame, what changes",
        "newest frame, persistence",
        "state, what changes",
        "state, what changes, persistence",
        "state, everything",
        "state, everything, persistence",
        "wall time",
    ]
    table = Table(
        "Environment models",
        columns,
        rows,
        "Mean absolute error on held-out records, pictures in [-1, 1], vectors and signals in "
        "standard deviations; persistence predicts that "
        "nothing changes.",
    )
    table = table.with_column(
        "newest frame, what changes",
        "Of a state only the newest frame is news: the others were in the state before.",
    )
    return table.with_column("newest frame, persistence", "")


def models_by_action(results: Results) -> Table:
    """The same for each action alone."""
    rows = []
    of_frames = any(_has_older_frames(run) for cell in results.models for run in cell.runs)
    for cell in results.models:
        for run in cell.runs:
            for errors in run.result["validation"].get("by_action", []):
                rows.append([run.name, str(errors["action"]), *_newest(errors)])
    return Table(
        "Environment models, by action",
        [
            "model",
            "action",
            f"{'newest frame' if of_frames else 'state'}, what changes",
            "persistence",
        ],
        rows,
        "As above, for the records in which this action was taken.",
    )


def _has_older_frames(run: FinishedRun[TrainModelResult]) -> bool:
    """True if F's states are of several frames: then the newest one differs from the state."""
    errors = run.result["validation"]
    return errors.get("l1_newest") != errors["l1_changing"]


def _newest(errors: NewestFrameErrors) -> list[str]:
    """Errors over what changes in the newest frame, of F and of persistence."""
    of_f, persistence = errors.get("l1_newest"), errors.get("l1_newest_persistence")
    return [_four_digits(of_f), _four_digits(persistence)]


def lineage(results: Results) -> Table:
    """Every run with its inputs and its command."""
    rows = []
    for run in results.runs:
        parents = ", ".join(
            f"{use.replace('_', ' ')} {p['name']}" for use, p in run.record["parents"].items()
        )
        rows.append(
            [
                run.stage,
                run.name,
                str(run.seed),
                parents or "–",
                without_project(run.record["command"]),
                run.corrtool,
                duration(run.seconds),
            ]
        )
    return Table(
        "Runs and what they were made from",
        ["stage", "name", "seed", "made from", "command", "corrtool", "wall time"],
        rows,
    )


def _four_digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
