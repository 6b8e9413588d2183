"""``corrtool transfer``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from corrtool.cli.options import (
    DeviceOption,
    JsonFlag,
    ProjectOption,
    QuietFlag,
    check_variables,
    common_option,
)
from corrtool.cli.stage_command import (
    calls_from_environment,
    saying_results,
    suggesting,
    warn_of_tiny,
)
from corrtool.cli.summaries import SUMMARIES
from corrtool.settings.base import Preset
from corrtool.settings.budget import Budget, minutes_of
from corrtool.settings.common import CommonOptions

if TYPE_CHECKING:
    from rich.table import Table

    from corrtool.project.directory import Project
    from corrtool.runs.results import Plan
    from corrtool.workflows.transfer import TransferPlan, TransferResult
    from corrtool.workflows.transfer_rows import TransferRow


def add(app: typer.Typer) -> None:
    """Add the subcommand."""
    app.command("transfer", help=SUMMARIES["transfer"])(transfer)


def transfer(
    project: ProjectOption = None,
    from_q: Annotated[
        str | None,
        typer.Option(
            "--from-q",
            help="Q-function of the source task to transfer.",
            show_default="the newest; if there is none, train-dqn learns one",
        ),
    ] = None,
    games: Annotated[
        int | None,
        typer.Option(
            help="Fresh games of each evaluation; fewer than 20 that differ have no interval.",
            min=1,
            show_default="that of evaluate",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="Time for all of it, such as 90s, 20m or 2h: what is left of it as a stage "
            "begins goes to train-dqn by three fifths, to train-model by a third and to "
            "learn-corr by nine tenths, and each ends early where that is used up. A run that is "
            "interrupted keeps its share; one that ended early goes on with a new one, where that "
            "leaves those after it the time that they took before.",
            metavar="TIME",
            parser=minutes_of,
            show_default="none",
        ),
    ] = None,
    seed: Annotated[int | None, common_option("seed", show_envvar=False)] = None,
    device: DeviceOption = None,
    preset: Annotated[
        Preset | None,
        common_option("preset", show_envvar=False),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be done, and do nothing.")
    ] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Run the stages whose artifacts are missing, and compare who plays how well."""
    common = CommonOptions(seed=seed, device=device, preset=preset, dry_run=dry_run)
    calls = calls_from_environment(common)
    check_variables()

    from corrtool.project.directory import find_project
    from corrtool.runtime.console import Console
    from corrtool.statistics import MIN_DISTINCT_GAMES
    from corrtool.workflows.pipeline import Pipeline
    from corrtool.workflows.transfer import transfer as run_transfer

    console = Console(quiet=quiet, json=json)
    opened = find_project(project)
    pipeline = Pipeline(opened, console, calls, saying_results(console))
    if games is not None and games < MIN_DISTINCT_GAMES:
        console.say(f"--games {games}: intervals need {MIN_DISTINCT_GAMES} games that differ")
    with suggesting("--seed", pipeline):
        result = run_transfer(pipeline, from_q=from_q, games=games, budget=Budget(budget))
    if dry_run:
        console.result(result, _plan_lines(cast("TransferPlan", result)))
        return
    result = cast("TransferResult", result)
    console.result(result, _table(opened, result))
    if not json:
        console.say_all([*result["notes"], _next(opened, result)])
    warn_of_tiny(console, opened, preset)


def _plan_lines(plan: TransferPlan) -> list[str]:
    """What a dry run has met, in order: each stage, what would be done, and with what."""
    lines = []
    for number, step in enumerate(plan["steps"], 1):
        lines.append(f"{number}. {_step_name(step)}: {_what_happens(step)}")
        if step["inputs"]:
            lines.append(f"   with {', '.join(step['inputs'].values())}")
        elif step["missing"]:
            lines.append("   with what the stages before it make")
    return lines


