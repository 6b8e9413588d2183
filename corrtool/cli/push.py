"""``corrtool push``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from corrtool.cli.options import JsonFlag, ProjectOption, QuietFlag
from corrtool.cli.summaries import SUMMARIES


def add(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command("push", help=SUMMARIES["push"])(push)


def push(
    repository: Annotated[
        str,
        typer.Argument(
            help="Repository of the Hub, OWNER/REPO; it is made if it is not there.",
            metavar="REPO",
        ),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names of artifacts.",
            metavar="[NAME]",
            show_default="the newest correspondence, and the Q-function and environment model it "
            "was learnt with",
        ),
    ] = None,
    kind: Annotated[
        Literal["q", "model", "corr", "memory", "all"],
        typer.Option(
            help="Kind of artifacts; without names the newest of it. Memories, which are no part "
            "of all, go by name only. One of q, model, corr, memory, all.",
            metavar="<choice>",
        ),
    ] = "all",
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository a private one.")
    ] = False,
    message: Annotated[
        str | None,
        typer.Option(help="Message of the commit.", show_default="what was pushed"),
    ] = None,
    video: Annotated[
        str | None,
        typer.Option(
            help="MP4 of a game for the page, or none.",
            metavar="FILE",
            show_default="replay.mp4 of the project",
        ),
    ] = None,
    project: ProjectOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the files, and upload nothing.")
    ] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Upload artifacts to the Hub."""
    from corrtool.exchange.hub import Repository
    from corrtool.exchange.hub_push import push as push_artifacts
    from corrtool.project.directory import find_project
    from corrtool.runtime.console import Console

    wanted, console = Repository.parse(repository), Console(quiet=quiet, json=json)
    result = push_artifacts(
        find_project(project),
        wanted,
        names or [],
        console,
        kind=kind,
        private=private,
        message=message,
        video=video,
        dry_run=dry_run,
    )
    lines = [f"{'would push' if dry_run else 'pushed'} {file}" for file in result["files"]]
    lines += [f"deleted {file}" for file in result["deleted"]]
    if not dry_run:
        lines.append(f"{result['url']} is at commit {result['commit']}")
    console.result(result, lines)
