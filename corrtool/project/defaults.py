"""Defaults of a project, its ``corrtool.toml`` and a preset: settings, seed and device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from corrtool.errors import UsageError
from corrtool.project.directory import Project
from corrtool.runtime.device import resolve_device
from corrtool.settings.base import PRESETS, Settings
from corrtool.settings.resolve import resolve
from corrtool.states import StateSpec
from corrtool.tasks import probe

S = TypeVar("S", bound=Settings)


def project_device(project: Project, given: str | None) -> torch.device:
    """The device that was given, or the project's, or the best there is."""
    if given is not None:
        return resolve_device(given)
    return resolve_device(project_default(project, "device", str, "auto"), "[defaults] device")


def project_seed(project: Project, given: int | None) -> int:
    """The seed that was given, or the project's, or 0.

    Raises :class:`UsageError` when that is out of range.
    """
    seed: int = given if given is not None else project_default(project, "seed", int, 0)
    if not 0 <= seed < 2**63:  # a flag's was checked by the parser
        raise UsageError(f"[defaults] seed is {seed}", "give a whole number from 0 to 2⁶³ - 1")
    return seed


def project_preset(project: Project, given: str | None, fallback: str = "default") -> str:
    """The preset that was given, or the project's, or ``fallback``."""
    if given is not None:
        return given
    preset: str = project_default(project, "preset", str, fallback)
    if preset not in PRESETS:
        raise UsageError(f"[defaults] preset is {preset!r}", f"choose one of {', '.join(PRESETS)}")
    return preset


def resolve_settings(
    project: Project,
    settings_class: type[S],
    preset: str | None,
    given: dict[str, Any],
    environment: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    say: Callable[[str], None] | None = None,
) -> S:
    """The stage's settings for this project, from all their sources. Raises :class:`UsageError`."""
    role = (
        given.get("task")
        or (environment or {}).get("task")
        or project.stage_values(settings_class.stage).get("task")
        or _default_role(settings_class)
    )
    spec, _ = probe(project.task(role if role in ("source", "target") else "source"))
    return resolve_for_states(
        project, settings_class, spec, preset, given, environment, options, say
    )


def resolve_for_states(
    project: Project,
    settings_class: type[S],
    spec: StateSpec,
    preset: str | None = None,
    given: dict[str, Any] | None = None,
    environment: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    say: Callable[[str], None] | None = None,
) -> S:
    """As :func:`resolve_settings`, for states that are known already."""
    return resolve(
        settings_class,
        preset=project_preset(project, preset),
        state_kind=spec.settings_kind,
        project_values=settings_class.in_project(
            project.stage_values(settings_class.stage), project.root
        ),
        given=given or {},
        environment=environment,
        options=options,
        say=say,
    )


def _default_role(settings_class: type[Settings]) -> str:
    field = settings_class.__dataclass_fields__.get("task")
    return "source" if field is None else str(field.default)


def project_default(project: Project, name: str, kind: type, default: Any) -> Any:
    """A value of ``[defaults]`` in ``corrtool.toml``.

    Raises :class:`UsageError` when it has the wrong type.
    """
    value = project.defaults.get(name, default)
    if type(value) is not kind:
        raise UsageError(
            f"[defaults] {name} is {value!r}",
            f"give it {'a text' if kind is str else 'a whole number'}",
        )
    return value
