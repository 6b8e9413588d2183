"""The command reference ``docs/cli.md``, made from the same objects as ``--help``.

``python -m corrtool.cli.reference``. What stands before the subcommands is ``reference_head.md``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from importlib import resources
from typing import Any

import typer.main

from corrtool.cli import build_app
from corrtool.cli.options import shown
from corrtool.settings.resolve import resolve
from corrtool.settings.stages import STAGE_SETTINGS
from corrtool.states import GRID, IMAGE, VECTOR


def reference() -> str:
    """The whole reference as Markdown."""
    command: Any = typer.main.get_command(build_app())
    head = resources.files("corrtool.cli").joinpath("reference_head.md").read_text(encoding="utf-8")
    parts = [head]
    for name, subcommand in _commands(command):
        arguments = [p for p in subcommand.params if p.param_type_name == "argument"]
        usage = " ".join(["corrtool", name, *(p.metavar for p in arguments), "[OPTIONS]"])
        parts.append(
            f"\n## `{name}`\n\n{subcommand.help}\n\n    {usage}\n\n"
            "| option | default | what it is |\n| --- | --- | --- |"
        )
        by_kind = _defaults_by_kind(name)
        for parameter in subcommand.params:
            if parameter.param_type_name == "argument":
                parts.append(
                    f"| `{parameter.metavar}` | {_default(parameter)} | {_cell(parameter.help)} |"
                )
            elif parameter.name != "help" and not parameter.hidden:
                default = by_kind.get(parameter.name) or _default(parameter)
                parts.append(f"| `{_flags(parameter)}` | {default} | {_cell(parameter.help)} |")
    return "\n".join(parts) + "\n"


def _commands(group: Any) -> Iterator[tuple[str, Any]]:
    """The subcommands with their names; those of a group within it as ``group subcommand``."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from ((f"{name} {inner}", of) for inner, of in _commands(command))
        else:
            yield name, command


def _defaults_by_kind(stage: str) -> dict[str, str]:
    """What the preset ``default`` makes of each setting of a stage, for each kind of states.

    Of pictures first; small pictures and vectors only where theirs differ.
    """
    if stage not in STAGE_SETTINGS:
        return {}
    settings = [
        resolve(
            STAGE_SETTINGS[stage], preset="default", state_kind=kind, project_values={}, given={}
        ).to_json()
        for kind in (IMAGE, GRID, VECTOR)
    ]
    cells = {}
    for field in dataclasses.fields(STAGE_SETTINGS[stage]):
        name, elsewhere = field.name, field.metadata["shown"]  # where it is decided elsewhere
        pictures, small, vectors = (
            elsewhere if elsewhere and values[name] is None else shown(values[name])
            for values in settings
        )
        others = {"small pictures": small, "vectors": vectors}
        differing = [f"{kind} {value}" for kind, value in others.items() if value != pictures]
        cells[name] = _cell("; ".join([pictures, *differing]))
    return cells


def _flags(parameter: Any) -> str:
    flags = ", ".join(parameter.opts)
    return f"{flags} / {', '.join(parameter.secondary_opts)}" if parameter.secondary_opts else flags


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return _cell(parameter.show_default)
    if parameter.default in (None, False) or not parameter.show_default:
        return ""
    return _cell(str(parameter.default))


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|").strip()


if __name__ == "__main__":
    print(reference(), end="")
