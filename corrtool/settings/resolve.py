"""Sources of settings: flag > environment > corrtool.toml > preset > default."""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections.abc import Callable
from importlib import resources
from typing import Any

from corrtool.errors import UsageError
from corrtool.settings.base import (
    PRESETS,
    SYNONYMS,
    S,
    Settings,
    checked,
    flag_name,
    former_names,
    type_hints,
    variable_name,
)


def load_preset(name: str) -> dict[str, Any]:
    """The packaged preset ``name`` as a nested dictionary.

    ``{stage: {setting: value, "vector": {...}}}``.

    Raises :class:`UsageError` for a preset that does not exist.
    """
    if name not in PRESETS:
        raise UsageError(f"there is no preset {name!r}", f"choose one of {', '.join(PRESETS)}")
    file = f"{SYNONYMS.get(name, name)}.toml"
    return _load(file)


@functools.cache
def _load(file: str) -> dict[str, Any]:
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
    say: Callable[[str], None] | None = None,
) -> S:
    """Settings from all their sources.

    ``given`` > ``environment`` > ``corrtool.toml`` > preset > default.

    Args:
        state_kind: ``"image"``, ``"grid"`` for small pictures, ``"signal"`` or ``"vector"``; a
            preset's section may hold a sub-table for each of them.
        project_values: the stage's table in ``corrtool.toml``.
        given: what the flags say; ``None`` means not given.
        environment: what the environment variables say, likewise.
        options: the command's options that are not settings; they may make some of these void.
        say: is told where a setting was given by a former name.

    Raises:
        UsageError: an unknown name, a wrong type, a value out of its range, or one that was given
            and would have no effect; the message names the flag, or where else the value was said.
    """
    stage = settings_class.stage
    fields, hints = (
        {field.name: field for field in dataclasses.fields(settings_class)},
        type_hints(settings_class),
    )
    values: dict[str, Any] = {}
    section = load_preset(preset).get(stage, {})
    own = {key: value for key, value in section.items() if not isinstance(value, dict)}
    given, environment = (
        {name: value for name, value in layer.items() if value is not None}
        for layer in (given, environment or {})
    )
    layers: list[tuple[dict[str, Any], Callable[[str], str]]] = [
        (own, flag_name),
        (section.get(state_kind, {}), flag_name),
        (project_values, lambda name: f"[{stage}] {name} in corrtool.toml"),
        (environment, lambda name: variable_name(stage, name)),
        (given, flag_name),
    ]
    said = set[str]()
    for layer, called in layers:
        if "epochs" in layer and "gradient_steps" in fields:
            values["gradient_steps"] = None  # or those of a lower layer would come first
        keys = _keys_by_name(settings_class, layer, called)
        if layer is project_values or layer is environment or layer is given:
            said |= keys.keys()
        for name, key in keys.items():
            if name not in fields:
                raise UsageError(
                    f"[{stage}] has no setting {key!r}",
                    f"see 'corrtool {stage} --help' for its settings",
                )
            values[name] = checked(fields[name], hints[name], layer[key], called(key))
            if say is not None and key.replace("-", "_") == fields[name].metadata["formerly"]:
                say(f"{called(key)} is now called {called(name)}")
    settings = settings_class(**settings_class.settled(values, said))
    for name, why in settings.without_effect(state_kind, options or {}).items():
        if name in given or fields[name].metadata["formerly"] in given:
            raise UsageError(f"{flag_name(name)} has no effect: {why}", "leave it out")
    return settings


def _keys_by_name(
    settings_class: type[Settings], layer: dict[str, Any], called: Callable[[str], str]
) -> dict[str, str]:
    """The settings that a layer gives, each with its key there: with dashes, or a former name.

    Raises:
        UsageError: one is given under two keys.
    """
    former, keys = former_names(settings_class), dict[str, str]()
    for key in layer:
        name = key.replace("-", "_")
        name = former.get(name, name)
        if name in keys:
            other = keys[name] if key == name else key
            raise UsageError(
                f"{called(name)} is given twice, as {called(other)} too", "keep one of them"
            )
        keys[name] = key
    return keys
