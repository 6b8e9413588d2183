"""Command-line options made from the settings classes: one source for flags, help and checks."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from corrtool.errors import UsageError
from corrtool.settings.base import Settings, flag_name, former_names, variable_name
from corrtool.settings.common import LEARNING_OPTIONS, VARIABLES, CommonOptions
from corrtool.settings.preprocessing import Preprocessing
from corrtool.settings.stages import STAGE_INPUTS, STAGE_SETTINGS
from corrtool.stages.registry import Stage

COMMON = "Common options"


def named_directory(text: str) -> Path:
    """A directory from the command line.

    An empty one is the unset variable of a script, not the current directory.
    """
    if not text:
        raise typer.BadParameter("it is empty; name a directory.")
    return Path(text)


def project_option(help: str = "Project directory.", **more: Any) -> Any:
    """``--project``, for a parameter of type ``Path | None``."""
    return typer.Option(
        "--project",
        "-p",
        help=help,
        envvar="CORRTOOL_PROJECT",
        metavar="DIR",
        parser=named_directory,
        **more,
    )


ProjectOption = Annotated[Path | None, project_option(show_envvar=False)]
_JSON = "Print one JSON object on stdout and nothing else."
_QUIET = "No progress and no messages."
JsonFlag = Annotated[bool, typer.Option("--json", help=_JSON)]
QuietFlag = Annotated[bool, typer.Option("--quiet", help=_QUIET)]


def _fields(declared: Any) -> list[tuple[dataclasses.Field[Any], Any]]:
    """The fields of a dataclass with their kinds, ``int`` for ``int | None``."""
    hints = get_type_hints(declared)
    return [(field, _bare(hints[field.name])) for field in dataclasses.fields(declared)]


def _parameter(name: str, kind: Any, option: Any, default: Any = None) -> inspect.Parameter:
    annotation = Annotated[kind, option]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _bare(hint: Any) -> Any:
    """``int | None`` → ``int``."""
    if get_origin(hint) in (UnionType, Union):
        return next(kind for kind in get_args(hint) if kind is not type(None))
    return hint


def _choices(kind: Any) -> str:
    """The values of an option with choices, as a sentence; otherwise empty."""
    return f" One of {', '.join(get_args(kind))}." if get_origin(kind) is Literal else ""


def _metavar(kind: Any) -> str | None:
    """A short word for an option with choices, whose own would leave the help's column no room."""
    return "<choice>" if get_origin(kind) is Literal else None


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def shown(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"{default:g}" if isinstance(default, float) else str(default)


def setting_option(
    field: dataclasses.Field[Any], kind: Any, name: str | None = None, **more: Any
) -> Any:
    """The option of a field made by :func:`setting`, called as the field or ``name``.

    ``more`` goes to ``typer.Option``.
    """
    name = name or field.name
    flag, off = flag_name(name), flag_name("no_" + name)
    text = _sentence(field.metadata["help"]) + _choices(kind)
    return typer.Option(f"{flag}/{off}" if kind is bool else flag, **({"help": text} | more))


def setting_parameters(settings_class: type[Settings]) -> list[inspect.Parameter]:
    """One option per setting, and hidden ones for former names.

    Not given means None, so that the other sources of settings can speak.
    """
    return [
        _parameter(
            name,
            kind | None,
            setting_option(
                field,
                kind,
                name,
                metavar=_metavar(kind),
                envvar=variable_name(settings_class.stage, name),
                show_default=field.metadata["shown"] or shown(field.default),
                show_envvar=False,
                hidden=name != field.name,
            ),
        )
        for field, kind in _fields(settings_class)
        for name in (field.name, field.metadata["formerly"])
        if name is not None
    ]


def preprocessing_parameters(panel: str) -> list[inspect.Parameter]:
    """One option per field of :class:`Preprocessing`, None where it is not given, under ``panel``.

    Of whole numbers help shows the least only: the most merely keeps nonsense out.
    """
    return [
        _parameter(
            field.name,
            kind | None,
            setting_option(
                field,
                kind,
                min=field.metadata["minimum"],
                max=field.metadata["maximum"] if kind is float else None,
                rich_help_panel=panel,
                show_default=False,
            ),
        )
        for field, kind in _fields(Preprocessing)
    ]


def input_parameters(stage: Stage) -> list[inspect.Parameter]:
    """One option per artifact that the stage reads; as with settings, other sources may name it."""
    return [
        _parameter(
            name,
            str | None,
            typer.Option(
                flag_name(name),
                help=_sentence(help),
                envvar=variable_name(stage.name, name),
                show_envvar=False,
            ),
        )
        for name, help in stage.inputs.items()
    ]


def option_parameters(stage: Stage) -> list[inspect.Parameter]:
    """The stage's options that are not settings."""
    return [
        _parameter(
            option.name,
            option.kind,
            typer.Option(flag_name(option.name), help=_sentence(option.help)),
            option.default,
        )
        for option in stage.options
    ]


def common_option(name: str, **more: Any) -> Any:
    """The option of a field of :class:`CommonOptions`; ``more`` replaces what differs.

    A limit that merely keeps nonsense out is not shown, whose width the help text needs: the class
    has it too.
    """
    field, kind = next(
        (field, kind) for field, kind in _fields(CommonOptions) if field.name == name
    )
    of_field = {
        "help": field.metadata["help"] + _choices(kind),
        "metavar": _metavar(kind),
        "min": field.metadata["minimum"],
        "max": most if (most := field.metadata["maximum"]) is None or most < 2**53 else None,
        "envvar": VARIABLES.get(name),
        "show_default": field.metadata["shown"] or True,
    }
    return typer.Option(flag_name(name), **(of_field | more))


def field_option(declared: Any, name: str, flag: str | None = None, **more: Any) -> Any:
    """The option of a field of ``declared``, made by :func:`setting`, called as it or ``flag``.

    ``more`` goes to ``typer.Option``.
    """
    field, kind = next((field, kind) for field, kind in _fields(declared) if field.name == name)
    default = field.metadata["shown"] or shown(field.default)
    return setting_option(
        field, kind, flag, **({"metavar": _metavar(kind), "show_default": default} | more)
    )


# As the commands that run several stages have them: in short, and any text for a preset, which is
# looked up before anything is made.
DeviceOption = Annotated[
    str | None, common_option("device", help="auto, cpu, cuda, cuda:N or mps.", show_envvar=False)
]
ANY_TEXT: dict[str, Any] = {"metavar": None, "show_envvar": False}


def common_parameters(stage: Stage) -> list[inspect.Parameter]:
    """``--project``, the stage's part of :class:`CommonOptions`, and what is to be printed."""
    where = "Project directory; otherwise the nearest parent with a corrtool.toml."
    return [
        _parameter("project", Path | None, project_option(where, rich_help_panel=COMMON)),
        *(
            _parameter(
                field.name,
                kind if kind is bool or field.default is not None else kind | None,
                common_option(field.name, rich_help_panel=COMMON),
                field.default,
            )
            for field, kind in _fields(CommonOptions)
            if stage.learns or field.name not in LEARNING_OPTIONS
        ),
        *(
            _parameter(
                name, bool, typer.Option(flag_name(name), help=help, rich_help_panel=COMMON), False
            )
            for name, help in (("json", _JSON), ("quiet", _QUIET))
        ),
    ]


COMMON_VARIABLES = [*VARIABLES.values(), "CORRTOOL_PROJECT", "CORRTOOL_DEBUG", "CORRTOOL_TRUST"]


def check_variables() -> None:
    """Refuse environment variables that begin like corrtool's but are not settings.

    A misspelt one would go unnoticed.

    Raises:
        UsageError: there is one.
    """
    known = COMMON_VARIABLES + [
        variable_name(stage, field.name)
        for stage, settings_class in STAGE_SETTINGS.items()
        for field in dataclasses.fields(settings_class)
    ]
    known += [
        variable_name(stage, name)
        for stage, of in STAGE_SETTINGS.items()
        for name in former_names(of)
    ]
    known += [variable_name(stage, name) for stage, names in STAGE_INPUTS.items() for name in names]
    for name in os.environ:
        if name.startswith("CORRTOOL_") and name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = (
                f"did you mean {close[0]}?"
                if close
                else "unset it; docs/cli.md lists those there are"
            )
            raise UsageError(f"the environment variable {name} is not a setting of corrtool", hint)


def with_parameters(
    parameters: list[inspect.Parameter], body: Callable[..., Any], name: str, help: str
) -> Callable[..., Any]:
    """``body`` as a function with these parameters, which Typer reads.

    It gets the values by name, and the names of those that come from environment variables.
    """
    parameters = [
        *parameters,
        inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context),
    ]

    def command(*, context: typer.Context, **values: Any) -> Any:
        sources = {name: context.get_parameter_source(name) for name in values}
        return body(
            values,
            {
                name
                for name, source in sources.items()
                if source is not None and source.name == "ENVIRONMENT"
            },
        )

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__name__ = name.replace("-", "_")
    command.__doc__ = help
    return command


def with_more_parameters(
    function: Callable[..., None], more: list[inspect.Parameter], before: str
) -> Callable[..., None]:
    """``function``, which takes any keywords, for Typer: with ``more`` of them ``before`` one."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())
    place = next(index for index, parameter in enumerate(own) if parameter.name == before)
    keywords = [
        *own[:place],
        *more,
        *(p for p in own[place:] if p.kind is not inspect.Parameter.VAR_KEYWORD),
    ]
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in keywords]

    @functools.wraps(function)
    def command(**values: Any) -> None:
        function(**values)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command
