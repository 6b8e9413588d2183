"""A run that ended, as the report sees it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar, cast

from corrtool.files.sealed import damaged
from corrtool.reporting.logged import (
    Line,
    LossTerms,
    PlayTest,
    TrainingGame,
    found_degrees,
    start_degrees,
)
from corrtool.runs.metrics import metrics_path, read_metrics
from corrtool.runs.records import RunRecord
from corrtool.runs.results import EvaluateResult, StageResult
from corrtool.settings.stages import identifying_settings
from corrtool.tasks.task import TaskDescription

R = TypeVar("R", bound=StageResult)
L = TypeVar("L")


@dataclass
class FinishedRun(Generic[R]):
    """One run of a stage that ended, with its record ``run.json``."""

    stage: str
    name: str
    directory: Path
    record: RunRecord

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved settings that identify it, by their present names."""
        return identifying_settings(self.stage, self.record["settings"])

    @property
    def result(self) -> R:
        """The result of the stage."""
        return cast(R, self.record["result"])

    @property
    def seed(self) -> int:
        """The seed of everything random in it."""
        return self.record["seed"]

    @property
    def created(self) -> str:
        """When it began, so that what is older comes first."""
        return self.record["created"]

    @property
    def task(self) -> TaskDescription:
        """The task that it played, for a run that plays one."""
        return self.record["tasks"][self.settings["task"]]

    @property
    def seconds(self) -> float:
        """Wall time, over all its resumptions."""
        return float(self.record.get("seconds", 0.0))

    @property
    def corrtool(self) -> str:
        """The commit of corrtool that ran it, or its version where it was installed without one."""
        machine = self.record["machine"]
        # As text: a record that was sealed by somebody else may hold anything there.
        return str(machine.get("commit") or machine.get("packages", {}).get("corrtool", "unknown"))

    def parent(self, use: str) -> str | None:
        """SHA-256 of the artifact it read for ``use``."""
        reference = self.record["parents"].get(use)
        return None if reference is None else reference["sha256"]

    def parent_name(self, use: str) -> str | None:
        """Name of the artifact it read for ``use``."""
        reference = self.record["parents"].get(use)
        return None if reference is None else reference["name"]

    def output_sha256(self, kind: str, name: str) -> str | None:
        """SHA-256 of the artifact it wrote under this kind and name."""
        for reference in self.record["artifacts"]:
            if (reference["kind"], reference["name"]) == (kind, name):
                return reference["sha256"]
        return None

    def reference_to(self, use: str) -> tuple[str, str | None] | None:
        """Name and SHA-256 of the artifact it read for ``use``; None where it read none.

        The name too: weights that learnt nothing equal their first ones.
        """
        reference = self.record["parents"].get(use)
        return None if reference is None else (reference["name"], reference["sha256"])

    @functools.cached_property
    def games(self) -> list[TrainingGame]:
        """The training games of a DQN, in order. Raises :class:`ArtifactError`, as do all below."""
        return self._logged("game", TrainingGame.from_json)

    @functools.cached_property
    def play_tests(self) -> list[PlayTest]:
        """The play tests of a correspondence."""
        return self._logged("play_test", PlayTest.from_json)

    @functools.cached_property
    def losses(self) -> list[LossTerms]:
        """The loss terms along the training of a correspondence."""
        return self._logged("progress", LossTerms.from_json)

    @functools.cached_property
    def start_degrees(self) -> float | None:
        """The angle at which a search let a correspondence begin; None where none was made.

        Runs of older versions do not say which start was taken: theirs is what was found last.
        """
        taken = self._logged("start", start_degrees)
        found = taken or self._logged("spatial_search", found_degrees)
        return found[-1] if found else None

    def check_metrics(self) -> None:
        """Read all that the report may show. Raises :class:`ArtifactError` where it is damaged."""
        if self.stage == "learn-corr":
            _ = self.play_tests, self.losses, self.start_degrees
        elif self.stage in ("train-dqn", "finetune"):
            _ = self.games
        else:
            _ = self._lines

    @functools.cached_property
    def _lines(self) -> list[Line]:
        return read_metrics(metrics_path(self.directory))

    def _logged(self, event: str, read: Callable[[Line], L]) -> list[L]:
        """The lines with this event, each by way of ``read``."""
        try:
            return [read(line) for line in self._lines if line.get("event") == event]
        except (KeyError, TypeError):  # sealed by somebody else
            raise damaged(metrics_path(self.directory)) from None


Evaluation: TypeAlias = FinishedRun[EvaluateResult]
