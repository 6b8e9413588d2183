"""The paper's experiments as data.

Which tasks, which correspondences, what is finetuned, and what the paper measured.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any

from corrtool.project.directory import Project
from corrtool.tasks import parse_task

EXPERIMENTS = ("experiment-1", "experiment-2")


def load_experiment(name: str) -> dict[str, Any]:
    """An experiment's tables.

    ``source``, ``target``, ``correspondence`` (a list of cells) and ``finetune``.
    """
    return tomllib.loads(
        resources.files("corrtool.experiments").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    )


def different_task(project: Project, experiment: dict[str, Any]) -> str | None:
    """The role whose task in ``project`` is not the experiment's; None if both are."""
    for role in ("source", "target"):
        task = project.task(role)
        if not parse_task(role, experiment[role], project.root).is_compatible_with(
            task.sha256, task.to_json()
        ):
            return role
    return None


def experiment_of(project: Project) -> dict[str, Any] | None:
    """The paper's experiment that has the project's tasks, or None."""
    for name in EXPERIMENTS:
        experiment = load_experiment(name)
        if different_task(project, experiment) is None:
            return experiment
    return None
