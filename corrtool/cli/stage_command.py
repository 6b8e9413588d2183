"""What the six stage commands share: from the command line to a context and settings, and back to a result."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from corrtool.cli.options import Common, check_variables, common_parameters, setting_parameters, with_parameters
from corrtool.cli.summaries import SUMMARIES
from corrtool.errors import UsageError
from corrtool.settings import Settings

if TYPE_CHECKING:
    from corrtool.project.directory import Project
    from corrtool.stages.context import StageContext

S = TypeVar("S", bound=Settings)

Work = Callable[["StageContext", Any, dict[str, Any]], dict[str, Any]]
Lines = Callable[[dict[str, Any]], list[str]]


def add_stage(
    app: typer.Typer,
    settings_class: type[Settings],
    work: Work,
    lines: Lines,
    extras: list[inspect.Parameter],
) -> None:
    """Adds a stage's subcommand to ``app``.

    Args:
        work: does the stage: context, settings and the values of ``extras`` → result. Imports torch only when called.
        lines: the result for people.
        extras: options that are no settings.
    """
    stage = settings_class.stage
    extra_names = [parameter.name for parameter in extras]

    def body(values: dict[str, Any], from_environment: set[str]) -> None:
        chosen = {name: values.pop(name) for name in extra_names}
        given: dict[str, Any] = {}
        environment: dict[str, Any] = {}
        for field in dataclasses.fields(settings_class):
            layer = environment if field.name in from_environment else given
            layer[field.name] = values.pop(field.name)
        common = Common(**({"tensorboard": False, "keep_checkpoints": 1} | values))
        context, settings = prepare(common, settings_class, given, environment, chosen)
        result = work(context, settings, chosen)
        if not context.ranks.first:
            return
        context.console.result(result, _plan_lines(result) if result.get("dry_run") else lines(result))
        if not common.dry_run and _is_tiny(context.project, common.preset):
            context.console.say("the preset tiny is for trying things out: nothing learns at this size")

    parameters = [*setting_parameters(settings_class), *extras, *common_parameters(stage)]
    summary = SUMMARIES[stage]
    app.command(stage, help=summary)(with_parameters(parameters, body, stage, summary))


def prepare(
    common: Common,
    settings_class: type[S],
    given: dict[str, Any],
    environment: dict[str, Any],
    options: dict[str, Any],
) -> tuple[StageContext, S]:
    """Opens the project, resolves settings and device. Usage errors come first, then the device, then inputs."""
    from corrtool.project.defaults import project_device, project_seed, resolve_settings
    from corrtool.project.directory import find_project
    from corrtool.ranks import Ranks
    from corrtool.reporting.console import Console
    from corrtool.stages.context import StageContext

    check_variables()
    project = find_project(common.project)
    settings = resolve_settings(project, settings_class, common.preset, given, environment, options)
    ranks = Ranks.of_torchrun()
    if ranks.count > 1:
        _check_torchrun(settings_class.stage, common.device)
    device = project_device(project, common.device)
    seed = project_seed(project, common.seed)
    if common.name is not None:
        from corrtool.project.artifacts import check_name

        check_name(common.name)
    context = StageContext(
        project=project,
        console=Console(quiet=common.quiet or not ranks.first, json=common.json),
        device=device,
        seed=seed,
        name=common.name,
        overwrite=common.overwrite,
        dry_run=common.dry_run,
        tensorboard=common.tensorboard,
        keep_checkpoints=common.keep_checkpoints,
        ranks=ranks,
    )
    return context, settings


def _check_torchrun(stage: str, device: str | None) -> None:
    """Raises :class:`UsageError` where several processes have nothing to share."""
    if stage not in ("train-model", "learn-corr"):
        raise UsageError(f"{stage} is for one process", "use torchrun with train-model and learn-corr only")
    if device is not None and ":" in device:
        raise UsageError(f"--device {device} is one device for all processes", "use --device cuda: each takes its own")


def _is_tiny(project: Project, preset: str | None) -> bool:
    from corrtool.project.defaults import project_preset

    return project_preset(project, preset) == "tiny"


def _plan_lines(plan: dict[str, Any]) -> list[str]:
    if plan["done"]:
        return [f"{plan['stage']} {plan['name']} is done already; with --overwrite it would run again"]
    does = "would go on with" if plan["begun"] else "would run"
    lines = [f"{does} {plan['stage']} {plan['name']} on {plan['device']} with seed {plan['seed']}"]
    lines += [f"reads {use.replace('_', ' ')}: {name}" for use, name in plan["inputs"].items()]
    lines += [f"writes {name}" for name in plan["produces"]]
    for name, value in plan["settings"].items():
        lines.append(f"  {name.replace('_', '-')} = {'not given' if value is None else value}")
    return lines
