"""The stages of ``corrtool transfer`` that learn and collect, each only where something is missing.

What is missing is seen from the artifacts, and from the plans that the stages make for a dry run.
What a time limit cut short goes on, where there is more time now, and what was made from it is made
anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from corrtool.errors import ArtifactError, MissingInputError, UsageError
from corrtool.project.artifacts import Artifact, find_artifacts, read_artifact
from corrtool.project.defaults import project_device
from corrtool.project.directory import Project
from corrtool.project.manifests import Origin
from corrtool.runs.context import StageContext
from corrtool.runs.records import (
    read_record,
    run_directories,
    run_directory,
    standing_place,
)
from corrtool.runs.results import Plan, StageResult
from corrtool.runtime.console import Console
from corrtool.settings.budget import Budget
from corrtool.settings.stages import LearnCorrSettings, TrainDqnSettings
from corrtool.stages.source_agents import agent_of_memory, agent_of_q
from corrtool.workflows.call import StageCall
from corrtool.workflows.pipeline import Pipeline

QUIET = Console(quiet=True)
MUCH_MORE = 1.1  # times the limit that a run had: for less it does not go on
_SOURCE = {"task": "source"}


@dataclass(frozen=True)
class Learner:
    """The stages that learn and collect.

    Attributes:
        changing: in a dry run, the artifacts that would change, since their stages would go on.
    """

    pipeline: Pipeline
    budget: Budget
    changing: set[str] = field(default_factory=set)

    @cached_property
    def _context(self) -> StageContext:
        """Where artifacts are looked for."""
        project, common = self.pipeline.project, self.pipeline.calls["learn-corr"].common
        return StageContext(project, self.pipeline.console, project_device(project, common.device))

    def source_agent(self, from_q: str | None) -> str:
        """The name of Q_S: as it is given, or the newest; if there is none it is learnt."""
        named = from_q or self._named("q")
        try:
            q = self._context.source_q(named)
        except MissingInputError:
            if named is not None:
                raise
            return self._learn("train-dqn", _SOURCE)["name"]
        if q.manifest.get("stage") == "train-dqn":
            self._go_on(q, _SOURCE)
        return q.name

    def correspondence(self, q: str) -> StageResult:
        """The result of ``learn-corr``, after what it needs.

        One that is finished, or was interrupted, needs nothing that is not there already.
        """
        settings = self.pipeline.calls["learn-corr"].resolved(self.pipeline.project, QUIET)
        needs_model = "model" in cast(LearnCorrSettings, settings).loss_weights
        is_outdated = needs_model and self._model_has_changed()
        begun = None if is_outdated else self._begun("learn-corr", {}, q=q)
        if begun is not None and not self.changing & set(begun["inputs"].values()):
            return self._learn("learn-corr", q=q)
        memory = self._memory_of(q)
        inputs: dict[str, Any] = {"q": q, "target_memory": self._named("target_memory")}
        if self._named("source_memory") is None and not self._will_leave_random_play(q):
            self._random_memory("source")  # of the kind that the target's is
        if inputs["target_memory"] is None:
            inputs["target_memory"] = self._random_memory("target")
        if needs_model:
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
        return [made["stage"] for made in manifests if _was_cut(made)]

    def run(self, stage: str, given: dict[str, Any] | None = None, **options: Any) -> StageResult:
        """Run a stage; what was made from inputs that have gone on since is made anew."""
        try:
            return self.pipeline.run(stage, given, **options)
        except UsageError:
            if not self._is_outdated(self.pipeline.call(stage, given, **options)):
                raise
        return self.pipeline.run(stage, given, overwrite=True, **options)

    def _is_outdated(self, call: StageCall) -> bool:
        """True if the run of this name is equal but for inputs that have gone on, and for time."""
        overwriting = replace(call, common=replace(call.common, overwrite=True))
        plan = _plan(overwriting, self.pipeline.project)
        if plan is None or plan["name"] is None:
            return False
        with contextlib.suppress(ArtifactError):
            directory = run_directory(self._root, plan["stage"], plan["name"])
            record = read_record(standing_place(directory))
            no_limit = {"max_minutes": None}
            if record["settings"] | no_limit == plan["settings"] | no_limit:
                return self._has_changed(record)
        return False

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
        settings = self.pipeline.calls["train-dqn"].resolved(self.pipeline.project, QUIET)
        learnt = any(artifact.name == q for artifact in find_artifacts(self._root, "q"))
        return not learnt and cast(TrainDqnSettings, settings).random_records > 0

    def _random_memory(self, role: str) -> str:
        """The newest memory of random play of a task; if there is none it is collected."""
        for memory in self._memories(role):
            if agent_of_memory(memory) is None:
                return memory.name
        return self.pipeline.run("collect", {"task": role, "policy": "random"})["name"]

    def _known_model(self) -> Artifact | None:
        """F: as it is named, or the newest; None if there is none."""
        named, source = self._named("model"), self.pipeline.project.task("source")
        try:
            return self._context.artifact_of_task("model", named, source)
        except MissingInputError:
            if named is not None:
                raise
            return None

    def _model_has_changed(self) -> bool:
        """True if F is to be learnt anew, since its memory has gone on; else let it go on itself.

        Where it was cut short, and there is more time.
        """
        model = None
        with contextlib.suppress(ArtifactError):  # whoever needs it says so
            model = self._known_model()
        if model is None:
            return False
        if self._has_changed(model.manifest):
            return self._named("model") is None
        if (memory := model.manifest.get("parents", {}).get("source_memory")) is not None:
            self._go_on(model, {}, memory=memory["name"])
        return False

    def _model(self, memory: str) -> str:
        """F, by name; if there is none, or its memory has gone on, it is learnt from ``memory``."""
        known = self._known_model()
        if known is None or (self._named("model") is None and self._has_changed(known.manifest)):
            return self._learn("train-model", memory=memory)["name"]
        return known.name

    def _has_changed(self, made: Origin) -> bool:
        """True if something that it was made from was cut short then, and has gone on since."""
        for parent in made.get("parents", {}).values():
            kind, name = parent["kind"], parent["name"]
            if f"{kind} {name}" in self.changing:
                return True
            with contextlib.suppress(ArtifactError):
                if read_artifact(self._root, kind, name).succeeds(parent["sha256"]):
                    return True
        return False

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

    def _go_on(self, made: Artifact, given: dict[str, Any], **options: Any) -> None:
        """Let a stage go on that was cut short, if its call is the same and leaves it more time."""
        if not _was_cut(made.manifest):
            return
        options["name"], stage = made.name, made.manifest["stage"]
        begun = self._begun(stage, given, **options)
        if begun is not None and (limit := self._more(stage, given, begun, options)) is not None:
            result = self.run(stage, given | limit, **options)
            if self.pipeline.calls[stage].common.dry_run:
                self.changing.update(cast(Plan, result)["produces"])

    def _learn(
        self, stage: str, given: dict[str, Any] | None = None, **options: Any
    ) -> StageResult:
        """Run a stage that learns, in its share of the budget."""
        given = given or {}
        begun = self._begun(stage, given, **options)
        if begun is None:
            limit = self._limit(stage)
        else:
            limit = self._more(stage, given, begun, options) or _limit_of(begun)
        return self.run(stage, given | limit, **options)

    def _limit(self, stage: str) -> dict[str, Any]:
        """The setting that keeps a stage within its share; its own stays where it is less."""
        share = self.budget.share(stage)
        settings = self.pipeline.calls[stage].resolved(self.pipeline.project, QUIET).to_json()
        own = settings["max_minutes"]
        return {"max_minutes": own if share is None or (own or share) < share else share}

    def _begun(self, stage: str, given: dict[str, Any], **options: Any) -> Plan | None:
        """The plan of an equal run that is finished or was interrupted; None if there is none.

        It keeps the limit that it began with: with another it would be another run.
        """
        for limit in _recorded_limits(self.pipeline.project, stage):
            call = self.pipeline.call(stage, given | limit, **options)
            plan = _plan(call, self.pipeline.project)
            if plan is not None and (plan["done"] or (plan["begun"] and "cut" not in plan)):
                return plan
        return None

    def _more(
        self, stage: str, given: dict[str, Any], begun: Plan, options: dict[str, Any]
    ) -> dict[str, Any] | None:
        """The limit with which a run goes on that was interrupted, or cut short and has more time.

        None for one that is done.
        """
        if not begun["done"]:
            return _limit_of(begun)
        if "cut" not in begun:
            return None
        limit, before = self._limit(stage), begun["settings"]["max_minutes"]
        minutes = limit["max_minutes"]
        if minutes is not None and minutes < MUCH_MORE * before:
            return None
        plan = _plan(self.pipeline.call(stage, given | limit, **options), self.pipeline.project)
        return limit if plan is not None and plan["begun"] else None


def _limit_of(plan: Plan) -> dict[str, Any]:
    return {"max_minutes": plan["settings"]["max_minutes"]}


def _was_cut(made: Origin) -> bool:
    """True if its time limit ended early what made an artifact."""
    summary: Any = cast(dict[str, Any], made).get("summary")
    return isinstance(summary, dict) and summary.get("cut") is True


def _recorded_limits(project: Project, stage: str) -> list[dict[str, Any]]:
    """The limits that runs of a stage had, as settings; first that which the call has by itself."""
    found = set[float]()
    for directory in run_directories(project.root, stage):
        with contextlib.suppress(ArtifactError):  # a damaged one is no equal one
            limit = read_record(standing_place(directory))["settings"].get("max_minutes")
            found |= {limit} if isinstance(limit, float) else set()
    return [{}, *({"max_minutes": limit} for limit in sorted(found))]


def _plan(call: StageCall, project: Project) -> Plan | None:
    """The plan of a call; None where another run has the name that it would get."""
    planned = replace(call, common=replace(call.common, dry_run=True))
    try:
        return cast(Plan, planned.execute(project, QUIET))
    except UsageError:
        return None
