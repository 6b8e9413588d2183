"""The card of a repository on the Hub: what it holds, how well it plays, how to use it.

The front matter is that of reinforcement-learning models: tags, and a ``model-index`` with one
result for each evaluation of what is pushed.
"""

from __future__ import annotations

import statistics
from typing import Any

from corrtool.exchange.hub import Repository
from corrtool.exchange.hub_record import pulled_from
from corrtool.project.artifacts import KIND_LABELS, Artifact
from corrtool.project.directory import Project
from corrtool.reporting.cells import RANDOM_PLAY
from corrtool.reporting.evaluations import Protocol, format_interval, interval_of
from corrtool.reporting.finished import Evaluation
from corrtool.reporting.results import read_results
from corrtool.reporting.table import Table
from corrtool.runtime.printable import printable

_LIBRARY, _TASK = "corrtool", "reinforcement-learning"
_ABOUT = """\
Made with corrtool, after Ruman & Guy, "Learning State Correspondence of Reinforcement Learning
Tasks for Knowledge Transfer" (arXiv 2209.06604): a correspondence translates the states of a target
task into those of a source task, so that an agent of the source can play the target.
"""
_USE = """\
## How to use it

    pip install 'corrtool[hub]'
    corrtool pull {repository} -p lab
    corrtool verify -p lab
    corrtool evaluate -p lab

Every file carries its own SHA-256, which `pull` checks. With plain `safetensors` the weights can be
read too; their metadata say with which command, settings and seed they were made.
"""


def card(
    project: Project, repository: Repository, artifacts: list[Artifact], *, with_replay: bool
) -> bytes:
    """``README.md``, which needs huggingface_hub for its front matter."""
    from huggingface_hub import EvalResult, ModelCardData

    tasks = {role: project.task(role) for role in project.task_tables()}
    played = evaluations_of(project, artifacts)
    environments = list(dict.fromkeys(task.id for task in tasks.values()))
    data = ModelCardData(
        library_name=_LIBRARY,
        pipeline_tag=_TASK,
        tags=[*environments, "deep-reinforcement-learning", _TASK, "transfer-learning", _LIBRARY],
        model_name=repository.id.partition("/")[2],
        eval_results=[EvalResult(**_measured(run)) for run in played],
    )
    parts = [
        f"---\n{data.to_yaml()}\n---\n",
        f"# {repository.id.partition('/')[2]}\n",
        _ABOUT,
        "\n".join(f"- {role}: `{printable(str(task))}`" for role, task in tasks.items()) + "\n",
        *(["`replay.mp4` shows one game.\n"] if with_replay else []),
        _results(played).to_markdown(),
        _contents(project, artifacts).to_markdown(),
        _USE.format(repository=repository.id),
    ]
    return "\n".join(parts).encode()


def summary(project: Project, artifacts: list[Artifact]) -> dict[str, Any]:
    """``config.json``: what is in the repository, for programs."""
    return {
        "library_name": _LIBRARY,
        "tasks": {role: project.task(role).to_json() for role in project.task_tables()},
        "artifacts": [
            {
                **artifact.reference(),
                "path": project.relative(artifact.path),
                "stage": artifact.manifest.get("stage"),
                "seed": artifact.manifest.get("seed"),
                "parents": artifact.manifest.get("parents", {}),
            }
            for artifact in artifacts
        ],
    }


def evaluations_of(project: Project, artifacts: list[Artifact]) -> list[Evaluation]:
    """The project's evaluations of what is pushed, and random play beside them, oldest first.

    One through a correspondence counts where that one is pushed.
    """
    pushed = {(artifact.name, artifact.sha256) for artifact in artifacts}
    found: dict[str, Evaluation] = {}
    for run in read_results(project).runs:
        if run.stage != "evaluate":
            continue
        players = [run.reference_to(use) for use in ("q", "corr")]
        if all(player is None or player in pushed for player in players):
            found.setdefault(run.record["fingerprint"], run)
    return sorted(found.values(), key=lambda run: run.created)


def _player(run: Evaluation) -> str:
    q, corr = run.parent_name("q"), run.parent_name("corr")
    if q is None:
        return RANDOM_PLAY
    return q if corr is None else f"{q} through {corr}"


def _seen(run: Evaluation) -> str:
    return " ".join([run.task["id"], *run.task["views"]])


def _measured(run: Evaluation) -> dict[str, Any]:
    """One evaluation as the fields of an ``EvalResult``; the Hub writes mean +/- deviation.

    It groups those of one environment and configuration, so the metric says who plays.
    """
    returns, interval = run.result["returns"], interval_of(run.result)
    return {
        "task_type": _TASK,
        "dataset_type": run.task["id"],
        "dataset_config": " ".join(run.task["views"]) or None,
        "dataset_name": _seen(run),
        "metric_type": "mean_reward",
        "metric_name": f"mean return of {_player(run)}, {Protocol.of(run.settings, run.task)}",
        "metric_value": f"{interval.mean:.2f} +/- {statistics.pstdev(returns):.2f}",
        "metric_args": {
            "games": len(returns),
            "interval95": None if interval.bounds is None else [*interval.bounds],
            "sticky_actions": Protocol.of(run.settings, run.task).sticky,
            "seed": run.seed,
        },
    }


def _results(played: list[Evaluation]) -> Table:
    rows = []
    for run in played:
        protocol = Protocol.of(run.settings, run.task)
        rows.append(
            [
                _player(run),
                f"{run.settings['task']}: {_seen(run)}",
                format_interval(interval_of(run.result)),
                str(protocol),
                f"{protocol.sticky:g}",
                str(run.seed),
            ]
        )
    return Table(
        "Results",
        ["who plays", "task", "mean return", "protocol", "sticky actions", "seed"],
        rows,
        "Intervals are of 95 %, over games." if rows else "None of this was evaluated.",
    )


def _contents(project: Project, artifacts: list[Artifact]) -> Table:
    origins = pulled_from(project.root)
    rows = []
    for artifact in artifacts:
        manifest = artifact.manifest
        size = manifest.get("parameters") or manifest.get("records") or 0
        parents = manifest.get("parents", {}).values()
        rows.append(
            [
                KIND_LABELS[artifact.kind],
                f"`{project.relative(artifact.path)}`",
                f"{size:,} {'records' if artifact.kind == 'memory' else 'parameters'}",
                str(manifest.get("stage", "–")),
                str(manifest.get("seed", "–")),
                ", ".join(dict.fromkeys(reference["name"] for reference in parents)) or "–",
                origins.get(artifact.sha256, "–"),
            ]
        )
    table = Table(
        "Contents",
        ["what", "file", "size", "made by", "seed", "made from", "pulled from"],
        rows,
    )
    return table.with_column("pulled from", "")
