"""What the manifest of an artifact says, as types.

They describe JSON as it is written and read. A field may be missing: older versions wrote fewer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

if TYPE_CHECKING:  # the command line knows results before it imports torch
    from corrtool.runtime.machine import Machine
    from corrtool.tasks.task import TaskDescription


Play = Literal["random", "agent"]  # who played a memory
PLAY_WORDS: dict[Play, str] = {"random": "random play", "agent": "an agent's play"}


class Reference(TypedDict):
    """A reference to an artifact, as its children and the results of stages hold it."""

    kind: str
    name: str
    sha256: str


class Origin(TypedDict, total=False):
    """Where an artifact or the record of a run comes from: all that it takes to make it again.

    ``settings`` and ``options`` are as the version that wrote them knew them. ``continues`` has the
    SHA-256 of artifacts that this took the place of since the training of theirs, or of what they
    were made from, was cut short and went on: only where there are any.
    """

    created: str
    stage: str
    run: str
    fingerprint: str
    seed: int
    settings: dict[str, Any]
    options: dict[str, Any]
    tasks: dict[str, TaskDescription]
    parents: dict[str, Reference]
    resumptions: int
    machine: Machine
    command: str
    continues: list[str]


class MemoryContents(TypedDict):
    """What a memory's manifest says of its rows."""

    records: int
    rows: int
    lanes: int
    states: dict[str, Any]


class Imported(TypedDict):
    """Where an artifact comes from that no stage made.

    Attributes:
        file, sha256: its name without directories, and its bytes.
        says: of a Q-function what the file tells besides the weights.
        mapping: of the format 'torch', corrtool's names of weights, each with the file's.
        episodes: of a memory.
        memory_name, memory_sha256: of the memory that corrtool had exported, if it had.
    """

    file: str
    sha256: str
    says: NotRequired[dict[str, Any]]
    mapping: NotRequired[dict[str, str]]
    format: NotRequired[str]
    episodes: NotRequired[int]
    memory_name: NotRequired[str]
    memory_sha256: NotRequired[str]


class About(TypedDict, total=False):
    """What a stage says of an artifact that it publishes.

    ``network`` and ``states`` are read by the ``from_json`` of what they describe. ``play`` is of a
    memory: read it with :func:`play_of_memory`.
    """

    role: str
    task_sha256: str
    source_task_sha256: str
    target_task_sha256: str
    network: dict[str, Any]
    summary: Any
    imported: Imported
    selection: str
    play: Play
    actions: int
    records: int
    rows: int
    lanes: int
    states: dict[str, Any]


class Manifest(Origin, About, total=False):
    """All that a manifest may say.

    Those of memories have ``files`` with their SHA-256, those of weights ``parameters``. What was
    imported has ``imported``.
    """

    kind: str
    name: str
    sha256: str
    parameters: int
    files: dict[str, str]


def play_of_memory(manifest: Manifest) -> Play | None:
    """Who played a memory: random actions, or an agent; None where its manifest does not tell.

    Memories from before manifests had ``play`` are known by what made them: ``train-dqn`` kept what
    its agent played, ``collect`` read the Q-function that played, if one did.
    """
    if (play := manifest.get("play")) in ("random", "agent"):
        return play
    if manifest.get("stage") == "train-dqn":
        return "agent"
    if manifest.get("stage") == "collect":
        return "agent" if "q" in manifest.get("parents", {}) else "random"
    return None
