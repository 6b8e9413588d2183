"""The subcommand of a stage, made from its record.

From the command line to a call, and from its result to lines.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
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
from corrtool.errors import UsageError
from corrtool.settings.base import former_names
from corrtool.settings.common import CommonOptions
from corrtool.stages.registry import Stage

if TYPE_CHECKING:
    from corrtool.project.directory import Project
    from corrtool.runs.results import Plan


def add_stage(app: typer.Typer, stage: Stage) -> None:
    """Add a stage's subcommand to ``app``."""
    parameters = [
        *setting_parameters(stage.settings),
        *input_parameters(stage),
        *option_parameters(stage),
        *common_parameters(stage),
    ]
    body = functools.partial(_run, stage)
    app.command(stage.name, help=stage.summary)(
        with_parameters(parameters, body, stage.name, stage.summary)
    )


def _run(stage: Stage, values: dict[str, Any], from_environment: set[str]) -> None:
    """Carry out a subcommand with the ``values`` of its parameters, some ``from_environment``."""
    from corrtool.project.directory import find_project
    from corrtool.runtime.console import Console
    from corrtool.workflows.call import StageCall

    project: Path | None = values.pop("project")
    json, quiet = values.pop("json"), values.pop("quiet")
    names = [field.name for field in dataclasses.fields(stage.settings)]
    settings = _pop_all(values, [*names, *former_names(stage.settings)])
    options = _pop_all(values, [*stage.inputs, *(option.name for option in stage.options)])
    common = CommonOptions(**values)
    call = StageCall(
        stage,
        common,
        settings={name: value for name, value in settings.items() if name not in from_environment},
        options=options,
        environment={name: value for name, value in settings.items() if name in from_environment},
        from_environment=frozenset(options.keys() & from_environment),
    )
    check_variables()
    opened, console = find_project(project), Console(quiet=quiet, json=json)
    result = call.execute(opened, console)
    if not result:  # the first of several processes has it
        return
    lines = _plan_lines(cast("Plan", result)) if common.dry_run else stage.result_lines(result)
    console.result(result, lines)
    if not common.dry_run and _is_tiny(opened, common.preset):
        console.say("the preset tiny is for trying things out: nothing learns at this size")


@contextmanager
def suggesting(flag: str) -> Iterator[None]:
    """Around several stages in a row.

    Name ``flag`` where one of them names ``--name`` or ``--overwrite``.

    The commands that run several have neither.
    """
    try:
        yield
    except UsageError as error:
        if "--overwrite" not in error.hint:
            raise
        raise UsageError(
            error.message, f"give another {flag}, or settle it with the stage's own command"
        ) from None


def _pop_all(values: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Those of ``values``, which go out of it."""
    return {name: values.pop(name) for name in names}


def _is_tiny(project: Project, preset: str | None) -> bool:
    from corrtool.project.defaults import project_preset

    return project_preset(project, preset) == "tiny"


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
