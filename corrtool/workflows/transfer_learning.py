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
from corrtool.project.manifests import Origin
from corrtool.runs.context import StageContext
from corrtool.runs.records import (
    read_record,
    run_directory,
    standing_place,
)
from corrtool.runs.results import Plan, StageResult
from corrtool.settings.budget import Budget
from corrtool.settings.stages import LearnCorrSettings, TrainDqnSettings
from corrtool.stages.correspondence_checks import with_auto_q_loss
from corrtool.stages.source_agents import agent_of_memory, agent_of_q, check_one_run
from corrtool.workflows.call import StageCall
from corrtool.workflows.pipeline import Pipeline
from corrtool.workflows.time_shares import (
    MUCH_MORE,
    QUIET,
    TimeShares,
    limit_of,
    plan_of,
    search_was_cut,
    was_cut,
)

_SOURCE = {"task": "source"}
_INPUTS = ("q", "source_memory", "target_memory", "model")  # of a correspondence


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
            self._check_q_loss(None)
            return self._learn("train-dqn", _SOURCE)["name"]
        self._check_q_loss(q)
        if q.manifest.get("stage") == "train-dqn":
            check_one_run(self._root, q)
            self._go_on(q, _SOURCE, later=("train-model", "learn-corr"))
        return q.name

    def _check_q_loss(self, q: Artifact | None) -> None:
        """Raise :class:`UsageError` where the agent has not what ``--q-loss`` is to compare."""
        settings = self.pipeline.calls["learn-corr"].resolved(self.pipeline.project, QUIET)
        with_auto_q_loss(cast(LearnCorrSettings, settings), q)

    def correspondence(self, q: str) -> StageResult:
        """The result of ``learn-corr``, after what it needs.

        One that is finished, or was interrupted, needs nothing that is not there already; what has
        been collected since changes nothing.
        """
        settings = self.pipeline.calls["learn-corr"].resolved(self.pipeline.project, QUIET)
        needs_model = "model" in cast(LearnCorrSettings, settings).loss_weights
        is_outdated = needs_model and self._model_has_changed()
        for begun, options in [] if is_outdated else self._begun_correspondences(q):
            if not self._changing_inputs(begun):
                return self._look_further(begun, options) or self._learn("learn-corr", **options)
        memory = self._memory_of(q)
        inputs: dict[str, Any] = {"q": q, "target_memory": self._named("target_memory")}
        if self._named("source_memory") is None and not self._will_leave_random_play(q):
            self._random_memory("source")  # of the kind that the target's is
        if inputs["target_memory"] is None:
            inputs["target_memory"] = self._random_memory("target")
        if needs_model:
            inputs["model"] = self._model(memory)
        return self._learn("learn-corr", **inputs)

    def _begun_correspondences(self, q: str) -> Iterator[tuple[Plan, dict[str, Any]]]:
        """Plans and options of those of Q_S with these settings, the one to take first.

        That is the one that a call without a name makes, if it was interrupted; then the newest.
        """
        unnamed: dict[str, Any] = {"q": q}
        own = self._shares.begun("learn-corr", {}, **unnamed)
        if own is not None and not own["done"]:
            yield own, unnamed
        for options in self._learnt_from(q):
            begun = self._shares.begun("learn-corr", {}, **options)
            if begun is not None:
                yield begun, options
        if own is not None:
            yield own, unnamed

    def _learnt_from(self, q: str) -> Iterator[dict[str, Any]]:
        """Names and inputs of the correspondences of Q_S, newest first.

        Other than those of which an input is named are left out.
        """
        for corr in find_artifacts(self._root, "corr"):
            parents = corr.manifest.get("parents", {})
            made_of = {use: parent["name"] for use, parent in parents.items() if use in _INPUTS}
            named = {use: self._named(use) or name for use, name in made_of.items()}
            if made_of.get("q") == q and named == {**made_of, "q": named["q"]}:
                yield {**made_of, "name": corr.name}

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
        return [made["stage"] for made in manifests if was_cut(made) or search_was_cut(made)]

    def run(self, stage: str, given: dict[str, Any] | None = None, **options: Any) -> StageResult:
        """Run a stage; what was made from inputs that have gone on since is made anew."""
        try:
            return self.pipeline.run(stage, given, **options)
        except UsageError:
            if not self._is_outdated(self.pipeline.call(stage, given, **options)):
                raise
        result = self.pipeline.run(stage, given, overwrite=True, **options)
        if self._is_dry:
            plan = cast(Plan, result)
            plan["anew"] = self._changing_inputs(plan)
        return result

    @property
    def _shares(self) -> TimeShares:
        return TimeShares(self.pipeline, self.budget)

    @property
    def _is_dry(self) -> bool:
        return self.pipeline.calls["learn-corr"].common.dry_run

    def _changing_inputs(self, plan: Plan) -> list[str]:
        """The inputs of a plan that would be others by then, in a dry run."""
        return sorted(self.changing & set(plan["inputs"].values()))

    def _is_outdated(self, call: StageCall) -> bool:
        """True if the run of this name is equal but for inputs that have gone on, and for time."""
        overwriting = replace(call, common=replace(call.common, overwrite=True))
        plan = plan_of(overwriting, self.pipeline.project)
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
            self._go_on(model, {}, later=("learn-corr",), memory=memory["name"])
        return False

    def _model(self, memory: str) -> str:
        """F, by name; if there is none, or its memory has gone on, it is learnt from ``memory``."""
        known = self._known_model()
        if known is None or (self._named("model") is None and self._has_changed(known.manifest)):
            name = self._learn("train-model", memory=memory)["name"]
            if self._is_dry and known is not None:
                self.changing.add(f"model {name}")
            return name
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

    def _go_on(
        self, made: Artifact, given: dict[str, Any], *, later: tuple[str, ...], **options: Any
    ) -> None:
        """Let a stage go on that was cut short, if its call is the same and there is time for it.

        The stages ``later`` are then made anew: what they took is left for them.
        """
        if not was_cut(made.manifest):
            return
        options["name"], stage = made.name, made.manifest["stage"]
        begun = self._shares.begun(stage, given, **options)
        if begun is None:
            return
        limit = self._shares.more(stage, given, begun, options, later)
        if limit is not None:
            result = self._run_within(stage, given, limit, begun, options)
            if self._is_dry:
                self.changing.update(cast(Plan, result)["produces"])

    def _learn(
        self, stage: str, given: dict[str, Any] | None = None, **options: Any
    ) -> StageResult:
        """Run a stage that learns, in its share of the budget."""
        given, shares = given or {}, self._shares
        begun = shares.begun(stage, given, **options)
        if begun is None or self._changing_inputs(begun):
            later = ("learn-corr",) if stage == "train-model" else ()
            return self._run_within(stage, given, shares.limit(stage, later=later), None, options)
        limit = shares.more(stage, given, begun, options) or limit_of(begun)
        return self._run_within(stage, given, limit, begun, options)

    def _run_within(
        self,
        stage: str,
        given: dict[str, Any],
        limit: dict[str, Any],
        begun: Plan | None,
        options: dict[str, Any],
    ) -> StageResult:
        """Run a stage within a limit, of which the run that it goes on from has had its own."""
        result = self.run(stage, given | limit, **options)
        if self._is_dry:
            self._shares.count(cast(Plan, result), begun)
        return result

    def _look_further(self, begun: Plan, options: dict[str, Any]) -> StageResult | None:
        """Learn a correspondence anew that had no time for all recipes or starts, with more time.

        None where all were looked at, or there is no more time.
        """
        limit = self._shares.limit("learn-corr")
        minutes, before = limit["max_minutes"], begun["settings"]["max_minutes"]
        if not begun["done"] or (minutes is not None and minutes < MUCH_MORE * (before or 0.0)):
            return None
        directory = run_directory(self._root, begun["stage"], str(begun["name"]))
        result: Any = read_record(standing_place(directory)).get("result", {})
        if not result.get("recipe_untried") and not result.get("search_cut"):
            return None
        learnt = self.pipeline.run("learn-corr", limit, overwrite=True, **options)
        if self._is_dry:
            plan = cast(Plan, learnt)
            plan["anew"] = []
            self._shares.count(plan, None)
        return learnt
