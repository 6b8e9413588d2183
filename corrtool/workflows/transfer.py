"""From an agent of the source task to how well it plays the target, in one command.

What the project lacks of that is learnt, collected and played, by the stages that would be called
by hand, with the settings that they would have then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict, cast

from corrtool.correspondence.actions import IDENTITY
from corrtool.errors import ArtifactError, MissingInputError, UsageError
from corrtool.project.artifacts import Artifact, check_name, find_artifacts
from corrtool.project.defaults import project_device
from corrtool.project.directory import Project
from corrtool.runs.context import StageContext
from corrtool.runs.records import read_record, run_directories
from corrtool.runs.results import (
    EvaluateResult,
    LearnCorrResult,
    Plan,
    StageResult,
)
from corrtool.runtime.console import Console
from corrtool.settings.budget import Budget
from corrtool.settings.stages import LearnCorrSettings, TrainDqnSettings
from corrtool.stages.source_agents import agent_of_memory, agent_of_q
from corrtool.tasks import probe
from corrtool.workflows.call import StageCall
from corrtool.workflows.pipeline import Pipeline
from corrtool.workflows.transfer_rows import TransferRow, make_notes, make_rows


class TransferResult(TypedDict):
    """What ``transfer --json`` prints.

    Attributes:
        games: those of each row.
        minutes: wall time of this call.
        cut: the stages that the budget, or a ``--max-minutes``, ended early.
    """

    project: str
    rows: list[TransferRow]
    games: int
    source_agent: str
    learn_corr: LearnCorrResult
    minutes: float
    cut: list[str]
    notes: list[str]


class TransferPlan(TypedDict):
    """What a dry run tells instead: the plan of each stage, in order."""

    dry_run: bool
    steps: list[Plan]


def transfer(
    pipeline: Pipeline, *, from_q: str | None, games: int | None, budget: Budget
) -> TransferResult | TransferPlan:
    """Do what is missing, from Q_S to the evaluations; in a dry run, plan it.

    Args:
        from_q: the source agent's Q-function; otherwise the newest, or one that is learnt here.
        games: of each evaluation.

    Raises:
        CorrtoolError: a stage fails, or what has its name was made with other settings.
    """
    if from_q is not None:
        check_name(from_q)
    _check_actions(pipeline)
    steps: list[StageResult] = []
    dry_run = pipeline.calls["evaluate"].common.dry_run
    if dry_run:
        pipeline = replace(pipeline, on_result=lambda _, plan: steps.append(plan))
    learner = _Learner(pipeline, budget)
    q = learner.source_agent(from_q)
    learnt = cast(LearnCorrResult, learner.correspondence(q))
    no_reuse = _why_no_reuse(pipeline.project)
    played = _play(pipeline, q, learnt["name"], games, with_reuse=no_reuse is None)
    if dry_run:
        return {"dry_run": True, "steps": cast(list[Plan], steps)}
    rows = make_rows(played)
    cut = learner.cut(q, learnt["name"])
    return {
        "project": str(pipeline.project.root),
        "rows": rows,
        "games": played["random"]["games"],
        "source_agent": q,
        "learn_corr": learnt,
        "minutes": round(budget.used_minutes, 3),
        "cut": cut,
        "notes": make_notes(rows, learnt, cut, no_reuse),
    }


@dataclass(frozen=True)
class _Learner:
    """The stages that learn and collect, each only where its artifact is missing."""

    pipeline: Pipeline
    budget: Budget

    @cached_property
    def _context(self) -> StageContext:
        """Where artifacts are looked for."""
        project, common = self.pipeline.project, self.pipeline.calls["learn-corr"].common
        return StageContext(project, self.pipeline.console, project_device(project, common.device))

    def source_agent(self, from_q: str | None) -> str:
        """The name of Q_S: as it is given, or the newest; if there is none it is learnt."""
        named = from_q or self._named("q")
        try:
            return self._context.source_q(named).name
        except MissingInputError:
            if named is not None:
                raise
        return self._learn("train-dqn", {"task": "source"})["name"]

    def correspondence(self, q: str) -> StageResult:
        """The result of ``learn-corr``, after what it needs.

        One that is finished, or was interrupted, needs nothing that is not there already.
        """
        if self._begun("learn-corr", {}, q=q) is not None:
            return self._learn("learn-corr", q=q)
        memory = self._memory_of(q)
        inputs: dict[str, Any] = {"q": q, "target_memory": self._named("target_memory")}
        if self._named("source_memory") is None and not self._will_leave_random_play(q):
            self._random_memory("source")  # of the kind that the target's is
        if inputs["target_memory"] is None:
            inputs["target_memory"] = self._random_memory("target")
        settings = self.pipeline.calls["learn-corr"].resolved(self.pipeline.project, _QUIET)
        if "model" in cast(LearnCorrSettings, settings).loss_weights:
            inputs["model"] = self._model(memory)
        return self._learn("learn-corr", **inputs)

    def cut(self, q: str, corr: str) -> list[str]:
        """The stages behind Q_S and the correspondence that ended early, whenever that was."""
        found = {
            (artifact.kind, artifact.name): artifact.manifest
            for kind in ("q", "model", "corr")
            for artifact in find_artifacts(self._root, kind)
        }
        behind = [("q", q), ("corr", corr)]
        parents = found["corr", corr].get("parents", {})
        if "model" in parents:
            behind.insert(1, ("model", parents["model"]["name"]))
        manifests = [found[made] for made in behind if made in found]
        return [made["stage"] for made in manifests if (made.get("summary") or {}).get("cut")]

    def _named(self, use: str) -> str | None:
        """An input of ``learn-corr`` that a variable or ``corrtool.toml`` names."""
        return self.pipeline.calls["learn-corr"].named_input(self.pipeline.project, use)

    def _memory_of(self, q: str) -> str:
        """The memory that Q_S played, by name; if there is none it plays one."""
        found = {artifact.name: artifact for artifact in find_artifacts(self._root, "q")}
        if q not in found:
            return q  # in a dry run: train-dqn will leave both
        agent = agent_of_q(found[q])
        for memory in self._memories("source"):
            player = agent_of_memory(memory)
            if player is not None and player.is_known_as(agent):
                return memory.name
        return self.pipeline.run("collect", {"task": "source", "policy": f"q:{q}"})["name"]

    def _will_leave_random_play(self, q: str) -> bool:
        """True in a dry run, where ``train-dqn`` is yet to leave a memory of random play."""
        settings = self.pipeline.calls["train-dqn"].resolved(self.pipeline.project, _QUIET)
        learnt = any(artifact.name == q for artifact in find_artifacts(self._root, "q"))
        return not learnt and cast(TrainDqnSettings, settings).random_records > 0

    def _random_memory(self, role: str) -> str:
        """The newest memory of random play of a task; if there is none it is collected."""
        for memory in self._memories(role):
            if agent_of_memory(memory) is None:
                return memory.name
        return self.pipeline.run("collect", {"task": role, "policy": "random"})["name"]

    def _model(self, memory: str) -> str:
        """F: as it is named, or the newest; if there is none it is learnt from ``memory``."""
        named = self._named("model")
        try:
            source = self.pipeline.project.task("source")
            return self._context.artifact_of_task("model", named, source).name
        except MissingInputError:
            if named is not None:
                raise
        return self._learn("train-model", memory=memory)["name"]

    @property
    def _root(self) -> Path:
        return self.pipeline.project.root

    def _memories(self, role: str) -> Iterator[Artifact]:
        """The memories of a task, newest first."""
        task = self.pipeline.project.task(role)
        for memory in find_artifacts(self._root, "memory"):
            manifest = memory.manifest
            described = manifest.get("tasks", {}).get(role)
            if manifest.get("role") == role and task.is_compatible_with(
                manifest.get("task_sha256"), described
            ):
                yield memory

    def _learn(
        self, stage: str, given: dict[str, Any] | None = None, **options: Any
    ) -> StageResult:
        """Run a stage that learns, in its share of the budget."""
        given = given or {}
        limit = self._begun(stage, given, **options)
        if limit is None:
            limit = self._limit(stage)
        return self.pipeline.run(stage, given | limit, **options)

    def _limit(self, stage: str) -> dict[str, Any]:
        """The setting that keeps a stage within its share; its own stays where it is less."""
        share = self.budget.share(stage)
        settings = self.pipeline.calls[stage].resolved(self.pipeline.project, _QUIET).to_json()
        own = settings["max_minutes"]
        return {} if share is None or (own or share) < share else {"max_minutes": share}

    def _begun(self, stage: str, given: dict[str, Any], **options: Any) -> dict[str, Any] | None:
        """The limit of an equal run that is finished or was interrupted; None if there is none.

        It keeps the limit that it began with: with another it would be another run.
        """
        for limit in _recorded_limits(self.pipeline.project, stage):
            call = self.pipeline.call(stage, given | limit, **options)
            plan = _plan(call, self.pipeline.project)
            if plan is not None and (plan["done"] or plan["begun"]):
                return limit
        return None


_QUIET = Console(quiet=True)


def _recorded_limits(project: Project, stage: str) -> list[dict[str, Any]]:
    """The limits that runs of a stage had, as settings; first that which the call has by itself."""
    found = set[float]()
    for directory in run_directories(project.root, stage):
        with contextlib.suppress(ArtifactError):  # a damaged one is no equal one
            limit = read_record(directory)["settings"].get("max_minutes")
            found |= {limit} if isinstance(limit, float) else set()
    return [{}, *({"max_minutes": limit} for limit in sorted(found))]


def _plan(call: StageCall, project: Project) -> Plan | None:
    """The plan of a call; None where another run has the name that it would get."""
    planned = replace(call, common=replace(call.common, dry_run=True))
    try:
        return cast(Plan, planned.execute(project, _QUIET))
    except UsageError:
        return None


def _play(
    pipeline: Pipeline, q: str, corr: str, games: int | None, *, with_reuse: bool
) -> dict[str, EvaluateResult]:
    """Fresh games of each player, by policy."""
    more = {} if games is None else {"games": games}
    on_target = {"task": "target", "policy": "q", **more}
    played = {
        "source": pipeline.run("evaluate", on_target | {"task": "source"}, q=q),
        "random": pipeline.run("evaluate", on_target | {"policy": "random"}),
    }
    if with_reuse:
        played["reuse"] = pipeline.run("evaluate", on_target, q=q, no_corr=True)
    played["transfer"] = pipeline.run("evaluate", on_target, q=q, corr=corr)
    return cast(dict[str, EvaluateResult], played)


def _why_no_reuse(project: Project) -> str | None:
    """Why the source's Q-function cannot play the target by itself; None where it can."""
    (source, actions), (target, target_actions) = (
        probe(project.task(role)) for role in ("source", "target")
    )
    if actions != target_actions:
        return f"the source has {actions} actions and the target {target_actions}"
    if source.state_shape != target.state_shape:
        return "the source's Q-function cannot take the target's states"
    return None


def _check_actions(pipeline: Pipeline) -> None:
    """Refuse now what ``learn-corr`` would refuse after hours. Raises :class:`UsageError`."""
    settings = cast(
        LearnCorrSettings, pipeline.calls["learn-corr"].resolved(pipeline.project, _QUIET)
    )
    source, target = (probe(pipeline.project.task(role))[1] for role in ("source", "target"))
    if source != target and settings.action_map == IDENTITY:
        raise UsageError(
            f"the source has {source} actions and the target {target}, and action-map is identity",
            'write action-map = "learned" or a list of source actions under [learn-corr] in '
            "corrtool.toml, or use --preset default, which finds it",
        )
