"""``corrtool import``: what comes from elsewhere, a subcommand for each kind of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from corrtool.cli.options import (
    JsonFlag,
    ProjectOption,
    QuietFlag,
    check_variables,
    common_option,
    field_option,
)
from corrtool.cli.summaries import SUMMARIES
from corrtool.settings.common import CommonOptions
from corrtool.settings.exchange import (
    ImportPolicySettings,
    ImportQSettings,
    PolicyFormat,
    QFormat,
    TaskRole,
)

Q_SUMMARY = (
    "Import a Q-function that another library trained: Stable-Baselines3, CleanRL, or any file of "
    "weights with a mapping. Nothing in the file is executed."
)
SEED_OPTION = common_option(
    "seed",
    help="Seed that the agent was trained with; recorded.",
    show_default="as in the file, else 0",
    show_envvar=False,
)
DRY_RUN_OPTION = common_option(
    "dry_run", help="Read and check the file, show what would be recorded, and do nothing."
)
POLICY_SUMMARY = (
    "Import a policy that is no Q-function: PPO or A2C of Stable-Baselines3, PPO of CleanRL, or an "
    "ONNX graph of plain layers. It stands in a Q-function's place; its action scores are logits. "
    "Nothing in the file is executed."
)


def add(app: typer.Typer) -> None:
    """Add the subcommands."""
    group = typer.Typer(help=SUMMARIES["import"], no_args_is_help=True)
    group.command("q", help=Q_SUMMARY)(import_q)
    group.command("policy", help=POLICY_SUMMARY)(import_policy)
    group.command("memory")(memory)
    app.add_typer(group, name="import")


def import_q(
    file: Annotated[Path, typer.Argument(help="File to read.", metavar="FILE")],
    format: Annotated[QFormat, field_option(ImportQSettings, "format", "from", show_default=False)],
    mapping: Annotated[
        Path | None,
        typer.Option(
            help="JSON or TOML file for --from torch: corrtool's name of each weight, and its name "
            "in the file.",
            metavar="FILE",
        ),
    ] = None,
    task: Annotated[TaskRole, field_option(ImportQSettings, "task")] = "source",
    preprocessing: Annotated[str | None, field_option(ImportQSettings, "preprocessing")] = None,
    gamma: Annotated[float | None, field_option(ImportQSettings, "gamma")] = None,
    clip_rewards: Annotated[bool | None, field_option(ImportQSettings, "clip_rewards")] = None,
    project: ProjectOption = None,
    seed: Annotated[
        int | None,
        SEED_OPTION,
    ] = None,
    name: Annotated[str | None, common_option("name", show_default="that of the file")] = None,
    overwrite: Annotated[bool, common_option("overwrite")] = False,
    dry_run: Annotated[
        bool,
        DRY_RUN_OPTION,
    ] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Import a Q-function, and tell what it is."""
    check_variables()

    from corrtool.exchange.q_import import import_q as import_into
    from corrtool.exchange.q_result import import_q_lines
    from corrtool.project.directory import find_project
    from corrtool.runtime.console import Console

    result = import_into(
        find_project(project),
        file,
        ImportQSettings(format, task, preprocessing, gamma, clip_rewards),
        CommonOptions(seed=seed, name=name, overwrite=overwrite, dry_run=dry_run),
        mapping,
    )
    Console(quiet=quiet, json=json).result(result, import_q_lines(result))


def import_policy(
    file: Annotated[Path, typer.Argument(help="File to read.", metavar="FILE")],
    format: Annotated[
        PolicyFormat, field_option(ImportPolicySettings, "format", "from", show_default=False)
    ],
    task: Annotated[TaskRole, field_option(ImportPolicySettings, "task")] = "source",
    preprocessing: Annotated[
        str | None, field_option(ImportPolicySettings, "preprocessing")
    ] = None,
    gamma: Annotated[float | None, field_option(ImportPolicySettings, "gamma")] = None,
    clip_rewards: Annotated[bool | None, field_option(ImportPolicySettings, "clip_rewards")] = None,
    project: ProjectOption = None,
    seed: Annotated[
        int | None,
        SEED_OPTION,
    ] = None,
    name: Annotated[str | None, common_option("name", show_default="that of the file")] = None,
    overwrite: Annotated[bool, common_option("overwrite")] = False,
    dry_run: Annotated[
        bool,
        DRY_RUN_OPTION,
    ] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Import a policy, and tell what it is."""
    check_variables()

    from corrtool.exchange.policy_import import import_policy as import_into
    from corrtool.exchange.q_result import import_q_lines
    from corrtool.project.directory import find_project
    from corrtool.runtime.console import Console

    result = import_into(
        find_project(project),
        file,
        ImportPolicySettings(format, task, preprocessing, gamma, clip_rewards),
        CommonOptions(seed=seed, name=name, overwrite=overwrite, dry_run=dry_run),
    )
    Console(quiet=quiet, json=json).result(result, import_q_lines(result, "policy"))


def memory(
    source: Annotated[
        Path,
        typer.Argument(
            help="The file; of minari the directory of a dataset, or its id.", metavar="SOURCE"
        ),
    ],
    format: Annotated[
        Literal["minari", "npz"],
        typer.Option("--from", help="minari, a dataset (extra 'minari'), or npz, one file."),
    ],
    task: Annotated[
        Literal["source", "target"], typer.Option("--task", help="The task that was played.")
    ],
    name: Annotated[
        str | None,
        typer.Option(help="Name of the memory.", show_default="the one in the file, or the file's"),
    ] = None,
    play: Annotated[
        Literal["random", "agent"] | None,
        typer.Option(
            help="Who played, random actions or an agent.", show_default="what the file says"
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the memory of this name.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check all of it, and write nothing.")
    ] = False,
    project: ProjectOption = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Make a replay memory of the project from episodes that other libraries keep."""
    check_variables()

    from corrtool.exchange.memory_import import import_memory
    from corrtool.project.directory import find_project
    from corrtool.runtime.console import Console

    console = Console(quiet=quiet, json=json)
    result = import_memory(
        find_project(project),
        console,
        source,
        format=format,
        task=task,
        name=name,
        play=play,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    line = (
        f"memory {result['name']}, {result['state']}: {result['records']:,} records of the "
        f"{task} task in {result['episodes']:,} episodes, {result['play']} play"
    )
    console.result(result, [line])
