"""The runs of a cell: what each would be asked for, what it is called, and its command."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from corrtool.errors import UsageError
from corrtool.project.artifacts import is_name
from corrtool.project.directory import Project
from corrtool.runs.records import RunRecord
from corrtool.runs.requests import RunRequest, difference, identity_of
from corrtool.runs.standing import Standing, standing_of
from corrtool.runs.sweeps import SweepStep
from corrtool.runtime.console import Console
from corrtool.settings.grid import Point, shown
from corrtool.workflows.call import StageCall, command_of
from corrtool.workflows.sweeps.cells import Then

QUIET = Console(quiet=True)
_LONGEST_NAME = 90  # learn-corr appends "-last", train-dqn "-random", and no name has more than 100


@dataclass(frozen=True)
class Step:
    """A run that a cell asks for, its inputs chosen and spelt out in its ``call``.

    Attributes:
        inputs: names of the artifacts that it reads, by use.
        produces: kind and name of each artifact that it makes.
        settings: all of them, resolved.
    """

    call: StageCall
    name: str
    fingerprint: str
    inputs: dict[str, str]
    produces: tuple[tuple[str, str], ...]
    settings: dict[str, Any]

    @property
    def stage(self) -> str:
        """The name of its stage."""
        return self.call.stage.name

    def to_json(self) -> SweepStep:
        """As the manifest has it."""
        made = [list(pair) for pair in self.produces]
        return {
            "stage": self.stage,
            "name": self.name,
            "fingerprint": self.fingerprint,
            "produces": made,
        }

    def words(self, project: Project) -> list[str]:
        """The words of its command, after ``corrtool``."""
        return [*command_of(self.call, project)[1:], "--project", str(project.root)]

    def standing(self, project: Project) -> Standing:
        """Where its run stands. Raises :class:`ArtifactError` where its record is damaged."""
        return standing_of(project.root, self.stage, self.name, self.fingerprint, self.produces)


def plan_step(project: Project, call: StageCall, pinned: Mapping[str, str] | None = None) -> Step:
    """The run that a call asks for.

    Args:
        pinned: names of inputs that an earlier attempt at the same chose, for those that nobody
            names: newer ones may have been made since.

    Raises:
        CorrtoolError: what the stage itself would refuse.
    """
    request = call.request(project, QUIET)
    free = {
        option: pinned[use]
        for use, artifact in request.inputs.items()
        if (option := _option(call, use)) is not None
        and call.named_input(project, option) is None
        and use in (pinned or {})
        and pinned is not None
        and pinned[use] != artifact.name
    }
    if free:
        request = replace(call, options=call.options | free).request(project, QUIET)
    return _step(call, request)


def _step(call: StageCall, request: RunRequest) -> Step:
    """The step of a request, whose call names all that the stage has chosen."""
    inputs = {use: artifact.name for use, artifact in request.inputs.items()}
    named = {option: name for use, name in inputs.items() if (option := _option(call, use))}
    spelt_out = replace(
        call,
        common=replace(call.common, name=request.name),
        options=call.options | named,
        from_environment=call.from_environment - named.keys(),
    )
    return Step(
        spelt_out,
        request.name,
        request.fingerprint,
        inputs,
        tuple(request.produces),
        request.settings.to_json(),
    )


def _option(call: StageCall, use: str) -> str | None:
    """The option by which an input is named; what ``train-model`` calls its memory is a source's.

    None where there is none.
    """
    if use == "source_memory" and use not in call.stage.inputs:
        use = "memory"
    return use if use in call.stage.inputs else None


def following(then: Then, calls: Mapping[str, StageCall], made: Step) -> StageCall:
    """The call of a stage that comes after ``made``: who plays is what that one made."""
    inputs, task = made.inputs, made.settings.get("task", "target")
    options: dict[str, Any]
    if made.stage == "learn-corr":
        options = {"q": inputs.get("q") or made.call.options.get("q"), "corr": made.name}
    elif "corr" in inputs:
        options = {"q": made.name, "corr": inputs["corr"]}
    else:
        options = {"q": made.name, "no_corr": True}
    call = calls[then.stage]
    elsewhere = {} if task == "target" else {"task": task}
    return replace(
        call,
        common=replace(call.common, name=None, seed=made.call.common.seed),
        settings=call.settings | elsewhere | dict(then.settings),
        options=call.options | options,
        from_environment=call.from_environment - options.keys(),
    )


def with_name(project: Project, step: Step, name: str) -> Step:
    """The same run under another name."""
    call = replace(step.call, common=replace(step.call.common, name=name))
    return _step(call, call.request(project, QUIET))


def name_with_values(name: str, seed: int | None, point: Point, varying: Sequence[str]) -> str:
    """A name that tells, before its seed, the values in which the cells of a sweep differ."""
    ending = f"-seed{seed}" if seed and name.endswith(f"-seed{seed}") else ""
    values = [f"{key.replace('_', '-')}{shown(point[key])}" for key in varying if key in point]
    told = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join([name.removesuffix(ending), *values]))
    return told + ending


def name_with_digits(step: Step, name: str) -> str:
    """A name that nothing else has: with the first digits of the fingerprint."""
    return f"{name[: _LONGEST_NAME - 9]}-{step.fingerprint[:8]}"


def fits_as_name(text: str) -> bool:
    """True if a run and all that it makes can be called so."""
    return is_name(text) and len(text) <= _LONGEST_NAME


def check_free(project: Project, step: Step, record: RunRecord) -> bool:
    """True if the run that has the name of ``step`` differs in its settings, so that both can stay.

    Raises:
        UsageError: it differs in what it read, which may only be newer by now.
    """
    old, new = identity_of(record), step.call.request(project, QUIET).identity()
    if any(old[part] != new[part] for part in ("settings", "options", "seed")):
        return True
    raise UsageError(
        f"{step.stage} {step.name!r} was made from something else ({difference(old, new)})",
        "name what it was made from, such as --grid q=NAME, or give these runs a project of their "
        "own",
    )
