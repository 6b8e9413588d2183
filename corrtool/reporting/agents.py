"""Which agents a project has, and what the report calls the one that an evaluation was of.

A name alone does not tell: a Q-function may have been replaced by another of its name since.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from corrtool.project.artifacts import Artifact, find_artifacts
from corrtool.reporting.finished import FinishedRun
from corrtool.settings.exchange import SAME

AgentKey: TypeAlias = tuple[str, str | None]  # a Q-function, by name and SHA-256


@dataclass(frozen=True)
class Agents:
    """The Q-functions of a project as they are now, and all that its runs ever read.

    Attributes:
        present: by name.
        known: by name, the SHA-256 of every Q-function that a run read or that is there.
    """

    present: dict[str, Artifact] = field(default_factory=dict)
    known: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path, runs: Iterable[FinishedRun[Any]]) -> Agents:
        """Those of the project at ``root`` with these finished runs."""
        present = {artifact.name: artifact for artifact in find_artifacts(root, "q")}
        known = defaultdict(set, {name: {q.sha256} for name, q in present.items()})
        for run in runs:
            for reference in run.record["parents"].values():
                if reference["kind"] == "q":
                    known[reference["name"]].add(reference["sha256"])
        return cls(present, dict(known))

    def is_earlier(self, agent: AgentKey) -> bool:
        """True if another Q-function has its name by now, and it is no longer here."""
        name, sha256 = agent
        replaced = name in self.present and self.present[name].sha256 != sha256
        return replaced and self._present_name(agent) is None

    def _present_name(self, agent: AgentKey) -> str | None:
        """The name that it has now; None if it is not here."""
        names = [name for name, q in self.present.items() if q.sha256 == agent[1]]
        return agent[0] if agent[0] in names else next(iter(names), None)

    def called(self, agent: AgentKey) -> str:
        """The name that it has now, or had.

        With the first digits of its SHA-256 where the name alone is not enough.
        """
        if (now := self._present_name(agent)) is not None:
            return now
        name, sha256 = agent
        digits = "" if sha256 is None else f" ({sha256[:8]})"
        if self.is_earlier(agent):
            return f"an earlier {name}{digits}"
        is_alone = name in self.present or len(self.known.get(name, ())) <= 1
        return name if is_alone else f"{name}{digits}"

    def imported(self, agent: AgentKey) -> Artifact | None:
        """It, if it came from another program's file and is still there."""
        artifact = self.present.get(agent[0])
        is_it = artifact is not None and artifact.sha256 == agent[1] and is_imported(artifact)
        return artifact if is_it else None


def is_imported(artifact: Artifact) -> bool:
    """True if it came from another program's file."""
    return artifact.manifest.get("stage") == "import"


def find_imports(root: Path) -> list[Artifact]:
    """The Q-functions and the memories that came from other programs' files, the oldest first."""
    found = [*find_artifacts(root, "q"), *find_artifacts(root, "memory")]
    return sorted(filter(is_imported, found), key=lambda a: str(a.manifest.get("created")))


def file_and_format(artifact: Artifact) -> str:
    """Of what was imported: ``ppo_cart.zip, sb3``."""
    imported: Any = artifact.manifest.get("imported") or {}
    said: Any = artifact.manifest.get("settings", {}).get("format")
    parts = (imported.get("file"), imported.get("format", said))
    return ", ".join(str(part) for part in parts if part is not None) or "an unnamed file"


def about_import(artifact: Artifact) -> str:
    """Network and origin of an agent that was imported: ``chain, imported from …``."""
    network: Any = artifact.manifest.get("network") or {}
    return f"{network.get('architecture', 'network')}, imported from {file_and_format(artifact)}"


def preprocessing_of(artifact: Artifact) -> str:
    """With which preprocessing an imported agent was trained, as its import says; else nothing."""
    said = artifact.manifest.get("settings", {}).get("preprocessing")
    if said is None:  # of a memory
        return ""
    return "trained with the task's preprocessing" if said == SAME else f"trained with {said}"
