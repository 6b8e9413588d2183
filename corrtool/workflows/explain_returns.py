"""Mean returns that ``explain`` knows without another game."""

from __future__ import annotations

from statistics import fmean
from typing import Any, Literal

from corrtool.errors import ArtifactError
from corrtool.project.artifacts import Artifact
from corrtool.project.directory import Project
from corrtool.project.manifests import play_of_memory
from corrtool.reporting.explanation import ReturnsKnown
from corrtool.reporting.finished import Evaluation, FinishedRun
from corrtool.runs.records import finished_run, run_directories
from corrtool.settings.stages import EvaluateSettings
from corrtool.workflows.explain_inputs import ExplainInputs


def returns_known(project: Project, known: ExplainInputs) -> ReturnsKnown:
    """Returns from M_S and M_T, from summaries, and of the agent from ``evaluate``."""
    knowledge, inputs = known.knowledge, known.inputs
    random = {
        role: memory.game_returns()
        for role, memory in (("source", knowledge.source), ("target", knowledge.target))
        if play_of_memory(inputs[f"{role}_memory"].manifest) == "random"
    }
    agent, by = _of_agent(project, inputs)
    return {
        "random": fmean(random["target"]) if random.get("target") else None,
        "source_random": fmean(random["source"]) if random.get("source") else None,
        "agent": agent,
        "agent_by": by,
        "reuse": _number(known.artifact, "reuse_mean_return"),
        "transfer": _number(known.artifact, "mean_return"),
    }


def _of_agent(
    project: Project, inputs: dict[str, Artifact]
) -> tuple[float | None, Literal["evaluate", "training"] | None]:
    """Of Q_S on its own task: its newest evaluation there, else as its training ended; and which.

    An agent that was imported has no training here.
    """
    if "q" not in inputs:
        return None, None
    evaluations = _evaluations(project, inputs["q"], inputs["source_memory"])
    if evaluations:
        return max(evaluations, key=lambda run: run.created).result["mean_return"], "evaluate"
    best = _number(inputs["q"], "best_mean_return")
    trained = _number(inputs["q"], "mean_return_20") if best is None else best
    return trained, None if trained is None else "training"


def _evaluations(project: Project, q: Artifact, source_memory: Artifact) -> list[Evaluation]:
    """The evaluations of Q_S on the task of M_S, played as ``evaluate`` does by default."""
    usual, task = EvaluateSettings(), source_memory.manifest.get("tasks", {}).get("source")
    found = []
    for directory in run_directories(project.root, "evaluate"):
        try:
            finished = finished_run(directory)
        except ArtifactError:  # 'corrtool verify' tells of it
            continue
        if finished is None:
            continue
        run: Evaluation = FinishedRun("evaluate", directory.name, *finished)
        played = run.settings
        if (
            (played["task"], played["policy"], run.parent("q")) == ("source", "q", q.sha256)
            and played["epsilon"] == usual.epsilon
            and played.get("repeat_action_probability") is None
            and (task is None or run.task == task)
        ):
            found.append(run)
    return found


def _number(artifact: Artifact, name: str) -> float | None:
    """A number in an artifact's summary, which older ones lack."""
    summary: Any = artifact.manifest.get("summary")
    number: Any = summary.get(name) if isinstance(summary, dict) else None
    return float(number) if type(number) in (int, float) else None
