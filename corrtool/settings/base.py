"""The common part of every stage's settings: declaration, checks, and sources of values.

The command line (flags, environment variables), ``corrtool.toml``, the presets and Python all fill
the classes of ``settings/``; ``--help`` and ``docs/cli.md`` are made from them. Order of
precedence: flag > environment variable > ``corrtool.toml`` > preset > default. Neither imports
torch or numpy, so ``--help`` stays fast.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

from corrtool.errors import UsageError

Preset = Literal["tiny", "quickstart", "small", "default", "paper"]
PRESETS: tuple[str, ...] = get_args(Preset)
MAX_BATCH_SIZE = (
    65_536  # more would ask for more memory than any machine has, long before it could help
)
SYNONYMS = {
    "small": "default"
}  # what was small's has become the default; its name is in published commands


def setting(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    shown: str | None = None,
    formerly: str | None = None,
    chooses: bool = False,
) -> Any:
    """A field of a settings class: flag, TOML key, check and help come from this one line.

    Args:
        minimum, maximum: inclusive; ``above`` is exclusive.
        shown: what help shows as the default, where that is decided elsewhere.
        formerly: its name in older versions, which works everywhere but in the settings classes.
        chooses: it only chooses which artifacts are read where none is named. Those identify a run,
            so that it does not.
    """
    limits = {"minimum": minimum, "above": above, "maximum": maximum}
    more = {"shown": shown, "formerly": formerly, "chooses": chooses}
    return dataclasses.field(default=default, metadata={"help": help, **more, **limits})


@dataclass(frozen=True)
class Settings:
    """Base of every stage's settings: validation on construction and conversion to JSON.

    Attributes:
        stage: whose settings these are.
        inputs: the artifacts that the stage reads and that can be named as a setting can (flag,
            environment variable, corrtool.toml), each with its help.
        makes: the kinds of artifacts that the stage writes, the one it is there for first.
    """

    stage: ClassVar[str]
    inputs: ClassVar[dict[str, str]] = {}
    makes: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        self.check()

    def check(self) -> None:
        """Reject settings that contradict each other. Raises :class:`UsageError`."""

    @classmethod
    def settled(cls, values: dict[str, Any], said: set[str]) -> dict[str, Any]:
        """The values where some that were said decide others that no one said.

        Args:
            values: by name, from all sources.
            said: the names that flags, variables or corrtool.toml give, not a preset.
        """
        return values

    @classmethod
    def in_project(cls, values: dict[str, Any], root: Path) -> dict[str, Any]:
        """What ``corrtool.toml`` of the project ``root`` says, with files where they are there."""
        return values

    def without_effect(self, state_kind: str, options: dict[str, Any]) -> dict[str, str]:
        """Settings that these ones, on states of this kind, make meaningless.

        Their names, and why in a few words.

        Args:
            options: what else the command line says, by name: its options that are not settings.
        """
        return {}

    def to_json(self) -> dict[str, Any]:
        """All settings as plain JSON values."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def identity(self) -> dict[str, Any]:
        """Those of :meth:`to_json` that identify a run."""
        choosing = choosing_names(type(self))
        return {name: value for name, value in self.to_json().items() if name not in choosing}


def former_names(settings_class: type[Settings]) -> dict[str, str]:
    """The names that settings had in older versions, each with its present one."""
    names = {field.metadata["formerly"]: field.name for field in dataclasses.fields(settings_class)}
    return {former: name for former, name in names.items() if former is not None}


def choosing_names(settings_class: type[Settings]) -> set[str]:
    """The settings that do no more than choose inputs."""
    return {field.name for field in dataclasses.fields(settings_class) if field.metadata["chooses"]}


def flag_name(field_name: str) -> str:
    """``lambda_q`` → ``--lambda-q``."""
    return "--" + field_name.replace("_", "-")


def variable_name(stage: str, field_name: str) -> str:
    """``learn-corr``, ``lambda_q`` → ``CORRTOOL_LEARN_CORR_LAMBDA_Q``."""
    return f"CORRTOOL_{stage}_{field_name}".upper().replace("-", "_")


_hints: dict[Any, dict[str, Any]] = {}


def type_hints(declared: Any) -> dict[str, Any]:
    """The types of a class's fields, which take Python longer than all other checks of them."""
    if declared not in _hints:
        _hints[declared] = get_type_hints(declared)
    return _hints[declared]


def check_fields(settings: Any) -> None:
    """Put every field of a frozen dataclass into its declared type. Raises :class:`UsageError`."""
    hints = type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value = checked(
            field, hints[field.name], getattr(settings, field.name), flag_name(field.name)
        )
        object.__setattr__(settings, field.name, value)


def checked(field: dataclasses.Field[Any], hint: Any, value: Any, name: str) -> Any:
    """The value in its declared type, or :class:`UsageError` about ``name``."""
    kinds = get_args(hint) if get_origin(hint) is not Literal else ()
    if value is None:
        if type(None) in kinds:
            return None
        raise UsageError(f"{name} needs a value")
    if type(None) in kinds:
        hint = next(kind for kind in kinds if kind is not type(None))
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise UsageError(
                f"{name} is {value!r}", f"choose one of {', '.join(map(str, get_args(hint)))}"
            )
        return value
    if type(value) is int and abs(value) > max(
        2**53, field.metadata["maximum"] or 0
    ):  # no float holds more exactly
        raise UsageError(f"{name} is out of range", "give a smaller number")
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        actions = isinstance(value, list) and {type(action) for action in value} == {int}
        quoted = hint is str and actions  # a map of actions as TOML could have it
        how = f'put it in quotes: "{value}"' if quoted else f"give it {_KIND_NAMES[hint]}"
        raise UsageError(f"{name} is {value!r}", how)
    if hint in (int, float):
        _check_range(name, value, field.metadata)
    return value


_KIND_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def _check_range(name: str, value: float, metadata: Any) -> None:
    minimum, above, maximum = metadata["minimum"], metadata["above"], metadata["maximum"]
    if not math.isfinite(value):
        raise UsageError(f"{name} is {value}", "give it a finite number")
    if minimum is not None and value < minimum:
        raise UsageError(f"{name} is {value}", f"it must be at least {minimum}")
    if above is not None and value <= above:
        raise UsageError(f"{name} is {value}", f"it must be greater than {above}")
    if maximum is not None and value > maximum:
        raise UsageError(f"{name} is {value}", f"it must be at most {maximum}")


S = TypeVar("S", bound=Settings)
