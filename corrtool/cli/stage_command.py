"""What the six stage commands share: from the command line to a context and settings, and back to a result."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from corrtool.cli.options import Common, check_variables, common_parameters, setting_parameters, with_parameters
from corrtool.cli.summaries import SUMMARIES
from corrtool.errors import MissingInputError, UsageError
from corrtool.settings.base import Settings
from corrtool.settings.stages import STAGE_INPUTS

if TYPE_CHECKING:
    from corrtool.project.directory import Project
    from corrtool.runs.context import StageContext

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
        chosen = _with_named_inputs(context.project, settings, chosen, from_environment)
        try:
            result = work(context, settings, chosen)
        except MissingInputError as error:
            if not common.dry_run:
                raise
            result = _plan_without_inputs(context, settings, error)
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
    from corrtool.runs.context import StageContext
    from corrtool.runtime.console import Console
    from corrtool.runtime.ranks import Ranks

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


def _with_named_inputs(
    project: Project, settings: Settings, chosen: dict[str, Any], from_environment: set[str]
) -> dict[str, Any]:
    """``chosen``, where ``corrtool.toml`` names the inputs that neither a flag nor the environment does.

    What a flag excludes, such as ``--no-corr`` a correspondence, is not taken from either.
    """
    excluded: set[str] = set()
    if chosen.get("no_corr") or getattr(settings, "task", None) == "source":
        excluded = {"corr"}
    if chosen.get("from_scratch") or getattr(settings, "policy", None) == "random":
        excluded = {"q", "corr"}
    named = project.stage_inputs(settings.stage)
    named |= {name: chosen[name] for name in STAGE_INPUTS.get(settings.stage, ()) if chosen[name] is not None}
    flags = {name for name in named if chosen[name] is not None and name not in from_environment}
    return chosen | {name: value if name in flags or name not in excluded else None for name, value in named.items()}


def _plan_without_inputs(context: StageContext, settings: Settings, error: MissingInputError) -> dict[str, Any]:
    """What ``--dry-run`` can tell where inputs are missing: not what the run would be called, which may depend on them."""
    return {
        "dry_run": True,
        "done": False,
        "begun": False,
        "stage": settings.stage,
        "name": context.name,
        "device": str(context.device),
        "seed": context.seed,
        "settings": settings.to_json(),
        "inputs": {},
        "produces": [],
        "missing": [f"{what}; {hint}" for what, hint in error.missing],
    }


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
    does = "would go on with" if plan["begun"] else "cannot run yet:" if plan["missing"] else "would run"
    name = "" if plan["name"] is None else f" {plan['name']}"
    lines = [f"{does} {plan['stage']}{name} on {plan['device']} with seed {plan['seed']}", *plan["missing"]]
    lines += [f"reads {use.replace('_', ' ')}: {name}" for use, name in plan["inputs"].items()]
    lines += [f"writes {name}" for name in plan["produces"]]
    for name, value in plan["settings"].items():
        lines.append(f"  {name.replace('_', '-')} = {'not given' if value is None else value}")
    return lines
