"""What a file of another tool says that it holds, before its episodes are read."""

from __future__ import annotations

import json
import lzma
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, get_args

from corrtool.errors import ArtifactError, UsageError
from corrtool.exchange.episodes import Episode
from corrtool.project.manifests import Manifest
from corrtool.states import StateSpec

MemoryFormat = Literal["minari", "npz"]
PADDING = "zero before the first frame of an episode"
MAX_DESCRIPTION = 1 << 26  # bytes of JSON; more is the lie of a hostile file

_UNREADABLE = (  # what zipfile, numpy and h5py raise on bytes that they did not write
    OSError, ValueError, EOFError, KeyError, TypeError, AttributeError, RuntimeError, SyntaxError,
    OverflowError, tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip


class Description(TypedDict, total=False):
    """What corrtool writes into a file beside the episodes of one of its memories.

    Attributes:
        corrtool_memory: the version of this description.
        stack, padding: how states are made of single frames; ``states`` has all of it.
        transitions: how many steps are transitions of the memory; the others are context.
    """

    corrtool_memory: int
    name: str
    sha256: str
    play: str | None
    actions: int
    stack: int
    padding: str
    transitions: int
    states: dict[str, Any]
    task: Any
    task_sha256: str
    seed: int


@dataclass(frozen=True)
class ForeignMemory:
    """A file or a dataset whose header was checked against a task.

    Attributes:
        path: the file or directory.
        sha256: of its content.
        description: as corrtool wrote it; empty where something else did.
        steps: of all episodes.
        count: of episodes.
        episodes: reads them, one after another, and checks each.
    """

    path: Path
    sha256: str
    description: Description
    steps: int
    count: int
    episodes: Iterator[Episode]


@contextmanager
def reading(path: Path, format_name: str) -> Iterator[None]:
    """Around what reads a file of a format, whose errors are the file's.

    Raises :class:`ArtifactError`.
    """
    try:
        yield
    except FileNotFoundError:
        raise ArtifactError(f"there is no file {path}") from None
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ArtifactError(f"{path} cannot be read as {format_name} ({reason})") from None


def check_format(name: str) -> None:
    """Raise :class:`UsageError` for a format that is none of :data:`MemoryFormat`."""
    if name not in (known := get_args(MemoryFormat)):
        raise UsageError(f"there is no format {name!r}", f"give {' or '.join(known)}")


def describe(name: str, manifest: Manifest) -> Description:
    """The description of a memory with this manifest."""
    spec = StateSpec.from_json(manifest["states"])
    described: Description = {
        "corrtool_memory": 1,
        "name": name,
        "sha256": manifest["sha256"],
        "play": manifest.get("play"),
        "actions": manifest["actions"],
        "stack": spec.stack,
        "padding": PADDING,
        "transitions": manifest["records"],
        "states": spec.to_json(),
    }
    if role := manifest.get("role"):
        described["task"] = manifest.get("tasks", {}).get(role)
    if "task_sha256" in manifest:
        described["task_sha256"] = manifest["task_sha256"]
    if "seed" in manifest:
        described["seed"] = manifest["seed"]
    return described


def parse_description(text: str | bytes, where: str) -> dict[str, Any]:
    """A JSON object of a file. Raises :class:`ArtifactError`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where} is not JSON ({' '.join(str(error).split())})") from None
    if not isinstance(value, dict):
        raise ArtifactError(f"{where} is not a JSON object")
    return value


def check_description(value: dict[str, Any], spec: StateSpec, actions: int, where: str) -> None:
    """Check that what corrtool wrote into a file is of states and actions of a task.

    Raises:
        ArtifactError: it is not, or cannot be understood.
    """
    if value.get("corrtool_memory") != 1:
        raise ArtifactError(
            f"{where} has a description that this version cannot read", "update corrtool"
        )
    try:
        states = StateSpec.from_json(value["states"])
    except (KeyError, ValueError, AttributeError):
        raise ArtifactError(
            f"{where} does not say what its states are", "export it again"
        ) from None
    if states != spec:
        raise ArtifactError(
            f"{where} has states of {states}, and those of the task are {spec}",
            "import it in a project with the same preprocessing",
        )
    if value.get("actions") != actions:
        raise ArtifactError(
            f"{where} is of {value.get('actions')} actions, and the task has {actions}",
            "give the other --task",
        )
