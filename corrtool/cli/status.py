"""``corrtool status``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from corrtool.cli.options import JsonFlag, ProjectOption
from corrtool.cli.summaries import SUMMARIES
from corrtool.stages.registry import STAGES

if TYPE_CHECKING:
    from rich.table import Table

    from corrtool.project.manifests import Reference
    from corrtool.runs.overview import ArtifactStatus, PlayedGames, UnfinishedRun


class Status(TypedDict):
    """What ``status --json`` prints."""

    project: str
    tasks: dict[str, str]
    artifacts: list[ArtifactStatus]
    evaluations: list[PlayedGames]
    unfinished_runs: list[UnfinishedRun]
    damaged_runs: list[str]
    not_ours: list[str]


def add(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command("status", help=SUMMARIES["status"])(status)


def status(
    project: ProjectOption = None,
    settings: Annotated[
        bool, typer.Option("--settings", help="Show the settings of each artifact as well.")
    ] = False,
    json: JsonFlag = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing.")] = False,
) -> None:
    """Read every byte of every artifact."""
    from corrtool.project.directory import find_project
    from corrtool.runs.overview import (
        damaged_runs,
        describe_artifacts,
        evaluations,
        foreign_file_lines,
        unfinished_runs,
    )
    from corrtool.runtime.console import Console

    opened = find_project(project)
    artifacts, runs = describe_artifacts(opened), unfinished_runs(opened)
    result: Status = {
        "project": str(opened.root),
        "tasks": {role: str(opened.task(role)) for role in ("source", "target")},
        "artifacts": artifacts,
        "evaluations": evaluations(opened),
        "unfinished_runs": runs,
        "damaged_runs": damaged_runs(opened),
        "not_ours": foreign_file_lines(artifacts),
    }
    console = Console(quiet=quiet, json=json)
    console.result(
        result,
        _table(result)
        if artifacts
        else [
            f"{opened.root} has no artifacts yet; 'corrtool {next(iter(STAGES))}' makes the first"
        ],
    )
    if json or quiet:
        return
    if settings:
        for a in artifacts:
            console.say(
                f"{a['kind']} {a['name']}: "
                + " ".join(f"{key}={value}" for key, value in a["settings"].items())
            )
    for line in foreign_file_lines(artifacts):
        console.say(line)
    for problem in result["damaged_runs"]:
        console.say(f"damaged: {problem}")
    for run in runs:
        console.say(_unfinished(run))


def _unfinished(run: UnfinishedRun) -> str:
    name = f"{run['stage']} {run['name']}"
    if run["process"]:
        return f"running: {name}, {run['process']}"
    if run["changed"]:
        others = ", ".join(run["changed"])
        return (
            f"unfinished: {name}, made from what is no longer here ({others}): it cannot go on; "
            f"to begin it anew: {run['command']} --overwrite"
        )
    what = "resumes it" if run["resumable"] else "starts it again"
    return f"unfinished: {name}; the same command {what}: {run['command']}"


_MIN_WIDTHS = {"name, made from": 21, "state": len("damaged"), "outcome": len("play test -21.0")}


def _table(result: Status) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(
            f"{result['project']}\n"
            f"source: {result['tasks']['source']}   target: {result['tasks']['target']}"
        ),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for column in ("kind", "name, made from", "state", "size", "outcome"):
        table.add_column(column, overflow="fold", min_width=_MIN_WIDTHS.get(column))
    artifacts = result["artifacts"]
    for a in artifacts:
        name = Text(a["name"]).append(_parents(a["parents"], artifacts), style="dim")
        colour = {"whole": "green", "foreign": "dim"}.get(a["state"], "red")
        table.add_row(a["kind"], name, Text(a["state"], colour), _size(a), _outcome(a) or "–")
    for e in result["evaluations"]:
        players = _parents(e["parents"], artifacts) or "\n  random play"
        name = Text(str(e["name"])).append(players, style="dim")
        table.add_row("games", name, "played", _games(e), _mean_with_interval(e))
    return table


def _parents(parents: dict[str, Reference], artifacts: list[ArtifactStatus]) -> str:
    """A line for each parent, which tells whether it is still the one of that name."""
    known = {(a["kind"], a["sha256"]) for a in artifacts}
    names = {(a["kind"], a["name"]) for a in artifacts}
    lines = []
    for use, parent in parents.items():
        kind, name = parent["kind"], parent["name"]
        here = (kind, parent["sha256"]) in known
        gone = "" if here else " (since replaced)" if (kind, name) in names else " (not here)"
        lines.append(f"\n  {use.replace('_', ' ')} {name}{gone}")
    return "".join(lines)


def _mean_with_interval(evaluation: PlayedGames) -> str:
    from corrtool.reporting.evaluations import format_bounds, format_mean, interval_of

    try:
        sticky = evaluation.get("repeat_action_probability")
        interval = interval_of(evaluation)
        return f"{format_mean(interval)} {format_bounds(interval)}" + (
            f"\nsticky {sticky:g}" if sticky else ""
        )
    except (KeyError, TypeError, ValueError, OverflowError):  # sealed by somebody else
        return "–"


def _games(evaluation: PlayedGames) -> str:
    distinct = evaluation.get("distinct_games")
    return f"{evaluation.get('games')} games" + (
        "" if distinct is None else f"\n{distinct} distinct"
    )


def _size(artifact: ArtifactStatus) -> str:
    size = artifact["bytes"]
    on_disk = f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
    for counted, count in (
        ("records", artifact["records"]),
        ("parameters", artifact["parameters"]),
    ):
        if count is not None:
            return f"{count:,} {counted if count != 1 else counted[:-1]}\n{on_disk}"
    return on_disk


def _outcome(artifact: ArtifactStatus) -> str:
    """The outcome of an artifact's training; of a memory, who played it."""
    if artifact["kind"] == "memory":
        from corrtool.project.manifests import PLAY_WORDS

        return "" if artifact["play"] is None else PLAY_WORDS[artifact["play"]]
    summary = artifact["summary"] if isinstance(artifact["summary"], dict) else {}
    summary = {
        "mean_return": summary.get("best_mean_return")
    } | summary  # those that come with corrtool have no other
    known = {
        "model": {
            "error {:.3f};": "l1_newest",
            "if nothing\nmoved {:.3f}": "l1_newest_persistence",
        },
        "q": {"training {:.1f}": "mean_return_20", "play test {:.1f}": "best_mean_return"},
        "corr": {"play test {:.1f}": "mean_return"},
    }.get(artifact["kind"], {})
    numbers = {words: summary.get(key) for words, key in known.items()}
    lines = [
        words.format(number) for words, number in numbers.items() if isinstance(number, int | float)
    ]
    if (imported := artifact["imported"]) is not None:
        lines.append(f"from {str(imported.get('file'))[:60]}")
    return "\n".join([*lines, *(["cut short"] if summary.get("cut") is True else [])])
