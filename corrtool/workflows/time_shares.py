"""How long each stage of ``corrtool transfer`` may learn: its share of the budget.

A share is time of this call. A run that an earlier call cut short has had its limit, and goes on
with its share on top of that: ``--max-minutes`` counts what all of them took.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Any, cast

from corrtool.errors import ArtifactError, UsageError
from corrtool.project.directory import Project
from corrtool.project.manifests import Origin
from corrtool.runs.records import read_record, run_directories, standing_place
from corrtool.runs.results import Plan
from corrtool.runtime.console import Console
from corrtool.settings.budget import SEARCH_SHARE, Budget
from corrtool.workflows.call import StageCall
from corrtool.workflows.pipeline import Pipeline

QUIET = Console(quiet=True)
MUCH_MORE = 1.1  # times the limit that a run had: for less it does not go on


@dataclass(frozen=True)
class TimeShares:
    """What the stages of a pipeline get of a budget."""

    pipeline: Pipeline
    budget: Budget

    def limit(self, stage: str, before: float = 0.0, later: tuple[str, ...] = ()) -> dict[str, Any]:
        """The setting that keeps a stage within its share; its own stays where it is less.

        Args:
            before: the limit of the run that goes on: its share comes on top of that.
            later: the stages that are made anew then, and are left what they need.
        """
        reserved = sum(_minutes_needed(self.pipeline.project, name) for name in later)
        share = self.budget.share(stage, reserved)
        settings = self.pipeline.calls[stage].resolved(self.pipeline.project, QUIET).to_json()
        own, more = settings["max_minutes"], None if share is None else round(before + share, 2)
        return {"max_minutes": own if more is None or (own or more) < more else more}

    def begun(self, stage: str, given: dict[str, Any], **options: Any) -> Plan | None:
        """The plan of an equal run that is finished or was interrupted; None if there is none.

        It keeps the limit that it began with: with another it would be another run.
        """
        for limit in _recorded_limits(self.pipeline.project, stage):
            call = self.pipeline.call(stage, given | limit, **options)
            plan = plan_of(call, self.pipeline.project)
            if plan is not None and (plan["done"] or (plan["begun"] and "cut" not in plan)):
                return plan
        return None

    def more(
        self,
        stage: str,
        given: dict[str, Any],
        begun: Plan,
        options: dict[str, Any],
        later: tuple[str, ...] = (),
    ) -> dict[str, Any] | None:
        """The limit with which a run goes on that was interrupted, or cut short and has more time.

        None for one that is done.

        Args:
            later: the stages that are made anew then, and are left what they need.
        """
        if not begun["done"]:
            return limit_of(begun)
        if "cut" not in begun:
            return None
        project, before = self.pipeline.project, begun["settings"]["max_minutes"]
        limit = self.limit(stage, before, later)
        minutes = limit["max_minutes"]
        if minutes is not None and minutes < MUCH_MORE * before:
            return None
        plan = plan_of(self.pipeline.call(stage, given | limit, **options), project)
        return limit if plan is not None and plan["begun"] else None

    def count(self, plan: Plan, begun: Plan | None) -> None:
        """Count in a dry run what a stage would take of the budget, and note it in its plan.

        Args:
            begun: the plan of the run that it goes on from, which has had its limit if it is done.
        """
        minutes = plan["settings"]["max_minutes"]
        if plan["done"] or minutes is None:
            return
        if begun is not None and begun["done"]:
            minutes -= begun["settings"]["max_minutes"] or 0.0
        plan["minutes"] = round(minutes, 2)
        self.budget.plan(minutes)


def limit_of(plan: Plan) -> dict[str, Any]:
    """The limit in a plan, as a setting."""
    return {"max_minutes": plan["settings"]["max_minutes"]}


def was_cut(made: Origin) -> bool:
    """True if its time limit ended early what made an artifact."""
    summary: Any = cast(dict[str, Any], made).get("summary")
    return isinstance(summary, dict) and summary.get("cut") is True


def search_was_cut(made: Origin) -> bool:
    """True if its time limit ended early the search for a start of a correspondence."""
    summary: Any = cast(dict[str, Any], made).get("summary")
    return isinstance(summary, dict) and summary.get("search_cut") is True


def plan_of(call: StageCall, project: Project) -> Plan | None:
    """The plan of a call; None where another run has the name that it would get."""
    planned = replace(call, common=replace(call.common, dry_run=True))
    try:
        return cast(Plan, planned.execute(project, QUIET))
    except UsageError:
        return None


def _recorded_limits(project: Project, stage: str) -> list[dict[str, Any]]:
    """The limits that runs of a stage had, as settings; first that which the call has by itself."""
    found = set[float]()
    for directory in run_directories(project.root, stage):
        with contextlib.suppress(ArtifactError):  # a damaged one is no equal one
            limit = read_record(standing_place(directory))["settings"].get("max_minutes")
            found |= {limit} if isinstance(limit, float) else set()
    return [{}, *({"max_minutes": limit} for limit in sorted(found))]


def _minutes_needed(project: Project, stage: str) -> float:
    """What the newest finished run of a stage took, as a guess at the next; 0 without one.

    Twice as much for learn-corr, whose search for a start ends after half of its limit.
    """
    taken = {"": 0.0}
    for directory in run_directories(project.root, stage):
        with contextlib.suppress(ArtifactError):
            record = read_record(standing_place(directory))
            if record["state"] == "finished":
                taken[record["created"]] = record["seconds"] / 60
    return taken[max(taken)] / (SEARCH_SHARE if stage == "learn-corr" else 1.0)
