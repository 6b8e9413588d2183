"""The paper's experiments as data.

Which tasks, which correspondences, what is finetuned, and what the paper measured.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from corrtool.project.directory import Project
from corrtool.settings.base import SYNONYMS
from corrtool.tasks import parse_task

EXPERIMENTS = ("experiment-1", "experiment-2")


@dataclass(frozen=True)
class _Training:
    """A training of an experiment: what it says beside the presets.

    Attributes:
        sizes: by preset, settings for that preset alone.
        paper: what the paper measured, in words.
    """

    settings: dict[str, Any] = field(default_factory=dict, kw_only=True)
    sizes: dict[str, dict[str, Any]] = field(default_factory=dict, kw_only=True)
    paper: str | None = field(default=None, kw_only=True)

    def settings_at(self, preset: str) -> dict[str, Any]:
        """Its settings at a preset, which the preset does not decide."""
        return self.settings | self.sizes.get(SYNONYMS.get(preset, preset), {})


@dataclass(frozen=True)
class CorrespondenceCell(_Training):
    """A correspondence of an experiment; ``name`` and the seed name what it makes."""

    name: str


@dataclass(frozen=True)
class FinetuningCell(_Training):
    """A learning on the target; ``start`` is a correspondence's name, ``scratch`` or ``reuse``."""

    start: str


@dataclass(frozen=True)
class Experiment:
    """An experiment of the paper.

    Attributes:
        source, target: the tables of a project's ``corrtool.toml``.
        grid: tables of values, as a file for ``sweep --grid`` has them.
    """

    title: str
    source: dict[str, Any]
    target: dict[str, Any]
    correspondence: tuple[CorrespondenceCell, ...]
    finetune: tuple[FinetuningCell, ...]
    grid: tuple[dict[str, Any], ...] = ()

    @classmethod
    def from_toml(cls, table: dict[str, Any]) -> Experiment:
        """An experiment as its file has it.

        Raises KeyError or TypeError where it has other fields.
        """
        cells = {
            "correspondence": tuple(CorrespondenceCell(**cell) for cell in table["correspondence"]),
            "finetune": tuple(FinetuningCell(**cell) for cell in table["finetune"]),
            "grid": tuple(table.get("grid", [])),
        }
        return cls(**(table | cells))

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """The tables of the tasks, by role."""
        return {"source": self.source, "target": self.target}


def load_experiment(name: str) -> Experiment:
    """An experiment that comes with corrtool."""
    file = resources.files("corrtool.experiments").joinpath(f"{name}.toml")
    return Experiment.from_toml(tomllib.loads(file.read_text(encoding="utf-8")))


def different_task(project: Project, experiment: Experiment) -> str | None:
    """The role whose task in ``project`` is not the experiment's; None if both are."""
    for role, table in experiment.tasks.items():
        task = project.task(role)
        if not parse_task(role, table, project.root).is_compatible_with(
            task.sha256, task.to_json()
        ):
            return role
    return None


def experiment_of(project: Project) -> Experiment | None:
    """The paper's experiment that has the project's tasks, or None."""
    for name in EXPERIMENTS:
        experiment = load_experiment(name)
        if different_task(project, experiment) is None:
            return experiment
    return None
