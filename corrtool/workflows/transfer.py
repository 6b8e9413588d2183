"""From an agent of the source task to how well it plays the target, in one command.

What the project lacks of that is learnt, collected and played, by the stages that would be called
by hand, with the settings that they would have then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypedDict, cast

from corrtool.correspondence.actions import IDENTITY, ActionMap
from corrtool.errors import UsageError
from corrtool.project.artifacts import check_name
from corrtool.project.directory import Project
from corrtool.runs.results import (
    EvaluateResult,
    LearnCorrResult,
    Plan,
    StageResult,
)
from corrtool.settings.budget import Budget
from corrtool.settings.stages import LearnCorrSettings
from corrtool.stages.inputs import action_map_of
from corrtool.tasks import probe
from corrtool.workflows.pipeline import Pipeline
from corrtool.workflows.time_shares import QUIET
from corrtool.workflows.transfer_learning import Learner
from corrtool.workflows.transfer_rows import (
    TransferRow,
    make_notes,
    make_rows,
    nothing_to_transfer,
)


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
    for line in _not_used(pipeline):
        pipeline.console.say(line)
    steps: list[StageResult] = []
    dry_run = pipeline.calls["evaluate"].common.dry_run
    if dry_run:
        pipeline = replace(pipeline, on_result=lambda _, plan: steps.append(plan))
    learner = Learner(pipeline, budget)
    q = learner.source_agent(from_q)
    play = Players(learner.run, q, games)
    played = {"source": play.source(), "source_random": play.random("source")}
    if not dry_run and (nothing := nothing_to_transfer(*played.values())) is not None:
        pipeline.console.say(f"warning: {nothing}")
    played["random"] = play.random("target")
    learnt = cast(LearnCorrResult, learner.correspondence(q))
    no_reuse = _why_no_reuse(pipeline.project)
    if no_reuse is None:
        played["reuse"] = play.on_target(no_corr=True)
    played["transfer"] = play.on_target(corr=learnt["name"])
    if dry_run:
        return {"dry_run": True, "steps": again_where_inputs_change(cast(list[Plan], steps))}
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


def again_where_inputs_change(steps: list[Plan]) -> list[Plan]:
    """The plans in order, of which none is done, or goes on, whose inputs are others by then."""
    new, plans = set[str](), list[Plan]()
    for step in steps:
        changed = sorted(new & set(step["inputs"].values()))
        if changed and (step["done"] or step["begun"]):
            step = {**step, "done": False, "begun": False, "anew": changed}
            step.pop("steps", None)
            step.pop("cut", None)
        if not step["done"]:
            new |= set(step["produces"])
        plans.append(step)
    return plans


@dataclass(frozen=True)
class Players:
    """Fresh games of each player.

    Of the agent on its task and of random play they come before anything is learnt: an agent that
    has learnt nothing, or was imported with other states, is seen at once.
    """

    run: Callable[..., StageResult]
    q: str
    games: int | None

    def source(self) -> EvaluateResult:
        """Of the agent on its own task."""
        return self._play("source", "q", q=self.q)

    def random(self, task: str) -> EvaluateResult:
        """Of random play on a task."""
        return self._play(task, "random")

    def on_target(self, **options: Any) -> EvaluateResult:
        """Of the agent on the target, with or without a correspondence."""
        return self._play("target", "q", q=self.q, **options)

    def _play(self, task: str, policy: str, **options: Any) -> EvaluateResult:
        more = {} if self.games is None else {"games": self.games}
        given = {"task": task, "policy": policy, **more}
        return cast(EvaluateResult, self.run("evaluate", given, **options))


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


_CHOSEN = (("train-model", "memory"), ("evaluate", "q"), ("evaluate", "corr"))  # by transfer


def _not_used(pipeline: Pipeline) -> list[str]:
    """What a variable or ``corrtool.toml`` names of the inputs that ``transfer`` chooses itself."""
    named = (
        (stage, use, pipeline.calls[stage].named_input(pipeline.project, use))
        for stage, use in _CHOSEN
    )
    return [
        f"{use} {name} of {stage} is not used: transfer chooses it"
        for stage, use, name in named
        if name is not None
    ]


def _check_actions(pipeline: Pipeline) -> None:
    """Refuse now what ``learn-corr`` would refuse after hours. Raises ``UsageError``."""
    settings = cast(
        LearnCorrSettings, pipeline.calls["learn-corr"].resolved(pipeline.project, QUIET)
    )
    source, target = (probe(pipeline.project.task(role))[1] for role in ("source", "target"))
    if source != target and settings.action_map == IDENTITY:
        example = ActionMap.unknown(source, target).to_setting()
        raise UsageError(
            f"the source has {source} actions and the target {target}, and action-map is identity",
            'write action-map = "learned", or the source action of each target action, quoted as '
            f'in "{example}", under [learn-corr] in corrtool.toml, or use --preset default, which '
            "finds it",
        )
    action_map_of(settings.action_map, source, target)
