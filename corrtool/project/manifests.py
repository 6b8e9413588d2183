"""What the manifest of an artifact says, as types.

They describe JSON as it is written and read. A field may be missing: older versions wrote fewer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:  # the command line knows results before it imports torch
    from corrtool.runtime.machine import Machine
    from corrtool.tasks.task import TaskDescription


class Reference(TypedDict):
    """A reference to an artifact, as its children and the results of stages hold it."""

    kind: str
    name: str
    sha256: str


class Origin(TypedDict, total=False):
    """Where an artifact or the record of a run comes from: all that it takes to make it again.

    ``settings`` and ``options`` are as the version that wrote them knew them.
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


class MemoryContents(TypedDict):
    """What a memory's manifest says of its rows."""

    records: int
    rows: int
    lanes: int
    states: dict[str, Any]


class About(TypedDict, total=False):
    """What a stage says of an artifact that it publishes.

    ``network`` and ``states`` are read by the ``from_json`` of what they describe.
    """

    role: str
    task_sha256: str
    source_task_sha256: str
    target_task_sha256: str
    network: dict[str, Any]
    summary: Any
    selection: str
    actions: int
    records: int
    rows: int
    lanes: int
    states: dict[str, Any]


class Manifest(Origin, About, total=False):
    """All that a manifest may say.

    Those of memories have ``files`` with their SHA-256, those of weights ``parameters``.
    """

    kind: str
    name: str
    sha256: str
    parameters: int
    files: dict[str, str]
