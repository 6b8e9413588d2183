"""Cells of the report: runs of a stage that differ in their seed only, and what they are called."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic

from corrtool.reporting.finished import FinishedRun, R
from corrtool.reporting.rows import Row
from corrtool.runs.results import FinetuneResult, LearnCorrResult, TrainDqnResult
from corrtool.settings.stages import STAGE_SETTINGS

SCRATCH = "from scratch"
REUSE = "Q reused without correspondence"


@dataclass
class Cell(Generic[R]):
    """Runs of a stage that differ in their seed only.

    Attributes:
        label: what tells it from the other cells.
        rows: evaluations of what they made; the first row is the cell's.
    """

    label: str
    runs: list[FinishedRun[R]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @property
    def seeds(self) -> list[int]:
        """One seed per run."""
        return [run.seed for run in self.runs]


def make_cells(runs: list[FinishedRun[R]], label: Callable[[FinishedRun[R]], str]) -> list[Cell[R]]:
    """Group runs by label, settings and agent; labels that would be equal say what differs.

    Means and intervals over seeds are of one agent: agents differ more than what is made with one.
    """
    groups: dict[tuple[str, str, str | None], Cell[R]] = {}
    for run in runs:
        key = (label(run), json.dumps(_all_settings(run), sort_keys=True), run.parent("q"))
        groups.setdefault(key, Cell(key[0])).runs.append(run)
    cells = list(groups.values())
    for name in {cell.label for cell in cells}:
        alike = [cell for cell in cells if cell.label == name]
        differences = [_differences(cell.runs[0], [a.runs[0] for a in alike]) for cell in alike]
        for cell, differing in zip(alike, differences, strict=True):
            cell.label = ", ".join([name, *differing])
    for cell in cells:
        cell.runs.sort(key=lambda run: run.seed)
    return sorted(cells, key=lambda cell: cell.runs[0].created)


def _differences(run: FinishedRun[Any], alike: list[FinishedRun[R]]) -> list[str]:
    """The settings and the agent of ``run`` where not all of ``alike`` have the same, in words."""
    mine, others = _all_settings(run), [_all_settings(other) for other in alike]
    differing = [key for key in mine if any(other.get(key) != mine[key] for other in others)]
    words = [f"{key.replace('_', '-')} {mine[key]}" for key in differing]
    agents = {other.parent("q"): other.parent_name("q") for other in alike}
    own = run.parent("q")
    if len(agents) == 1:
        return words
    if own is None:
        return [*words, "without Q"]
    namesakes = [name for name in agents.values() if name == agents[own]]
    return [*words, f"with Q {agents[own]}" + (f" {own[:8]}" if len(namesakes) > 1 else "")]


def _all_settings(run: FinishedRun[Any]) -> dict[str, Any]:
    """The settings of a run; those newer than it have their defaults, as its fingerprint has."""
    settings_class = STAGE_SETTINGS.get(run.stage)
    return ({} if settings_class is None else settings_class().to_json()) | run.settings


def correspondence_label(run: FinishedRun[LearnCorrResult]) -> str:
    s = run.settings
    if "recipe" in run.result:
        return f"{run.result['recipe']} (--recipe auto)"
    weights = tuple(s[name] for name in ("lambda_cyc", "lambda_q", "lambda_m"))
    words = {(0.0, 0.0, 0.0): "GAN", (10.0, 0.0, 0.0): "CycleGAN"}.get(weights)
    if words == "CycleGAN" and s["cycle_loss"] != "printed":
        words = None
    shown = ", ".join(f"{weight:g}" for weight in weights)
    kind = run.result.get("generator") or s["generator"]
    relative = (
        ", relative model loss" if s["model_loss"] == "relative" and s["lambda_m"] > 0 else ""
    )
    from_where = (
        f", from {s['angle_init']:g}°"
        if s["angle_starts"] == 1 and run.result["angle_degrees"] is not None
        else ""
    )
    return f"{kind}, {words or 'λ'} ({shown}){relative}{from_where}"


def agent_label(run: FinishedRun[TrainDqnResult]) -> str:
    return f"DQN, {run.settings['optimizer']}, {run.settings['architecture']}"


def finetuning_label(
    run: FinishedRun[FinetuneResult], correspondences: list[Cell[LearnCorrResult]]
) -> str:
    if run.record["options"].get("from_scratch"):
        return SCRATCH
    corr = run.parent("corr")
    if corr is None:
        return REUSE
    for cell in correspondences:
        if any(corr == learnt.output_sha256("corr", learnt.name) for learnt in cell.runs):
            return cell.label
    return run.record["parents"]["corr"]["name"]
