"""The subcommand of a stage, made from its record.

From the command line to a call, and from its result to lines.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from corrtool.cli.options import (
    check_variables,
    common_parameters,
    input_parameters,
    option_parameters,
    setting_parameters,
    with_parameters,
)
from corrtool.errors import (
    ArtifactError,
    DamagedError,
    LockedError,
    NameTakenError,
    UsageError,
)
from corrtool.settings.base import former_names
from corrtool.settings.common import CommonOptions
from corrtool.stages.registry import STAGES, Stage

if TYPE_CHECKING:
    from corrtool.project.directory import Project
    from corrtool.runs.results import Plan
    from corrtool.runtime.console import Console
    from corrtool.workflows.call import StageCall
    from corrtool.workflows.pipeline import OnResult, Pipeline


def add_stage(app: typer.Typer, stage: Stage) -> None:
    """Add a stage's subcommand to ``app``."""
    app.command(stage.name, help=stage.summary)(_command(stage, _run))


def calls_from_environment(
    common: CommonOptions, names: Iterable[str] = STAGES
) -> dict[str, StageCall]:
    """A call of each of these stages, by name, with what the environment variables say of it.

    As its own subcommand would read them.
    """
    calls = {}
    for name in names:
        stage = STAGES[name]
        app = typer.Typer(add_completion=False)
        app.command()(_command(stage, _call))
        call: StageCall = typer.main.get_command(app)(args=[], standalone_mode=False)
        calls[name] = dataclasses.replace(call, common=common)
    return calls


def _command(
    stage: Stage, body: Callable[[Stage, dict[str, Any], set[str]], Any]
) -> Callable[..., Any]:
    """``body`` as the function of a stage's subcommand, with all its parameters."""
    parameters = [
        *setting_parameters(stage.settings),
        *input_parameters(stage),
        *option_parameters(stage),
        *common_parameters(stage),
    ]
    return with_parameters(parameters, functools.partial(body, stage), stage.name, stage.summary)


def _run(stage: Stage, values: dict[str, Any], from_environment: set[str]) -> None:
    """Carry out a subcommand with the ``values`` of its parameters, some ``from_environment``."""
    from corrtool.project.directory import find_project
    from corrtool.runtime.console import Console

    project: Path | None = values["project"]
    console = Console(quiet=values["quiet"], json=values["json"])
    call = _call(stage, values, from_environment)
    check_variables()
    opened = find_project(project)
    result = call.execute(opened, console)
    if not result:  # the first of several processes has it
        return
    dry_run = call.common.dry_run
    console.result(
        result, _plan_lines(cast("Plan", result)) if dry_run else stage.result_lines(result)
    )
    if not dry_run:
        warn_of_tiny(console, opened, call.common.preset)


def _call(stage: Stage, values: dict[str, Any], from_environment: set[str]) -> StageCall:
    """The call that the ``values`` of a subcommand's parameters ask for."""
    from corrtool.workflows.call import StageCall

    values = {name: value for name, value in values.items() if name not in _NOT_OF_THE_CALL}
    names = [field.name for field in dataclasses.fields(stage.settings)]
    settings = _pop_all(values, [*names, *former_names(stage.settings)])
    options = _pop_all(values, [*stage.inputs, *(option.name for option in stage.options)])
    return StageCall(
        stage,
        CommonOptions(**values),
        settings={name: value for name, value in settings.items() if name not in from_environment},
        options=options,
        environment={name: value for name, value in settings.items() if name in from_environment},
        from_environment=frozenset(options.keys() & from_environment),
    )


_NOT_OF_THE_CALL = ("project", "json", "quiet")


def warn_of_tiny(console: Console, project: Project, preset: str | None) -> None:
    """Say that nothing was learnt where the preset is ``tiny``."""
    from corrtool.project.defaults import project_preset

    if project_preset(project, preset) == "tiny":
        console.say("the preset tiny is for trying things out: nothing learns at this size")


def saying_results(console: Console) -> OnResult:
    """What tells the result of each stage that ends, of several in a row."""
    return lambda stage, result: console.say_all(STAGES[stage].result_lines(result))


@contextmanager
def suggesting(flag: str, pipeline: Pipeline) -> Iterator[None]:
    """Around several stages in a row: say ``flag`` where one of them says ``--name``.

    The commands that run several have neither that nor ``--overwrite``: the stage's own has.
    """
    try:
        yield
    except NameTakenError as error:
        raise UsageError(
            error.message, f"give another {flag}, or replace it and come back: {error.anew}"
        ) from None
    except LockedError as error:
        raise LockedError(error.message, "wait for it") from None
    except DamagedError as error:
        anew = error.anew or pipeline.command_anew(error.path)
        if anew is None:
            raise
        raise ArtifactError(
            error.message, f"restore it from a copy, or make it again and come back: {anew}"
        ) from None


def _pop_all(values: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Those of ``values``, which go out of it."""
    return {name: values.pop(name) for name in names}


def _plan_lines(plan: Plan) -> list[str]:
    if plan["done"]:
        return [
            f"{plan['stage']} {plan['name']} is done already; with --overwrite it would run again"
        ]
    does = (
        "would resume" if plan["begun"] else "cannot run yet:" if plan["missing"] else "would run"
    )
    name = "" if plan["name"] is None else f" {plan['name']}"
    lines = [
        f"{does} {plan['stage']}{name} on {plan['device']} with seed {plan['seed']}",
        *plan["missing"],
    ]
    lines += [f"reads {use.replace('_', ' ')}: {name}" for use, name in plan["inputs"].items()]
    lines += [f"writes {name}" for name in plan["produces"]]
    for name, value in plan["settings"].items():
        lines.append(f"  {name.replace('_', '-')} = {'not given' if value is None else value}")
    return lines
