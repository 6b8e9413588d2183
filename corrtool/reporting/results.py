"""What a project's finished runs came to, brought together for the report: by cell, over seeds."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corrtool.errors import ArtifactError
from corrtool.project.directory import Project
from corrtool.project.records import finished_run, run_directories, run_problems
from corrtool.project.sealed import damaged
from corrtool.reporting.metrics import read_metrics
from corrtool.statistics import Interval, interval_over_games, interval_over_seeds

SCRATCH, REUSE, RANDOM_PLAY = "from scratch", "Q reused without correspondence", "random play"


@dataclass
class FinishedRun:
    """One run of a stage that ended, with its record ``run.json``."""

    stage: str
    name: str
    directory: Path
    record: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved settings."""
        return self.record["settings"]  # type: ignore[no-any-return]

    @property
    def result(self) -> dict[str, Any]:
        """What the stage returned."""
        return self.record["result"]  # type: ignore[no-any-return]

    @property
    def seed(self) -> int:
        """The seed of everything random in it."""
        return int(self.record["seed"])

    @property
    def seconds(self) -> float:
        """Wall time, over all its resumptions."""
        return float(self.record.get("seconds", 0.0))

    @property
    def corrtool(self) -> str:
        """The commit of corrtool that ran it, or its version where it was installed without one."""
        machine = self.record["machine"]
        return str(machine.get("commit") or machine.get("packages", {}).get("corrtool", "unknown"))

    def parent(self, use: str) -> str | None:
        """SHA-256 of the artifact it read for ``use``."""
        reference = self.record["parents"].get(use)
        return None if reference is None else str(reference["sha256"])

    def made(self, kind: str, name: str) -> str | None:
        """SHA-256 of the artifact it wrote under this kind and name."""
        for reference in self.record["artifacts"]:
            if (reference["kind"], reference["name"]) == (kind, name):
                return str(reference["sha256"])
        return None

    @functools.cached_property
    def _lines(self) -> list[dict[str, Any]]:
        return read_metrics(self.directory / "metrics.jsonl")

    def metrics(self, event: str) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl`` with this event, in order. Raises :class:`ArtifactError`."""
        return [line for line in self._lines if line.get("event") == event]


@dataclass
class Cell:
    """Runs of a stage that differ in their seed only.

    Attributes:
        label: what tells it from the other cells.
        evaluations: by run, the evaluation of what it made, or None.
    """

    label: str
    runs: list[FinishedRun] = field(default_factory=list)
    evaluations: list[FinishedRun | None] = field(default_factory=list)

    @property
    def seeds(self) -> list[int]:
        """One seed per run."""
        return [run.seed for run in self.runs]

    def fresh_games(self) -> Interval | None:
        """Mean return of fresh games: over seeds where there are several, else over games; None without evaluations."""
        evaluated = [run.result["returns"] for run in self.evaluations if run is not None]
        if not evaluated:
            return None
        return interval_over_seeds(evaluated) if len(evaluated) > 1 else interval_over_games(evaluated[0])


@dataclass(frozen=True)
class Results:
    """Everything that the report shows of a project; ``left_out`` names runs that cannot be read, and why."""

    project: Project
    runs: list[FinishedRun]
    source_agents: list[Cell]
    models: list[Cell]
    correspondences: list[Cell]
    finetunings: list[Cell]
    baselines: dict[str, FinishedRun]
    left_out: list[str]

    def machines(self) -> list[str]:
        """On what the runs were made: each device and number of threads once, with the commits of corrtool in their order."""
        commits: dict[str, list[str]] = {}
        for run in sorted(self.runs, key=lambda run: str(run.record["created"])):
            m = run.record["machine"]
            threads = m.get("threads", "?")
            text = f"{m.get('device_name') or m['device']}, {threads} {'thread' if threads == 1 else 'threads'}"
            commits.setdefault(text, []).append(run.corrtool)
        return [f"{machine}, corrtool {', '.join(dict.fromkeys(made))}" for machine, made in commits.items()]


def read_results(project: Project) -> Results:
    """Reads the records and metrics of all finished runs; unfinished ones and those that are damaged are left out."""
    runs, left_out = [], []
    for directory in run_directories(project.root):
        try:
            finished = finished_run(directory)
            if finished is not None:
                place, record = finished
                run = FinishedRun(str(record["stage"]), str(record["name"]), place, record)
                run.metrics("")  # reads the file
                for problem in run_problems(place):
                    raise problem
                if not _is_whole(run):
                    raise damaged(place / "run.json")
                runs.append(run)
        except ArtifactError as error:
            left_out.append(str(error))
    by_stage = {stage: [run for run in runs if run.stage == stage] for stage in {run.stage for run in runs}}
    evaluations = sorted(by_stage.get("evaluate", []), key=lambda run: str(run.record["created"]))
    learnt_on_target = {
        run.made("q", run.name)
        for run in runs
        if run.stage in ("train-dqn", "finetune") and run.settings["task"] == "target"
    }
    correspondences = _cells(by_stage.get("learn-corr", []), _correspondence_label)
    for cell in correspondences:
        zero_shot = [e for e in evaluations if e.parent("q") not in learnt_on_target]
        cell.evaluations = [_newest(zero_shot, "corr", run.made("corr", run.name)) for run in cell.runs]
    agents = _cells([r for r in by_stage.get("train-dqn", []) if r.settings["task"] == "source"], _agent_label)
    for cell in agents:
        played = [e for e in evaluations if e.settings["task"] == "source"]
        cell.evaluations = [_newest(played, "q", run.made("q", run.name)) for run in cell.runs]
    finetunings = _cells(
        [r for r in by_stage.get("finetune", []) if r.settings["task"] == "target"],
        lambda run: _finetuning_label(run, correspondences),
    )
    for cell in finetunings:
        cell.evaluations = [_newest(evaluations, "q", run.made("q", run.name)) for run in cell.runs]
    return Results(
        project=project,
        runs=runs,
        source_agents=agents,
        models=_cells(by_stage.get("train-model", []), lambda run: run.result["model"]),
        correspondences=correspondences,
        finetunings=finetunings,
        left_out=left_out,
        baselines=_baselines([e for e in evaluations if e.parent("q") not in learnt_on_target]),
    )


_NUMBER = (int, float)
_RESULTS: dict[str, dict[str, tuple[type, ...]]] = {
    "train-dqn": {"env_steps": (int,), "mean_return_20": (*_NUMBER, type(None))},
    "train-model": {"model": (str,), "gradient_steps": (int,), "validation": (dict,)},
    "learn-corr": {
        "gradient_steps": (int,),
        "angle_degrees": (*_NUMBER, type(None)),
        "best_angle_degrees": (*_NUMBER, type(None)),
    },
    "evaluate": {"mean_return": _NUMBER, "returns": (list,)},
}


_SETTINGS: dict[str, dict[str, tuple[type, ...]]] = {
    "train-dqn": {"task": (str,), "optimizer": (str,), "architecture": (str,)},
    "finetune": {"task": (str,)},
    "evaluate": {"task": (str,), "policy": (str,)},
    "learn-corr": dict.fromkeys(("lambda_cyc", "lambda_q", "lambda_m", "angle_init"), _NUMBER)
    | {"generator": (str,), "cycle_loss": (str,), "model_loss": (str,), "angle_starts": (int, type(None))},
}


def _is_whole(run: FinishedRun) -> bool:
    """Whether a run's settings and its result hold what the report shows of them."""
    for table, known in ((run.result, _RESULTS), (run.settings, _SETTINGS)):
        if not all(isinstance(table.get(name), kinds) for name, kinds in known.get(run.stage, {}).items()):
            return False
    returns = run.result.get("returns", [0.0])
    return bool(returns) and all(isinstance(value, _NUMBER) for value in returns)


