"""``corrtool verify``."""

from __future__ import annotations

from typing import Annotated, TypedDict

import typer

from corrtool.cli.options import JsonFlag, ProjectOption
from corrtool.cli.summaries import SUMMARIES


class VerifyResult(TypedDict):
    """What ``verify --json`` prints.

    Attributes:
        artifacts: how many were checked.
        whole: how many of them are whole.
        damaged: a line for each problem.
        not_ours: a line for each file beside artifacts that corrtool did not make.
    """

    artifacts: int
    whole: int
    damaged: list[str]
    not_ours: list[str]


def add(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command("verify", help=SUMMARIES["verify"])(verify)


def verify(
    project: ProjectOption = None,
    json: JsonFlag = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print nothing; the exit code still tells.")
    ] = False,
) -> None:
    """Compare every artifact with its checksums."""
    from corrtool.errors import ArtifactError
    from corrtool.exchange.hub_record import record_problems
    from corrtool.project.directory import find_project
    from corrtool.runs.overview import damaged_runs, describe_artifacts, foreign_file_lines
    from corrtool.runtime.console import Console

    opened = find_project(project)
    described, runs = describe_artifacts(opened), damaged_runs(opened)
    artifacts, not_ours = (
        [a for a in described if a["state"] != "foreign"],
        foreign_file_lines(described),
    )
    damaged = [problem for artifact in artifacts for problem in artifact["problems"]] + runs
    damaged += [str(problem) for problem in record_problems(opened.root)]
    whole = sum(not artifact["problems"] for artifact in artifacts)
    lines = [
        *damaged,
        *not_ours,
        f"{whole} of {len(artifacts)} artifacts are whole"
        + (f", {len(runs)} runs are damaged" if runs else ""),
    ]
    result: VerifyResult = {
        "artifacts": len(artifacts),
        "whole": whole,
        "damaged": damaged,
        "not_ours": not_ours,
    }
    Console(quiet=quiet, json=json).result(result, lines)
    if damaged and quiet:
        raise typer.Exit(3)
    if damaged:
        problems = "1 problem" if len(damaged) == 1 else f"{len(damaged)} problems"
        raise ArtifactError(
            f"{opened.root} has {problems}",
            "make what is damaged again with --overwrite, or restore it from a copy",
        )
