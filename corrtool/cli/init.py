"""``corrtool init``."""

from __future__ import annotations

import ast
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from corrtool.cli.options import named_directory
from corrtool.cli.summaries import SUMMARIES
from corrtool.errors import UsageError

if TYPE_CHECKING:
    from corrtool.project.artifacts import Artifact
    from corrtool.project.directory import Project
    from corrtool.settings.base import Settings
    from corrtool.states import StateSpec
    from corrtool.workflows.pair import Seen

_PANEL = "Preprocessing of both tasks (Atari games get the values of the DQN papers)"


def add(app: typer.Typer) -> None:
    """Adds the subcommand."""
    app.command("init", help=SUMMARIES["init"])(init)


def _preprocessing(help: str, minimum: float | None = None, maximum: float | None = None) -> Any:
    return typer.Option(help=help, min=minimum, max=maximum, rich_help_panel=_PANEL, show_default=False)


def init(
    directory: Annotated[Path, typer.Argument(help="Directory to make.", metavar="DIR", parser=named_directory)],
    source: Annotated[str, typer.Option(help="Gymnasium id of the source task; 'module:Id' imports the module.")],
    target: Annotated[
        str | None, typer.Option(help="Gymnasium id of the target task.", show_default="the source's")
    ] = None,
    source_view: Annotated[
        list[str] | None,
        typer.Option(help="View of the source task, such as rotate:90; repeat for several."),
    ] = None,
    target_view: Annotated[
        list[str] | None,
        typer.Option(
            help="View of the target task: rotate:DEG, flip:h, flip:v, invert, mosaic-rotate:DEG, permute:1,0,…, scale:-1,…, affine:FILE."
        ),
    ] = None,
    source_kwarg: Annotated[
        list[str] | None,
        typer.Option(
            help="Keyword argument of the source environment, name=value; the value as in JSON or Python, else a text.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    target_kwarg: Annotated[
        list[str] | None,
        typer.Option(help="Keyword argument of the target environment, name=value.", metavar="NAME=VALUE"),
    ] = None,
    frame_skip: Annotated[int | None, _preprocessing("Frames that each action lasts.", 1)] = None,
    max_pool: Annotated[bool | None, _preprocessing("Show the maximum of the last two frames.")] = None,
    noop_max: Annotated[int | None, _preprocessing("No-ops at an episode's start, at most.", 0)] = None,
    repeat_action_probability: Annotated[
        float | None,
        _preprocessing(
            "Sticky actions: each step repeats the last action with this probability; for every task.", 0, 1
        ),
    ] = None,
    fire_reset: Annotated[bool | None, _preprocessing("Press FIRE at an episode's start.")] = None,
    terminal_on_life_loss: Annotated[bool | None, _preprocessing("A lost life ends the episode.")] = None,
    full_action_space: Annotated[bool | None, _preprocessing("All 18 actions.")] = None,
    max_episode_frames: Annotated[int | None, _preprocessing("Frames after which an episode is cut off.", 1)] = None,
    max_episode_steps: Annotated[
        int | None, _preprocessing("Steps after which an episode is cut off; for every task.", 1)
    ] = None,
    screen_size: Annotated[int | None, _preprocessing("Height and width of a frame.", 16)] = None,
    channels_axis: Annotated[
        Literal["first", "last"] | None,
        _preprocessing("Where pictures have their channels, if that is not their shortest axis. One of first, last."),
    ] = None,
    grayscale: Annotated[bool | None, _preprocessing("Grey frames.")] = None,
    stack: Annotated[int | None, _preprocessing("Frames that make a state.", 1)] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Copy in the trained weights that come with corrtool for these tasks.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace the corrtool.toml of a project that exists.")] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")
    ] = False,
    quiet: Annotated[bool, typer.Option(help="No messages.")] = False,
) -> None:
    """Writes ``corrtool.toml`` after playing both tasks and building every network: what a later stage would refuse is refused here."""
    preprocessing = {
        name: value
        for name, value in (
            ("frame_skip", frame_skip),
            ("max_pool", max_pool),
            ("noop_max", noop_max),
            ("repeat_action_probability", repeat_action_probability),
            ("fire_reset", fire_reset),
            ("terminal_on_life_loss", terminal_on_life_loss),
            ("full_action_space", full_action_space),
            ("max_episode_frames", max_episode_frames),
            ("max_episode_steps", max_episode_steps),
            ("screen_size", screen_size),
            ("channels_axis", channels_axis),
            ("grayscale", grayscale),
            ("stack", stack),
        )
        if value is not None
    }
    from corrtool.runtime.console import Console

    copies: dict[str, Path] = {}
    tables = {
        "source": _table(source, source_view, source_kwarg, preprocessing, copies),
        "target": _table(
            target or source, target_view, target_kwarg or (None if target else source_kwarg), preprocessing, copies
        ),
    }
    made = _make(directory, tables, copies, pretrained=pretrained, overwrite=overwrite)
    console = Console(quiet=quiet, json=json_output)
    console.say_all([f"warning: {warning}" for warning in made.warnings])
    console.result(made.to_json(), made.lines(directory))


