"""Cells of the report: runs of a stage that differ in their seed only, and what they are called."""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic

from corrtool.reporting.finished import FinishedRun, R
from corrtool.reporting.rows import Row
from corrtool.runs.results import FinetuneResult, LearnCorrResult, TrainDqnResult
from corrtool.settings.stages import STAGE_SETTINGS

SCRATCH = "from scratch"
OWN_TASK = "Q on its own task"
SOURCE_RANDOM_PLAY = "random play on the source"
RANDOM_PLAY = "random play"
REUSE = "Q reused without correspondence"

NO_LABELS = ("max_minutes",)  # what is left of a budget says how long, not what was learnt

_SEED = re.compile(r"-seed\d+$")


@dataclass
class Cell(Generic[R]):
    """Runs of a stage that differ in their seed only.

    Attributes:
        label: what tells it from the other cells.
        rows: evaluations of what they made; the first row is the cell's.
        how: the label without the names that it has where nothing else tells it from another.
    """

    label: str
    runs: list[FinishedRun[R]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    how: str = ""

    @property
    def seeds(self) -> list[int]:
        """One seed per run."""
        return [run.seed for run in self.runs]

    @property
    def names(self) -> list[str]:
        """Those of its runs, where they say more than the seeds; else none."""
        names = [run.name for run in self.runs]
        return names if len({_SEED.sub("", name) for name in names}) > 1 else []

    @property
    def called(self) -> str:
        """The names of what its runs made; of several that differ in the seed only what is left."""
        names = [run.name for run in self.runs]
        if len(names) == 1 or self.names:
            return ", ".join(names)
        return _SEED.sub("", names[0])


def make_cells(runs: list[FinishedRun[R]], label: Callable[[FinishedRun[R]], str]) -> list[Cell[R]]:
    """Group runs by label, settings and agent; labels that would be equal say what differs.

    Means and intervals over seeds are of one agent: agents differ more than what is made with one.
    """
    groups: dict[tuple[str, str, str | None], Cell[R]] = {}
    for run in runs:
        key = (label(run), json.dumps(_all_settings(run), sort_keys=True), run.parent("q"))
        groups.setdefault(key, Cell(key[0])).runs.append(run)
    cells = list(groups.values())
    by_label: dict[str, list[Cell[R]]] = {}
    for cell in cells:
        by_label.setdefault(cell.label, []).append(cell)
    for name, alike in by_label.items():
        differences = _differences([cell.runs[0] for cell in alike])
        for cell, differing in zip(alike, differences, strict=True):
            cell.label = ", ".join([name, *differing])
    for cell in cells:
        cell.runs.sort(key=lambda run: run.seed)
    _tell_apart(cells)
    return sorted(cells, key=lambda cell: cell.runs[0].created)


def _tell_apart(cells: list[Cell[R]]) -> None:
    """Add the names to labels that are equal still: of runs that had other times to learn in."""
    labels = Counter(cell.label for cell in cells)
    for cell in cells:
        cell.how = cell.label
        if labels[cell.label] > 1:
            cell.label = ", ".join([cell.label, *(run.name for run in cell.runs)])


def _differences(alike: list[FinishedRun[R]]) -> list[list[str]]:
    """Of each run the settings and the agent where not all have the same, in words."""
    settings = [_all_settings(run) for run in alike]
    keys = dict.fromkeys(key for own in settings for key in own if key not in NO_LABELS)
    differing = {key for key in keys if any(s.get(key) != settings[0].get(key) for s in settings)}
    agents = {run.parent("q"): run.parent_name("q") for run in alike}
    namesakes = Counter(agents.values())
    found = []
    for run, own in zip(alike, settings, strict=True):
        words = [f"{key.replace('_', '-')} {own[key]}" for key in own if key in differing]
        q = run.parent("q")
        if len(agents) > 1 and q is None:
            words.append("learnt without Q")
        elif len(agents) > 1 and q is not None:
            digits = f" {q[:8]}" if namesakes[agents[q]] > 1 else ""
            words.append(f"learnt with Q {agents[q]}{digits}")
        found.append(words)
    return found


def _all_settings(run: FinishedRun[Any]) -> dict[str, Any]:
    """The settings of a run; those newer than it have their defaults, as its fingerprint has."""
    return _default_settings(run.stage) | run.settings


@functools.cache
def _default_settings(stage: str) -> dict[str, Any]:
    settings_class = STAGE_SETTINGS.get(stage)
    return {} if settings_class is None else settings_class().to_json()


def correspondence_label(run: FinishedRun[LearnCorrResult]) -> str:
    s = run.settings
    given = _given_actions(s.get("action_map", "identity"))
    if "recipe" in run.result:
        return f"{run.result['recipe']} (--recipe auto){given}"
    weights = tuple(s[name] for name in ("lambda_cyc", "lambda_q", "lambda_m"))
    words = {(0.0, 0.0, 0.0): "GAN", (10.0, 0.0, 0.0): "CycleGAN"}.get(weights)
    if words == "CycleGAN" and s["cycle_loss"] != "printed":
        words = None
    shown = ", ".join(f"{weight:g}" for weight in weights)
    kind = run.result.get("generator") or s["generator"]
    relative = (
        ", relative model loss" if s["model_loss"] == "relative" and s["lambda_m"] > 0 else ""
    )
    outputs = run.result.get("q_loss")
    compared = f", λ_Q on {outputs}" if outputs in ("logits", "value") else ""
    from_where = (
        f", from {s['angle_init']:g}°"
        if s["angle_starts"] == 1 and run.result["angle_degrees"] is not None
        else ""
    )
    return f"{kind}, {words or 'λ'} ({shown}){compared}{relative}{from_where}{given}"


def _given_actions(action_map: str) -> str:
    """A map of the actions that was given, in words; nothing where it is the identity or found."""
    return "" if action_map in ("identity", "learned", "auto") else f", --action-map {action_map}"


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
