"""Mean returns that ``explain`` knows without another game."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from corrtool.errors import ArtifactError
from corrtool.project.artifacts import Artifact
from corrtool.project.directory import Project
from corrtool.project.manifests import play_of_memory
from corrtool.reporting.explanation import GamesOf, ReturnsKnown
from corrtool.reporting.finished import Evaluation, FinishedRun
from corrtool.runs.records import finished_run, run_directories
from corrtool.settings.stages import EvaluateSettings
from corrtool.statistics import clearly_better
from corrtool.workflows.explain_inputs import ExplainInputs


def returns_known(project: Project, known: ExplainInputs) -> ReturnsKnown:
    """Returns of fresh games of ``evaluate``, where there are some, else of what was learnt from.

    That is of random play from M_S and M_T, of the rest from summaries. Fresh games are the newest
    through the correspondence, and of the others those with the same seed, if there are such.
    """
    knowledge, inputs = known.knowledge, known.inputs
    random = {
        role: memory.game_returns()
        for role, memory in (("source", knowledge.source), ("target", knowledge.target))
        if play_of_memory(inputs[f"{role}_memory"].manifest) == "random"
    }
    games = _FreshGames(project, inputs)
    q = inputs["q"].sha256 if "q" in inputs else None
    through = games.newest("target", "q", q, known.artifact.sha256) if q else None
    seed = None if through is None else through.seed
    reuse = games.newest("target", "q", q, None, seed) if q else None
    on_target = games.newest("target", "random", None, None, seed)
    own = games.newest("source", "q", q, None, seed) if q else None
    at_random = games.newest("source", "random", None, None, seed)
    on_source = random.get("source", []) if at_random is None else at_random.result["returns"]
    of_memory = fmean(random["target"]) if random.get("target") else None
    random_mean, random_by = _either(on_target, of_memory, "memory")
    agent, agent_by = _either(own, _trained(inputs), "training")
    test: GamesOf = "play test"
    reuse_mean, reuse_by = _either(reuse, _number(known.artifact, "reuse_mean_return"), test)
    transfer, transfer_by = _either(through, _number(known.artifact, "mean_return"), test)
    return {
        "random": random_mean,
        "random_by": random_by,
        "source_random": fmean(on_source) if on_source else None,
        "source_random_by": "evaluate" if at_random else "memory" if on_source else None,
        "agent": agent,
        "agent_by": agent_by,
        "agent_is_better": clearly_better(own.result["returns"], on_source)
        if own is not None and on_source
        else None,
        "reuse": reuse_mean,
        "reuse_by": reuse_by,
        "transfer": transfer,
        "transfer_by": transfer_by,
    }


def _either(
    run: Evaluation | None, mean: float | None, by: GamesOf
) -> tuple[float | None, GamesOf | None]:
    """The mean return of fresh games, else ``mean``; and of which games it is."""
    if run is not None:
        return run.result["mean_return"], "evaluate"
    return mean, None if mean is None else by


def _trained(inputs: dict[str, Artifact]) -> float | None:
    """Of Q_S as its training ended; an agent that was imported has none here."""
    if "q" not in inputs:
        return None
    best = _number(inputs["q"], "best_mean_return")
    return _number(inputs["q"], "mean_return_20") if best is None else best


class _FreshGames:
    """The evaluations on the tasks of M_S and M_T, played as ``evaluate`` does by default."""

    def __init__(self, project: Project, inputs: dict[str, Artifact]) -> None:
        tasks = {
            role: inputs[f"{role}_memory"].manifest.get("tasks", {}).get(role)
            for role in ("source", "target")
        }
        usual, self._found = EvaluateSettings(), list[Evaluation]()
        for directory in run_directories(project.root, "evaluate"):
            try:
                finished = finished_run(directory)
            except ArtifactError:  # 'corrtool verify' tells of it
                continue
            if finished is None:
                continue
            run: Evaluation = FinishedRun("evaluate", directory.name, *finished)
            played, task = run.settings, tasks.get(run.settings["task"])
            if (
                (played["policy"] == "random" or played["epsilon"] == usual.epsilon)
                and played.get("repeat_action_probability") is None
                and (task is None or run.task == task)
            ):
                self._found.append(run)

    def newest(
        self, task: str, policy: str, q: str | None, corr: str | None, seed: int | None = None
    ) -> Evaluation | None:
        """Most games of these players, by SHA-256; of this seed if there are some. Then the newest.

        One game for a video says less than thirty before it.
        """
        found = [
            run
            for run in self._found
            if (run.settings["task"], run.settings["policy"]) == (task, policy)
            and (run.parent("q"), run.parent("corr")) == (q, corr)
        ]
        return max(
            found,
            key=lambda run: (run.seed == seed, len(run.result["returns"]), run.created),
            default=None,
        )


def _number(artifact: Artifact, name: str) -> float | None:
    """A number in an artifact's summary, which older ones lack."""
    summary: Any = artifact.manifest.get("summary")
    number: Any = summary.get(name) if isinstance(summary, dict) else None
    return float(number) if type(number) in (int, float) else None
