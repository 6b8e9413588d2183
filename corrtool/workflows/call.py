"""One stage as a command line or a script asks for it: from what is said of it to its result."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, cast

from corrtool.errors import DamagedError, MissingInputError, NameTakenError, UsageError
from corrtool.project.artifacts import check_name
from corrtool.project.defaults import (
    project_device,
    project_preset,
    project_seed,
    resolve_settings,
)
from corrtool.project.directory import Project
from corrtool.runs.asking import AskingContext
from corrtool.runs.commands import anew_command, option_words
from corrtool.runs.context import StageContext
from corrtool.runs.records import run_of_file
from corrtool.runs.requests import RunRequest
from corrtool.runs.results import Plan, StageResult
from corrtool.runtime.console import Console
from corrtool.runtime.ranks import Ranks
from corrtool.settings.base import Settings, flag_name, former_names, variable_name
from corrtool.settings.common import LEARNING_OPTIONS, CommonOptions
from corrtool.stages.registry import STAGES, Option, Stage


@dataclass(frozen=True)
class StageCall:
    """A stage, and what is said of it. What is None is not given.

    Attributes:
        settings: those that flags or arguments give.
        options: the stage's inputs and its options that are not settings.
        environment: settings that environment variables give.
        from_environment: those of ``options`` that environment variables give.
        to_come: names of artifacts that stages before this one will have made, in a dry run.
        in_a_row: whether it is one of several that a command runs.
    """

    stage: Stage
    common: CommonOptions
    settings: dict[str, Any]
    options: dict[str, Any]
    environment: dict[str, Any] = field(default_factory=dict)
    from_environment: frozenset[str] = frozenset()
    to_come: frozenset[str] = frozenset()
    in_a_row: bool = False

    def execute(self, project: Project, console: Console) -> StageResult:
        """Run the stage, or plan it in a dry run; of several ranks only the first has a result.

        What is wrong with the settings comes first, then the device, then the inputs. A dry run
        plans without inputs that are still to be made, but not without one that is named.

        Raises:
            CorrtoolError: see ``corrtool.errors``.
        """
        settings = self.resolved(project, console)
        context = self._context(project, console)
        try:
            return self.stage.run(context, settings, **self._with_named_inputs(project, settings))
        except NameTakenError as error:
            error.anew = command_anew(self, project, error.name, error.inputs)
            raise
        except DamagedError as error:
            name = run_of_file(project.root, self.stage.name, error.path)
            if name is not None:
                error.anew = command_anew(self, project, name, {})
            raise
        except MissingInputError as error:
            if not self.common.dry_run or set(error.names) - self.to_come:
                raise
            return cast(StageResult, _plan_without_inputs(context, settings, error, self.options))

    def request(self, project: Project, console: Console) -> RunRequest:
        """What the stage would be asked for: inputs chosen and checked, and nothing begun.

        Raises:
            CorrtoolError: what is wrong with the settings, the device or the inputs.
        """
        settings = self.resolved(project, console)
        context = AskingContext(**vars(self._context(project, console)))
        self.stage.run(context, settings, **self._with_named_inputs(project, settings))
        return context.asked[0]

    def resolved(self, project: Project, console: Console) -> Settings:
        """The settings, from all their sources. Raises :class:`UsageError`."""
        return resolve_settings(
            project,
            self.stage.settings,
            self.common.preset,
            self.settings,
            self.environment,
            self.options,
            console.say,
        )

    def named_input(self, project: Project, use: str) -> str | None:
        """The name of the input, where a flag, a variable or ``corrtool.toml`` gives it one."""
        given: str | None = self.options[use]
        return project.stage_inputs(self.stage.name).get(use) if given is None else given

    def _context(self, project: Project, console: Console) -> StageContext:
        common, ranks = self.common, Ranks.from_environment()
        if ranks.count > 1:
            self._check_torchrun()
        context = StageContext(
            project=project,
            console=console if ranks.first else replace(console, quiet=True),
            device=project_device(project, common.device),
            seed=project_seed(project, common.seed),
            name=common.name,
            overwrite=common.overwrite,
            dry_run=common.dry_run,
            tensorboard=common.tensorboard,
            track=common.track,
            keep_checkpoints=common.keep_checkpoints,
            ranks=ranks,
            in_a_row=self.in_a_row,
        )
        if common.name is not None:
            check_name(common.name)
        return context

    def _check_torchrun(self) -> None:
        """Raise :class:`UsageError` where several processes have nothing to share."""
        device = self.common.device
        if not self.stage.splits:
            raise UsageError(
                f"{self.stage.name} is for one process",
                "use torchrun with train-model and learn-corr only",
            )
        if device is not None and ":" in device:
            raise UsageError(
                f"--device {device} is one device for all processes",
                "use --device cuda: each takes its own",
            )

    def _with_named_inputs(self, project: Project, settings: Settings) -> dict[str, Any]:
        """The options, with the inputs that ``corrtool.toml`` alone names.

        What a flag excludes, such as ``--no-corr`` a correspondence, is not taken from either.
        """
        chosen, excluded = self.options, set[str]()
        if chosen.get("no_corr") or getattr(settings, "task", None) == "source":
            excluded = {"corr"}
        if chosen.get("from_scratch") or getattr(settings, "policy", None) == "random":
            excluded = {"q", "corr"}
        if getattr(settings, "mixed_memories", None) is False:
            excluded = {"random_memory"}
        named = project.stage_inputs(self.stage.name)
        named |= {name: chosen[name] for name in self.stage.inputs if chosen[name] is not None}
        flags = {
            name for name in named if chosen[name] is not None and name not in self.from_environment
        }
        return chosen | {
            name: value if name in flags or name not in excluded else None
            for name, value in named.items()
        }


def call_with(stage: Stage, arguments: Mapping[str, Any]) -> StageCall:
    """The call of a stage with these keyword arguments.

    Raises:
        UsageError: it has no such argument, or one is of another type.
    """
    common = _common_names(stage)
    settings = {field.name for field in dataclasses.fields(stage.settings)} | former_names(
        stage.settings
    ).keys()
    options = {name: Option(name, str | None, None, help) for name, help in stage.inputs.items()}
    options |= {option.name: option for option in stage.options}
    for name in arguments:
        if name not in {*common, *settings, *options}:
            raise UsageError(
                f"{stage.name} has no argument {name!r}", f"see 'corrtool {stage.name} --help'"
            )
    return StageCall(
        stage,
        CommonOptions(**{name: arguments[name] for name in arguments if name in common}),
        settings={name: arguments[name] for name in arguments if name in settings},
        options={
            name: _option_value(option, arguments.get(name)) for name, option in options.items()
        },
    )


def plain_calls(common: CommonOptions) -> dict[str, StageCall]:
    """A call of each stage, by name, of which nothing is said but the options that all share."""
    return {name: replace(call_with(stage, {}), common=common) for name, stage in STAGES.items()}


def _common_names(stage: Stage) -> list[str]:
    """The common options that a stage has."""
    names = [field.name for field in dataclasses.fields(CommonOptions)]
    return [name for name in names if stage.learns or name not in LEARNING_OPTIONS]


def _option_value(option: Option, value: Any) -> Any:
    """The value given for an option, in its type.

    Raises :class:`UsageError` if it is of another.
    """
    if value is None:
        return option.default
    if option.kind == Path | None and isinstance(value, str | PathLike):
        return Path(value)
    if not isinstance(value, option.kind):
        raise UsageError(
            f"{flag_name(option.name)} is {value!r}", "give it a value of another type"
        )
    return value


def command_of(call: StageCall, project: Project) -> list[str]:
    """The command line that says the same."""
    common = {
        name: getattr(call.common, name)
        for name in _common_names(call.stage)
        if name not in ("seed", "preset")
    }
    said = call.settings | call.options | common
    return command_words(call.stage.name, call.common, project, said, off=call.settings)


def command_anew(call: StageCall, project: Project, name: str, inputs: Mapping[str, str]) -> str:
    """The command line that makes what a call asks for in the place of what has its name.

    What is not said, ``corrtool.toml`` gives it as it does the call.

    Args:
        name: of the run, which the call may have left to be made from its settings.
        inputs: names of what it reads, by use, likewise.
    """
    stage, plain = call.stage, CommonOptions()
    common = {
        option: value
        for option in _common_names(stage)
        if (value := getattr(call.common, option)) != getattr(plain, option)
        and option not in ("overwrite", "dry_run")
    }
    by_variables = {*call.environment, *call.from_environment}
    options = {key: value for key, value in call.options.items() if key not in by_variables}
    words = option_words(common | options | call.settings, off=call.settings)
    taken = [variable_name(stage.name, said) for said in by_variables]
    return anew_command(project.root, stage.name, words, taken, name, inputs)


def command_words(
    command: str,
    common: CommonOptions,
    project: Project,
    said: Mapping[str, Any],
    off: Container[str] = (),
) -> list[str]:
    """A command line as words.

    Seed and preset are spelt out, since environment variables could give it others.

    Args:
        said: the other options, by name; what is None is not given.
        off: those that have a ``--no-…``.
    """
    seed, preset = project_seed(project, common.seed), project_preset(project, common.preset)
    words = ["corrtool", command, "--seed", str(seed), "--preset", preset]
    return words + option_words(said, off)


def _plan_without_inputs(
    context: StageContext, settings: Settings, error: MissingInputError, said: Mapping[str, Any]
) -> Plan:
    """The plan of a dry run without its inputs; the name of the run may depend on them."""
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
        "options": {name: said[name] for name in ("no_corr",) if name in said},
    }
