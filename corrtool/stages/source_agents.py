"""The agents behind Q_S, F and M_S, so that ``learn-corr`` can say where they differ.

A correspondence can be learnt from any of them, but eq. (11) judges it by how F continues states
that M_S holds, and Q_S plays those that F and M_S may never have seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from corrtool.errors import ArtifactError, UsageError
from corrtool.project.artifacts import Artifact, read_artifact
from corrtool.project.manifests import play_of_memory
from corrtool.runs.commands import resume_command
from corrtool.runs.records import read_record, run_directory


@dataclass(frozen=True)
class Agent:
    """An agent as the record of something that came of it knows it.

    Attributes:
        sha256: of its Q-function's weights.
        fingerprint: of the run that trained it.
    """

    name: str
    sha256: str | None = None
    fingerprint: str | None = None

    def differs_from(self, other: Agent) -> bool:
        """True if the two are known to be different ones."""
        if self.sha256 is not None and other.sha256 is not None:
            return self.sha256 != other.sha256
        prints = {self.fingerprint, other.fingerprint}
        return None not in prints and len(prints) == 2

    def is_known_as(self, other: Agent) -> bool:
        """True if the two are known to be the same one."""
        if self.sha256 is not None and other.sha256 is not None:
            return self.sha256 == other.sha256
        return self.fingerprint is not None and self.fingerprint == other.fingerprint


def agent_of_q(q: Artifact) -> Agent:
    """The agent that a Q-function is."""
    return Agent(q.name, q.sha256, q.manifest.get("fingerprint"))


def agent_of_memory(memory: Artifact) -> Agent | None:
    """Who played a memory; None for random play, and where its manifest does not tell."""
    manifest = memory.manifest
    if play_of_memory(manifest) == "random":
        return None
    if manifest.get("stage") == "train-dqn":
        return Agent(memory.name, fingerprint=manifest.get("fingerprint"))
    q = manifest.get("parents", {}).get("q")
    return None if q is None else Agent(q["name"], sha256=q["sha256"])


def different_agents(inputs: dict[str, Artifact], memories: Iterable[Artifact]) -> str | None:
    """A line that names the agents behind the inputs of ``learn-corr``; None where none differ.

    Args:
        memories: those of the project, of which one may be what F learnt from.
    """
    known = _agents(inputs, memories)
    if not any(one.differs_from(other) for one, other in combinations(known.values(), 2)):
        return None
    return f"the inputs are of different agents: {', '.join(known)}"


def _agents(inputs: dict[str, Artifact], memories: Iterable[Artifact]) -> dict[str, Agent]:
    """The agents behind Q_S, M_S and F, where they are known; each under words for its input."""
    known: dict[str, Agent] = {}
    if "q" in inputs:
        q = inputs["q"]
        known[str(q)] = agent_of_q(q)
    memory, model = inputs.get("source_memory"), inputs.get("model")
    if memory is not None and (agent := agent_of_memory(memory)) is not None:
        known[f"{memory} of {agent.name}"] = agent
    if model is not None and (agent := _agent_of_model(model, memories)) is not None:
        known[f"{model} from a memory of {agent.name}"] = agent
    return known


def _agent_of_model(model: Artifact, memories: Iterable[Artifact]) -> Agent | None:
    """Who played what F learnt from, where that memory is still there."""
    learnt_from = model.manifest.get("parents", {}).get("source_memory")
    if learnt_from is None:
        return None
    return next((agent_of_memory(m) for m in memories if m.sha256 == learnt_from["sha256"]), None)


def check_one_run(root: Path, q: Artifact) -> None:
    """Refuse an agent that a longer training was about to replace, and its memory already was.

    Raises :class:`UsageError`.
    """
    try:
        record = read_record(run_directory(root, "train-dqn", q.name))
    except ArtifactError:
        return  # it is of no run that is here
    for kind, name in record["locks"] if record["state"] == "running" else []:
        with contextlib.suppress(ArtifactError):
            made = read_artifact(root, kind, name)
            if made.manifest.get("fingerprint") == record["fingerprint"]:
                raise UsageError(
                    f"train-dqn {q.name!r} was interrupted as it replaced what it had made: {made} "
                    f"is new, and {q} is not",
                    f"let it end: {resume_command(root, record)}",
                )