def _step_name(step: Plan) -> str:
    """The stage, and the name of what it makes; of an evaluation who plays what."""
    settings = step["settings"]
    if step["stage"] == "evaluate":
        plays = "random play" if settings["policy"] == "random" else "the agent"
        through = ""
        if settings["policy"] != "random" and settings["task"] == "target":
            alone = step.get("options", {}).get("no_corr") is True
            through = " without correspondence" if alone else " through the correspondence"
        return f"evaluate {plays} on the {settings['task']}{through}"
    return step["stage"] + ("" if step["name"] is None else f" {step['name']}")


def _what_happens(step: Plan) -> str:
    if step["done"]:
        return "done, cut short by its time limit" if "cut" in step else "done"
    limit = step.get("minutes", step["settings"].get("max_minutes"))
    within = "" if limit is None else f", in {limit:g} minutes at most"
    if "anew" in step:
        verb = "played" if step["stage"] == "evaluate" else "learnt"
        since = f", since {' and '.join(step['anew'])} will be another" if step["anew"] else ""
        return f"{verb} anew{since}{within}"
    if not step["begun"]:
        return f"to do{within}"
    where = f"from step {step['steps']:,}" if "steps" in step else "where it was interrupted"
    return f"goes on {where}{within}"


def _next(project: Project, result: TransferResult) -> str:
    """What to do with what has transferred; of what has not, why; first an agent that plays."""
    from corrtool.project.artifacts import read_artifact
    from corrtool.stages.game_video import can_be_filmed
    from corrtool.workflows.explain import trained_longer
    from corrtool.workflows.transfer_rows import expects_nothing, has_failed, nothing_to_transfer

    here = Path.cwd() == project.root
    first = "" if here else f"cd {shlex.quote(str(project.root))} && "
    if nothing_to_transfer(*result["rows"][:2]) is not None:
        q = read_artifact(project.root, "q", result["source_agent"])
        longer = trained_longer(project.root, q)  # says which project
        return f"next: {longer or first + 'corrtool train-dqn'}"
    if has_failed(result["rows"]) or expects_nothing(result["learn_corr"]):
        return f"next: {first}corrtool explain {shlex.quote(result['learn_corr']['corr'])}"
    commands = ["corrtool report"]
    if "agent_values" not in result["learn_corr"]:  # a policy, of which DQN cannot go on
        commands.append("corrtool finetune")
    if can_be_filmed(project.task("target")):
        commands.append("corrtool evaluate --video game.mp4")
    *others, last = commands
    return f"next: {first}{', '.join(others)}{', or ' if others else ''}{last}"


def _share(row: TransferRow) -> str:
    """Of the way from random play to the agent, with its interval, where that is known."""
    share, bounds = row.get("normalised"), row.get("normalised_ci95")
    if share is None:
        return ""
    return f"{share:.0%}" + ("" if bounds is None else f"\n[{bounds[0]:.0%}, {bounds[1]:.0%}]")


def _table(project: Project, result: TransferResult) -> Table:
    from corrtool.cli.players_table import players_table

    q, corr = result["source_agent"], result["learn_corr"]["corr"]
    cut = [stage for stage in result["cut"] if stage != "train-dqn"]
    ended = f" (cut short: {', '.join(cut)})" if cut else ""
    trained = " (training cut short)" if "train-dqn" in result["cut"] else ""
    players = {
        "source": f"{q} on its own task{trained}",
        "source_random": "random play on its task",
        "random": "random play on the target",
        "reuse": f"{q} on the target, without correspondence",
        "transfer": f"{q} on the target, through {corr}{ended}",
    }
    rows = []
    for row in result["rows"]:
        rows.append((players[row["policy"]], row, _share(row)))
    tasks = " to ".join(str(project.task(role)) for role in ("source", "target"))
    return players_table(
        f"{tasks}\n{result['games']} fresh games each, {result['minutes']:.1f} minutes",
        ("who plays", "mean return", "of the way from\nrandom play\nto the agent"),
        rows,
    )
