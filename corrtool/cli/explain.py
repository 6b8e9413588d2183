"""``corrtool explain``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from corrtool.cli.options import (
    DeviceOption,
    JsonFlag,
    ProjectOption,
    QuietFlag,
    check_variables,
    common_option,
)
from corrtool.cli.summaries import SUMMARIES

if TYPE_CHECKING:
    from corrtool.reporting.explanation import Explanation


def add(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command("explain", help=SUMMARIES["explain"])(explain)


def explain(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Correspondence to explain.", metavar="[NAME]", show_default="the newest"
        ),
    ] = None,
    project: ProjectOption = None,
    seed: Annotated[int | None, common_option("seed", show_envvar=False)] = None,
    device: DeviceOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Measure a correspondence, and say what to try next."""
    check_variables()

    from corrtool.project.directory import find_project
    from corrtool.runtime.console import Console

    console, opened = Console(quiet=quiet, json=json), find_project(project)
    console.say("explain: loading PyTorch and the networks")

    from corrtool.project.defaults import project_device, project_seed
    from corrtool.workflows.explain import explain as explain_correspondence

    result = explain_correspondence(
        opened,
        console,
        project_device(opened, device),
        name,
        seed=project_seed(opened, seed),
    )
    console.result(result, _lines(result))


def _lines(result: Explanation) -> list[str]:
    """The numbers that say most, both maps, then each symptom with its command."""
    from corrtool.reporting.explanation_tables import action_lines, explanation_tables
    from corrtool.reporting.linear_map import map_lines, map_note

    symptoms, numbers, *_ = explanation_tables(result)
    lines = [f"{what}: {value}{f' ({more})' if more else ''}" for what, value, more in numbers.rows]
    if numbers.note:
        lines.append(numbers.note)
    if (known := result["linear_map"]) is not None:
        lines += ["the map that was learnt:", *(f"  {line}" for line in map_lines(known))]
        lines.append(f"  {map_note(known)}")
    lines += action_lines(result)
    for name, sentence, command in symptoms.rows:
        lines += [f"{name}: {sentence}", f"  try: {command}"]
    if symptoms.note:
        lines.append(symptoms.note)
    return [*lines, *result["files"]]
