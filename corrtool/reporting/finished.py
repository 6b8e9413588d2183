"""A run that ended, as the report sees it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corrtool.runs.metrics import read_metrics
from corrtool.settings.stages import with_present_names


@dataclass
class FinishedRun:
    """One run of a stage that ended, with its record ``run.json``."""

    stage: str
    name: str
    directory: Path
    record: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved settings, by their present names."""
        return with_present_names(self.stage, self.record["settings"])

    @property
    def result(self) -> dict[str, Any]:
        """The result of the stage."""
        return self.record["result"]  # type: ignore[no-any-return]

    @property
    def seed(self) -> int:
        """The seed of everything random in it."""
        return int(self.record["seed"])

    @property
    def task(self) -> dict[str, Any]:
        """The task that it played, as JSON, for a run that plays one."""
        return self.record["tasks"][self.settings["task"]]  # type: ignore[no-any-return]

    @property
    def seconds(self) -> float:
        """Wall time, over all its resumptions."""
        return float(self.record.get("seconds", 0.0))

    @property
    def corrtool(self) -> str:
        """The commit of corrtool that ran it, or its version where it was installed without one."""
        machine = self.record["machine"]
        return str(machine.get("commit") or machine.get("packages", {}).get("corrtool", "unknown"))

    def parent(self, use: str) -> str | None:
        """SHA-256 of the artifact it read for ``use``."""
        reference = self.record["parents"].get(use)
        return None if reference is None else str(reference["sha256"])

    def parent_name(self, use: str) -> str | None:
        """Name of the artifact it read for ``use``."""
        reference = self.record["parents"].get(use)
        return None if reference is None else str(reference["name"])

    def output_sha256(self, kind: str, name: str) -> str | None:
        """SHA-256 of the artifact it wrote under this kind and name."""
        for reference in self.record["artifacts"]:
            if (reference["kind"], reference["name"]) == (kind, name):
                return str(reference["sha256"])
        return None

    def used_output_of(self, other: FinishedRun, kind: str) -> bool:
        """True if it read an output of ``other``.

        The name is compared too: weights that learnt nothing equal their first ones.
        """
        reference = self.record["parents"].get(kind)
        made = other.output_sha256(kind, other.name)
        return reference is not None and (reference["name"], reference["sha256"]) == (
            other.name,
            made,
        )

    @functools.cached_property
    def _lines(self) -> list[dict[str, Any]]:
        return read_metrics(self.directory / "metrics.jsonl")

    def metrics(self, event: str) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl`` with this event, in order. Raises :class:`ArtifactError`."""
        return [line for line in self._lines if line.get("event") == event]
