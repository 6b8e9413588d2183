"""Grids: which values of which settings a sweep combines.

A grid is written as the flags of a stage are, ``lambda-cyc=0,1,10``, or in a TOML file. Every value
is checked as that of a flag is, before anything runs.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

from corrtool.errors import ArtifactError, UsageError
from corrtool.settings.base import Settings, checked, flag_name, former_names, type_hints

Value: TypeAlias = bool | int | float | str
Point: TypeAlias = dict[str, Value]  # a value for each of some settings or inputs, by name
_MOST_COMBINATIONS = 1_000_000  # with those that are skipped
_WORDS: dict[str, bool] = {"true": True, "on": True, "false": False, "off": False}


@dataclass(frozen=True)
class Grid:
    """All combinations of some values, but for those that are skipped.

    Attributes:
        axes: the values of each setting, or names of each input, by name.
        skips: combinations that are left out, with all that have these values.
    """

    axes: Mapping[str, tuple[Value, ...]]
    skips: tuple[Point, ...] = ()

    def has(self, values: Point) -> bool:
        """True if one of the combinations has all of these values."""
        return all(value in self.axes.get(name, ()) for name, value in values.items())

    def points(self) -> list[Point]:
        """The combinations, the last axis fastest."""
        combined = (
            dict(zip(self.axes, values, strict=True))
            for values in itertools.product(*self.axes.values())
        )
        return [point for point in combined if not any(_holds(skip, point) for skip in self.skips)]


def _holds(skip: Point, point: Point) -> bool:
    """True if ``point`` has all values of ``skip``."""
    return all(name in point and point[name] == value for name, value in skip.items())


def points_of(grids: Sequence[Grid]) -> list[Point]:
    """The combinations of several grids, one after the other.

    Raises:
        UsageError: there are none or too many, one is there twice, or none that is to be skipped.
    """
    for skip in dict.fromkeys(tuple(skip.items()) for grid in grids for skip in grid.skips):
        if not any(grid.has(dict(skip)) for grid in grids):
            raise UsageError(
                f"no cell of the grid has {as_text(dict(skip))}, which is to be skipped",
                "name values of the grid, or leave it out",
            )
    combinations = sum(math.prod(map(len, grid.axes.values())) for grid in grids)
    if combinations > _MOST_COMBINATIONS:
        raise UsageError(f"the grid has {combinations:,} combinations", "give it fewer values")
    points = [point for grid in grids for point in grid.points()]
    if not points:
        raise UsageError("the grid has no cells", "skip less")
    seen = set[frozenset[tuple[str, Value]]]()
    for point in points:
        key = frozenset(point.items())
        if key in seen:
            raise UsageError(f"the grid has the cell {as_text(point)} twice", "leave one out")
        seen.add(key)
    return points


def varying(points: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """What has more than one value among ``points``: its values, in their order.

    A setting that only some of them give is among these; None stands for not given.
    """
    names = dict.fromkeys(name for point in points for name in point)
    values = {name: list(dict.fromkeys(point.get(name) for point in points)) for name in names}
    return {name: found for name, found in values.items() if len(found) > 1}


def as_text(point: Mapping[str, Any]) -> str:
    """``lambda-q=1 tone=true``: for people, and for names once the spaces are gone."""
    return " ".join(f"{_key(name)}={shown(value)}" for name, value in point.items())


def shown(value: Any) -> str:
    """A value as a grid is written; a dash for one that is not given."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def parse_grid(settings_class: type[Settings], axes: list[str], skips: list[str]) -> Grid:
    """A grid from texts such as ``lambda-q=0,1``, and for a skip ``lambda-q=0,norm=batch``.

    Raises:
        UsageError: an unknown key, a value that its flag would not take, or something said twice.
    """
    table: dict[str, list[str]] = {}
    for text in axes:
        key, equals, values = text.partition("=")
        if not equals or not values:
            raise UsageError(
                f"--grid {text!r} has no values",
                "write SETTING=VALUE,VALUE, or give the path of a .toml file",
            )
        if key in table:
            raise UsageError(f"--grid {key} is given twice", "give all its values at once")
        table[key] = values.split(",")
    return grid_of(settings_class, table, [_skip_table(text) for text in skips])


