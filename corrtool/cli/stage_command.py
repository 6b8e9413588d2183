"""What the six stage commands share: from the command line to a context and settings, and back to a result."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from corrtool.cli.options import Common, common_parameters, setting_parameters, with_parameters
from corrtool.errors import UsageError
from corrtool.settings import Settings, resolve

if TYPE_CHECKING:
    import torch

    from corrtool.project.directory import Project
    from corrtool.stages.context import StageContext

S = TypeVar("S", bound=Settings)

Work = Callable[["StageContext", Any, dict[str, Any]], dict[str, Any]]
Lines = Callable[[dict[str, Any]], list[str]]


def add_stage(
    app: typer.Typer,
    settings_class: type[Settings],
    help: str,
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
        common = Common(**({"tensorboard": False} | values))
        context, settings = prepare(common, settings_class, given, environment, chosen)
        result = work(context, settings, chosen)
        context.console.result(result, _plan_lines(result) if result.get("dry_run") else lines(result))

    parameters = [*setting_parameters(settings_class), *extras, *common_parameters(stage)]
    app.command(stage, help=help)(with_parameters(parameters, body, stage, help))


def prepare(
    common: Common,
    settings_class: type[S],
    given: dict[str, Any],
    environment: dict[str, Any],
    options: dict[str, Any],
) -> tuple[StageContext, S]:
    """Opens the project, resolves settings and device. Usage errors come first, then the device, then inputs."""
    from corrtool.project.directory import find_project
    from corrtool.reporting.console import Console
    from corrtool.stages.context import StageContext

    project = find_project(common.project)
    settings = resolve_settings(project, settings_class, common.preset, given, environment, options)
    device = project_device(project, common.device)
    seed = project_seed(project, common.seed)
    if common.name is not None:
        from corrtool.project.artifacts import check_name

        check_name(common.name)
    context = StageContext(
        project=project,
        console=Console(quiet=common.quiet, json=common.json),
        device=device,
        seed=seed,
        name=common.name,
        overwrite=common.overwrite,
        dry_run=common.dry_run,
        tensorboard=common.tensorboard,
    )
    return context, settings


def project_device(project: Project, given: str | None) -> torch.device:
    """The device that was given, or the project's, or the best there is."""
    from corrtool.runtime import resolve_device

    return resolve_device(given or project_default(project, "device", str, "auto"))


def project_seed(project: Project, given: int | None) -> int:
    """The seed that was given, or the project's, or 0. Raises :class:`UsageError` when that is out of range."""
    seed: int = given if given is not None else project_default(project, "seed", int, 0)
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed is {seed}", "give a whole number from 0 to 2⁶³ - 1")
    return seed


def resolve_settings(
    project: Project,
    settings_class: type[S],
    preset: str | None,
    given: dict[str, Any],
    environment: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
) -> S:
    """The stage's settings for this project, from all their sources. Raises :class:`UsageError`."""
    from corrtool.tasks import probe

    role = (
        given.get("task")
        or (environment or {}).get("task")
        or project.stage_values(settings_class.stage).get("task")
        or _default_role(settings_class)
    )
    spec, _ = probe(project.task(role if role in ("source", "target") else "source"))
    return resolve(
        settings_class,
        preset=preset or project_default(project, "preset", str, "default"),
        state_kind=spec.kind,
        project_values=project.stage_values(settings_class.stage),
        given=given,
        environment=environment,
        options=options,
    )


def _default_role(settings_class: type[Settings]) -> str:
    field = settings_class.__dataclass_fields__.get("task")
    return "source" if field is None else str(field.default)


def project_default(project: Project, name: str, kind: type, default: Any) -> Any:
    """A value of ``[defaults]`` in ``corrtool.toml``. Raises :class:`UsageError` when it has the wrong type."""
    value = project.defaults.get(name, default)
    if type(value) is not kind:
        raise UsageError(f"[defaults] {name} is {value!r}", f"give it {'a text' if kind is str else 'a whole number'}")
    return value


def _plan_lines(plan: dict[str, Any]) -> list[str]:
    lines = [f"would run {plan['stage']} {plan['name']} on {plan['device']} with seed {plan['seed']}"]
    lines += [f"reads {use.replace('_', ' ')}: {name}" for use, name in plan["inputs"].items()]
    lines += [f"writes {name}" for name in plan["produces"]]
    lines += [f"  {name.replace('_', '-')} = {value}" for name, value in plan["settings"].items()]
    return lines