@dataclass(frozen=True)
class _Made:
    """A new project, what was seen of its tasks by role, and the weights that were copied in."""

    project: Project
    seen: dict[str, Seen]
    warnings: list[str]
    adopted: list[Artifact]

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "project": str(self.project.root),
            "tasks": {
                role: {"task": str(of.task), "states": of.states.to_json(), "actions": of.actions, "notes": of.words}
                for role, of in self.seen.items()
            },
            "warnings": self.warnings,
            "pretrained": [artifact.reference() for artifact in self.adopted],
        }

    def lines(self, directory: Path) -> list[str]:
        """For people, with the command that comes next after ``directory`` was made."""
        lines = [f"project {self.project.root}"]
        for role, of in self.seen.items():
            lines.append(f"  {role}: {self.project.task(role)} ({of.states}; {of.actions} actions)")
            lines += [f"    {word}" for word in of.words]
        lines += [f"  comes with corrtool: {artifact}" for artifact in self.adopted]
        agents = [f"collect --task source --policy q:{agent.name}" for agent in self.adopted if agent.kind == "q"]
        return [*lines, f"next: cd {shlex.quote(str(directory))} && corrtool {(agents or ['train-dqn'])[0]}"]


def _table(
    identifier: str,
    views: list[str] | None,
    kwargs: list[str] | None,
    preprocessing: dict[str, Any],
    copies: dict[str, Path],
) -> dict[str, Any]:
    """A task's table of ``corrtool.toml``; files of its views join ``copies``."""
    return {
        "id": identifier,
        "views": [_local_view(view, copies) for view in views or []],
        "kwargs": dict(_keyword(text) for text in kwargs or []),
        "preprocessing": preprocessing,
    }


def _make(
    directory: Path, tables: dict[str, dict[str, Any]], copies: dict[str, Path], *, pretrained: bool, overwrite: bool
) -> _Made:
    """Try the tasks, and make the project if they fit each other."""
    from corrtool.pretrained import adopt, shipped_for
    from corrtool.project.directory import create_project
    from corrtool.workflows.pair import check_pair

    seen = {role: _try(role, table, copies) for role, table in tables.items()}
    warnings = check_pair(seen["source"], seen["target"], _default_settings)
    shipped = shipped_for(seen["source"].task, seen["target"].task) if pretrained else []
    if pretrained and not shipped:
        raise UsageError("no weights come with corrtool for these tasks", "leave --pretrained out")
    project = create_project(directory, tables, copies, overwrite=overwrite)
    return _Made(project, seen, warnings, [adopt(project, artifact.kind, artifact.name) for artifact in shipped])


def _try(role: str, table: dict[str, Any], copies: dict[str, Path]) -> Seen:
    """Play a task as it will be, with the files of its views where they are now."""
    from corrtool.tasks import parse_task
    from corrtool.tasks.trust import trust
    from corrtool.workflows.pair import try_task

    trust(table["id"])  # whoever types the name of a module wants it
    views = [_original(view, copies) for view in table["views"]]
    return try_task(parse_task(role, {**table, "views": views}, Path()))


def _default_settings(settings_class: type[Settings], states: StateSpec) -> Settings:
    """What a stage of the new project does when it is told nothing."""
    from corrtool.settings.resolve import resolve

    return resolve(settings_class, preset="default", state_kind=states.settings_kind, project_values={}, given={})


def _keyword(text: str) -> tuple[str, Any]:
    """``mode=1`` → ("mode", 1): JSON where it is JSON, then what Python writes otherwise (True, None, tables, lists), else a text."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"{text!r} is no keyword argument", "write name=value")
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        parsed = _python_literal(value)
    if not _fits_toml(parsed):
        raise UsageError(
            f"{text!r} cannot be written into corrtool.toml",
            "give a number, a text, true, false, a list or a table with texts as names; nothing in it may be null or None",
        )
    return name, parsed


def _python_literal(text: str) -> Any:
    """``True``, ``None``, ``{'lanes': 2}`` or ``(1, 2)`` as Python means them; any other text as it is."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text
    if isinstance(value, tuple):
        return list(value)
    return value if value is None or isinstance(value, bool | dict | list) else text


def _fits_toml(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(name, str) and _fits_toml(item) for name, item in value.items())
    if isinstance(value, list):
        return all(map(_fits_toml, value))
    return isinstance(value, str | bool | int | float)


def _local_view(view: str, copies: dict[str, Path]) -> str:
    """``affine:/some/map.json`` → ``affine:map.json``, to be copied into the project."""
    if not view.startswith("affine:"):
        return view
    path = Path(view.removeprefix("affine:"))
    if path.name in copies and copies[path.name] != path:
        raise UsageError(f"two affine views are called {path.name}", "rename one of the files")
    copies[path.name] = path
    return f"affine:{path.name}"


def _original(view: str, copies: dict[str, Path]) -> str:
    return f"affine:{copies[view.removeprefix('affine:')]}" if view.startswith("affine:") else view
