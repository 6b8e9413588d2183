"""Every stage on Pong and rotated Pong, in one command."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TypedDict, cast

from corrtool.errors import UsageError
from corrtool.project.directory import PROJECT_FILE, Project, create_project
from corrtool.runs.results import FinetuneResult, LearnCorrResult, Returns
from corrtool.workflows.pipeline import TARGET_PLAY, Pipeline, returns_of

SOURCE = {"id": "ALE/Pong-v5"}
TARGET = {"id": "ALE/Pong-v5", "views": ["rotate:90"]}


class QuickstartRow(Returns):
    """Fresh games of one player.

    Attributes:
        policy: ``random``, ``reuse`` or ``transfer``.
        sticky: the same with sticky actions.
    """

    policy: str
    sticky: Returns


class QuickstartResult(TypedDict):
    """What ``quickstart --json`` prints; ``games`` are those of each row."""

    project: str
    rows: list[QuickstartRow]
    games: int
    preset: str
    source_agent: str
    learn_corr: LearnCorrResult
    finetune: FinetuneResult
    notes: list[str]


def quickstart(pipeline: Pipeline, *, preset: str, from_scratch: bool) -> QuickstartResult:
    """Run the stages in a project of :func:`open_or_create`.

    What an earlier quickstart finished there is not done again.

    Q_S and F are those that come with corrtool, or are learnt here; the correspondence is learnt
    here in any case.

    Args:
        preset: what the calls of the pipeline have.
        from_scratch: learn Q_S and F here.
    """
    project = pipeline.project
    run, agent = pipeline.run, pipeline.source_agent(from_scratch=from_scratch)
    run("collect", name=TARGET_PLAY)
    learnt = cast(LearnCorrResult, run("learn-corr", **vars(agent), target_memory=TARGET_PLAY))
    results = {
        "random": pipeline.evaluate({"policy": "random"}),
        "reuse": pipeline.evaluate(q=agent.q, no_corr=True),
        "transfer": pipeline.evaluate(q=agent.q, corr=learnt["corr"]),
    }
    finetuned = cast(FinetuneResult, run("finetune", q=agent.q, corr=learnt["corr"]))
    rows: list[QuickstartRow] = [
        {"policy": policy, **returns_of(plain), "sticky": returns_of(sticky)}
        for policy, (plain, sticky) in results.items()
    ]
    return {
        "project": str(project.root),
        "rows": rows,
        "games": results["random"][0]["games"],
        "preset": preset,
        "source_agent": agent.q,
        "learn_corr": learnt,
        "finetune": finetuned,
        "notes": [
            f"Next: cd {shlex.quote(str(project.root))} && corrtool status",
            "      corrtool evaluate --video transfer.mp4   # a game as seen, and its translation",
            "      corrtool report                          # figures and tables, as a page",
        ],
    }


def open_or_create(directory: Path) -> Project:
    """The project of a quickstart, made where there is none.

    Raises :class:`UsageError` if it has other tasks.
    """
    if not (directory / PROJECT_FILE).exists():
        return create_project(directory, {"source": SOURCE, "target": TARGET}, {})
    project = Project(directory)
    if [(t.id, t.view_texts) for t in (project.task("source"), project.task("target"))] != [
        ("ALE/Pong-v5", ()),
        ("ALE/Pong-v5", ("rotate:90",)),
    ]:
        raise UsageError(f"{directory} is a project with other tasks", "give another directory")
    return project
