"""Command-line options made from the settings classes, so that flags, help and validation have one source."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from corrtool.errors import UsageError
from corrtool.settings.base import PRESETS, Settings, flag_name, variable_name
from corrtool.settings.stages import STAGE_INPUTS, STAGE_SETTINGS

COMMON = "Common options"


@dataclass(frozen=True)
class Common:
    """The options that every stage has."""

    project: Path | None
    seed: int | None
    device: str | None
    preset: str | None
    name: str | None
    overwrite: bool
    dry_run: bool
    tensorboard: bool
    keep_checkpoints: int
    json: bool
    quiet: bool


def named_directory(text: str) -> Path:
    """A directory from the command line; an empty one is the unset variable of a script, not the current directory."""
    if not text:
        raise typer.BadParameter("it is empty; name a directory.")
    return Path(text)


def project_option(help: str = "Project directory.", **more: Any) -> Any:
    """``--project``, for a parameter of type ``Path | None``."""
    return typer.Option(
        "--project", "-p", help=help, envvar="CORRTOOL_PROJECT", metavar="DIR", parser=named_directory, **more
    )


ProjectOption = Annotated[Path | None, project_option(show_envvar=False)]
_JSON, _QUIET = "Print one JSON object on stdout and nothing else.", "No progress and no messages."
JsonFlag = Annotated[bool, typer.Option("--json", help=_JSON)]
QuietFlag = Annotated[bool, typer.Option("--quiet", help=_QUIET)]


def common_parameters(stage: str) -> list[inspect.Parameter]:
    """The options of :class:`Common`, for a command's signature."""

    def option(
        name: str, kind: Any, default: Any, help: str, *flags: str, env: str | None = None, **more: Any
    ) -> inspect.Parameter:
        info = typer.Option(*(flags or (flag_name(name),)), help=help, envvar=env, rich_help_panel=COMMON, **more)
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info]
        )

    return [
        inspect.Parameter(
            "project",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                Path | None,
                project_option(
                    "Project directory; otherwise the nearest parent with a corrtool.toml.", rich_help_panel=COMMON
                ),
            ],
        ),
        option(
            "seed",
            int | None,
            None,
            "Seed of everything random.",
            env="CORRTOOL_SEED",
            min=0,
            max=2**63 - 1,
            show_default="0",
        ),
        option(
            "device",
            str | None,
            None,
            "auto, cpu, cuda, cuda:N or mps; it exists or the command fails.",
            env="CORRTOOL_DEVICE",
            show_default="auto",
        ),
        option(
            "preset",
            Literal[PRESETS] | None,
            None,
            "Sizes and settings to start from." + _choices(Literal[PRESETS]),
            metavar=_metavar(Literal[PRESETS]),
            env="CORRTOOL_PRESET",
            show_default="default",
        ),
        option(
            "name",
            str | None,
            None,
            "Name of what this command makes.",
            show_default="made from the settings and the seed",
        ),
        option("overwrite", bool, False, "Replace what has this name."),
        option(
            "dry_run", bool, False, "Show the resolved settings and inputs, those that are missing too, and do nothing."
        ),
        *(
            []
            if stage in ("collect", "evaluate")
            else [
                option("tensorboard", bool, False, "Write TensorBoard event files as well (extra 'tensorboard')."),
                option(
                    "keep_checkpoints",
                    int,
                    1,
                    "Newest checkpoints to keep until the run is finished; it goes on from an older one where a newer is damaged.",
                    min=1,
                    max=1_000,
                ),
            ]
        ),
        *output_parameters(),
    ]


def output_parameters() -> list[inspect.Parameter]:
    """``--json`` and ``--quiet``."""
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False,
            annotation=Annotated[bool, typer.Option(flag_name(name), help=help, rich_help_panel=COMMON)],
        )
        for name, help in (("json", _JSON), ("quiet", _QUIET))
    ]


def setting_parameters(settings_class: type[Settings]) -> list[inspect.Parameter]:
    """One option per setting; not given means None, so that the other sources of settings can speak."""
    parameters = []
    hints = get_type_hints(settings_class)
    for field in dataclasses.fields(settings_class):
        kind = _bare(hints[field.name])
        flag, off = flag_name(field.name), flag_name("no_" + field.name)
        info = typer.Option(
            f"{flag}/{off}" if kind is bool else flag,
            help=_sentence(field.metadata["help"]) + _choices(kind),
            metavar=_metavar(kind),
            envvar=variable_name(settings_class.stage, field.name),
            show_default=_shown(field.default),
            show_envvar=False,
        )
        parameters.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[kind | None, info],
            )
        )
    return parameters


COMMON_VARIABLES = [f"CORRTOOL_{name}" for name in ("PROJECT", "SEED", "DEVICE", "PRESET", "DEBUG", "TRUST")]


def check_variables() -> None:
    """Refuses environment variables that begin like corrtool's and are none of its settings: a misspelt one would go unnoticed.

    Raises:
        UsageError: there is one.
    """
    known = COMMON_VARIABLES + [
        variable_name(stage, field.name)
        for stage, settings_class in STAGE_SETTINGS.items()
        for field in dataclasses.fields(settings_class)
    ]
    known += [variable_name(stage, name) for stage, names in STAGE_INPUTS.items() for name in names]
    for name in os.environ:
        if name.startswith("CORRTOOL_") and name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}?" if close else "unset it; docs/cli.md lists those there are"
            raise UsageError(f"the environment variable {name} is no setting of corrtool", hint)


def _bare(hint: Any) -> Any:
    """``int | None`` → ``int``."""
    if get_origin(hint) in (UnionType, Union):
        return next(kind for kind in get_args(hint) if kind is not type(None))
    return hint


def _choices(kind: Any) -> str:
    """What an option with choices takes, as a sentence; else nothing."""
    return f" One of {', '.join(get_args(kind))}." if get_origin(kind) is Literal else ""


def _metavar(kind: Any) -> str | None:
    """A short word for an option with choices, which would widen their column at the cost of the help's."""
    return "<choice>" if get_origin(kind) is Literal else None


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _shown(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"{default:g}" if isinstance(default, float) else str(default)


def extra(name: str, kind: Any, default: Any, help: str, **more: Any) -> inspect.Parameter:
    """An option that is no setting."""
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, typer.Option(flag_name(name), help=help, **more)],
    )


def input_option(stage: str, name: str, help: str) -> inspect.Parameter:
    """An option that names an artifact that the stage reads; like a setting's, its value may come from elsewhere."""
    return extra(name, str | None, None, help, envvar=variable_name(stage, name), show_envvar=False)


def with_parameters(
    parameters: list[inspect.Parameter], body: Callable[..., None], name: str, help: str
) -> Callable[..., None]:
    """``body`` as a function with these parameters, which Typer reads.

    It gets the values by name, and the names of those that come from environment variables.
    """
    parameters = [*parameters, inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]

    def command(*, context: typer.Context, **values: Any) -> None:
        sources = {name: context.get_parameter_source(name) for name in values}
        body(values, {name for name, source in sources.items() if source is not None and source.name == "ENVIRONMENT"})

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__name__ = name.replace("-", "_")
    command.__doc__ = help
    return command
