"""Where the values of settings come from: flag > environment > corrtool.toml > preset > default."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable
from importlib import resources
from typing import Any, get_type_hints

from corrtool.errors import UsageError
from corrtool.settings.base import PRESETS, SYNONYMS, S, checked, flag_name, variable_name


def load_preset(name: str) -> dict[str, Any]:
    """The packaged preset ``name`` as a nested dictionary: ``{stage: {setting: value, "vector": {...}}}``.

    Raises :class:`UsageError` for a preset that does not exist.
    """
    if name not in PRESETS:
        raise UsageError(f"there is no preset {name!r}", f"choose one of {', '.join(PRESETS)}")
    file = f"{SYNONYMS.get(name, name)}.toml"
    text = resources.files("corrtool.presets").joinpath(file).read_text(encoding="utf-8")
    return tomllib.loads(text)


def resolve(
    settings_class: type[S],
    *,
    preset: str,
    state_kind: str,
    project_values: dict[str, Any],
    given: dict[str, Any],
    environment: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
) -> S:
    """Settings from all their sources: ``given`` > ``environment`` > ``corrtool.toml`` > preset > default.

    Args:
        state_kind: ``"image"``, ``"grid"`` for small pictures, or ``"vector"``; a preset's section may hold a sub-table for each of them.
        project_values: the stage's table in ``corrtool.toml``.
        given: what the flags say; ``None`` means not given.
        environment: what the environment variables say, likewise.
        options: the command's options that are no settings; they may make some of the settings meaningless.

    Raises:
        UsageError: an unknown name, a wrong type, a value out of its range, or one that was given and would have no effect; the
            message names the flag, or where else the value was said.
    """
    stage = settings_class.stage
    fields, hints = {field.name: field for field in dataclasses.fields(settings_class)}, get_type_hints(settings_class)
    values: dict[str, Any] = {}
    section = load_preset(preset).get(stage, {})
    own = {key: value for key, value in section.items() if not isinstance(value, dict)}
    given, environment = (
        {name: value for name, value in layer.items() if value is not None} for layer in (given, environment or {})
    )
    layers: list[tuple[dict[str, Any], Callable[[str], str]]] = [
        (own, flag_name),
        (section.get(state_kind, {}), flag_name),
        (project_values, lambda name: f"[{stage}] {name} in corrtool.toml"),
        (environment, lambda name: variable_name(stage, name)),
        (given, flag_name),
    ]
    for layer, called in layers:
        if "epochs" in layer and "gradient_steps" in fields:
            values["gradient_steps"] = None  # or those of a lower layer would come first
        for key, value in layer.items():
            name = key.replace("-", "_")
            if name != key and name in layer:
                raise UsageError(f"{called(name)} is given twice, as {key} too", "keep one of them")
            if name not in fields:
                raise UsageError(
                    f"[{stage}] has no setting {key!r}",
                    f"see 'corrtool {stage} --help' for its settings",
                )
            values[name] = checked(
                fields[name], hints[name], value, called(name if layer is not project_values else key)
            )
    settings = settings_class(**values)
    for name, why in settings.without_effect(state_kind, options or {}).items():
        if name in given:
            raise UsageError(f"{flag_name(name)} has no effect: {why}", "leave it out")
    return settings