def _skip_table(text: str) -> dict[str, str]:
    parts = [part.partition("=") for part in text.split(",")]
    if not all(equals and value for _, equals, value in parts):
        raise UsageError(f"--skip {text!r} is no condition", "write SETTING=VALUE,SETTING=VALUE")
    if len({key for key, _, _ in parts}) < len(parts):
        raise UsageError(f"--skip {text!r} has a setting twice", "repeat --skip for another value")
    return {key: value for key, _, value in parts}


def read_grids(settings_class: type[Settings], path: Path, skips: list[str]) -> list[Grid]:
    """The grids of a TOML file: a table ``[grid]`` or several ``[[grid]]``, and ``[[skip]]``.

    Several are for settings that only some of the others allow; a skip holds for all of them.

    Raises:
        ArtifactError: the file cannot be read.
        UsageError: as :func:`parse_grid`.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ArtifactError(f"cannot read --grid {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--grid {path} is not valid TOML: {error}") from None
    unknown = content.keys() - {"grid", "skip"}
    if unknown or "grid" not in content:
        raise UsageError(
            f"--grid {path} has " + (f"a table {min(unknown)!r}" if unknown else "no table 'grid'"),
            "write [grid] with a list of values for each setting, and [[skip]]",
        )
    grids, skipped = (_tables(content.get(name, []), name, path) for name in ("grid", "skip"))
    conditions = [*skipped, *map(_skip_table, skips)]
    return [grid_of(settings_class, grid, conditions) for grid in grids]


def _tables(value: Any, name: str, path: Path) -> list[dict[str, Any]]:
    """One table or several, as a list. Raises :class:`UsageError`."""
    tables = value if isinstance(value, list) else [value]
    if not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"--grid {path}: {name} is no table", f"write [[{name}]] above its values")
    return tables


def grid_of(
    settings_class: type[Settings],
    table: Mapping[str, Any],
    skips: Sequence[Mapping[str, Any]] = (),
) -> Grid:
    """A grid whose values are texts, or as TOML has them.

    Raises:
        UsageError: as :func:`parse_grid`.
    """
    axes: dict[str, tuple[Value, ...]] = {}
    for key, values in table.items():
        listed = values if isinstance(values, list) else [values]
        name = _name(settings_class, key)
        parsed = [_value(settings_class, name, value) for value in listed]
        if len(set(parsed)) < len(parsed) or not parsed or name in axes:
            raise UsageError(
                f"--grid {key} " + ("has a value twice" if parsed else "has no values"),
                "give each value once",
            )
        axes[name] = tuple(parsed)
    conditions = [
        {(n := _name(settings_class, key)): _value(settings_class, n, v) for key, v in skip.items()}
        for skip in skips
    ]
    return Grid(axes, tuple(conditions))


def _name(settings_class: type[Settings], key: str) -> str:
    """The setting or input that a key of a grid names.

    Raises :class:`UsageError` where the stage has none of this name.
    """
    names = [field.name for field in dataclasses.fields(settings_class)]
    name = key.replace("-", "_")
    name = former_names(settings_class).get(name, name)
    if name in names or name in settings_class.inputs:
        return name
    stage, known = settings_class.stage, [_key(known) for known in (*names, *settings_class.inputs)]
    close = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {close[0]}?" if close else f"see 'corrtool {stage} --help'"
    raise UsageError(f"{stage} has no setting {key!r}", hint)


def _value(settings_class: type[Settings], name: str, value: Any) -> Value:
    """The value in the type of the setting, and within its range. Raises :class:`UsageError`."""
    if name in settings_class.inputs:
        if not isinstance(value, str):
            raise UsageError(f"{flag_name(name)} is {value!r}", "give it the name of an artifact")
        return value
    hint = type_hints(settings_class)[name]
    field = settings_class.__dataclass_fields__[name]
    parsed = _parsed(value, hint) if isinstance(value, str) else value
    kept: Value = checked(field, hint, parsed, flag_name(name))
    return kept


def _parsed(text: str, hint: Any) -> Any:
    """A text in the type that ``hint`` asks for; as it is where it is no such value."""
    kinds: Iterable[Any] = get_args(hint) if get_origin(hint) in (UnionType, Union) else [hint]
    kind = next(kind for kind in kinds if kind is not type(None))
    if kind is bool:
        return _WORDS.get(text.lower(), text)
    if kind in (int, float) and get_origin(kind) is not Literal:
        try:
            return int(text) if kind is int else float(text)
        except ValueError:
            return text
    return text


def _key(name: str) -> str:
    """``lambda_q`` → ``lambda-q``."""
    return name.replace("_", "-")
