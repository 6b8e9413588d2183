"""The report's tables of what everything was made from.

Environment models, and every run with its inputs.
"""

from __future__ import annotations

from typing import Any

from corrtool.project.artifacts import KIND_LABELS, Artifact
from corrtool.project.manifests import Reference
from corrtool.reporting.agents import file_and_format, preprocessing_of
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
    """Every import, and every run with its inputs and its command."""
    rows = [_import(artifact) for artifact in results.imports]
    for run in results.runs:
        parents = ", ".join(
            f"{use.replace('_', ' ')} {_called(results, p)}"
            for use, p in run.record["parents"].items()
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


def _called(results: Results, reference: Reference) -> str:
    """The name of an input; a Q-function that has since been replaced is an earlier one."""
    if reference["kind"] != "q":
        return reference["name"]
    return results.agents.called((reference["name"], reference["sha256"]))


def _import(artifact: Artifact) -> list[str]:
    """An agent or a memory that came from another program's file, as a row beside the runs."""
    manifest = artifact.manifest
    machine: Any = manifest.get("machine")
    packages = machine.get("packages") if isinstance(machine, dict) else None
    version = machine.get("commit") if isinstance(machine, dict) else None
    if not version and isinstance(packages, dict):
        version = packages.get("corrtool")
    made_from = (file_and_format(artifact), preprocessing_of(artifact))
    seed, command = manifest.get("seed"), manifest.get("command")
    return [
        f"import {KIND_LABELS[artifact.kind]}",
        artifact.name,
        "–" if seed is None else str(seed),
        "; ".join(filter(None, made_from)),
        "–" if command is None else without_project(str(command)),
        str(version or "unknown"),
        "–",
    ]


def _four_digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