def _cells(runs: list[FinishedRun], label: Any) -> list[Cell]:
    """Groups runs by label and settings; where two cells would have one label, what differs is appended."""
    groups: dict[tuple[str, str], Cell] = {}
    for run in runs:
        key = (label(run), json.dumps(run.settings, sort_keys=True))
        groups.setdefault(key, Cell(key[0])).runs.append(run)
    cells = list(groups.values())
    for name in {cell.label for cell in cells}:
        alike = [cell for cell in cells if cell.label == name]
        for cell in alike if len(alike) > 1 else []:
            settings = [other.runs[0].settings for other in alike]
            mine = cell.runs[0].settings
            differing = [key for key in mine if any(other.get(key) != mine[key] for other in settings)]
            cell.label += ", " + ", ".join(f"{key.replace('_', '-')} {mine[key]}" for key in differing)
    for cell in cells:
        cell.runs.sort(key=lambda run: run.seed)
    return sorted(cells, key=lambda cell: str(cell.runs[0].record["created"]))


def _correspondence_label(run: FinishedRun) -> str:
    s = run.settings
    weights = tuple(s[name] for name in ("lambda_cyc", "lambda_q", "lambda_m"))
    words = {(0.0, 0.0, 0.0): "GAN", (10.0, 0.0, 0.0): "CycleGAN"}.get(weights)
    if words == "CycleGAN" and s["cycle_loss"] != "printed":
        words = None
    shown = ", ".join(f"{weight:g}" for weight in weights)
    kind = run.result.get("generator") or s["generator"]
    relative = ", relative model loss" if s["model_loss"] == "relative" and s["lambda_m"] > 0 else ""
    from_where = (
        f", from {s['angle_init']:g}°" if s["angle_starts"] == 1 and run.result["angle_degrees"] is not None else ""
    )
    return f"{kind}, {words or 'λ'} ({shown}){relative}{from_where}"


def _agent_label(run: FinishedRun) -> str:
    return f"DQN, {run.settings['optimizer']}, {run.settings['architecture']}"


def _finetuning_label(run: FinishedRun, correspondences: list[Cell]) -> str:
    if run.record["options"].get("from_scratch"):
        return SCRATCH
    corr = run.parent("corr")
    if corr is None:
        return REUSE
    for cell in correspondences:
        if any(corr == learnt.made("corr", learnt.name) for learnt in cell.runs):
            return cell.label
    return str(run.record["parents"]["corr"]["name"])


def _newest(evaluations: list[FinishedRun], use: str, sha256: str | None) -> FinishedRun | None:
    fitting = [e for e in evaluations if sha256 is not None and e.parent(use) == sha256]
    return fitting[-1] if fitting else None


def _baselines(evaluations: list[FinishedRun]) -> dict[str, FinishedRun]:
    """The newest evaluations of random play and of direct reuse on the target."""
    found = {}
    for run in evaluations:
        if run.settings["task"] == "target":
            if run.settings["policy"] == "random":
                found[RANDOM_PLAY] = run
            elif run.parent("corr") is None:
                found[REUSE] = run
    return found
