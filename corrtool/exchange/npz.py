"""Memories as one ``.npz`` file, for NumPy alone.

======================  =================  ====================================================
array                   shape              what it is
======================  =================  ====================================================
``frames``              (T + E, …)         single frames, episode after episode, uint8 or float32
``actions``             (T,)               integers
``rewards``             (T,)               not clipped
``terminations``        (T,)               whether the step ended the episode
``truncations``         (T,)               whether it was cut off there, by a time limit
``episode_lengths``     (E,)               steps n of each episode, which has n + 1 frames
``first_steps``         (E,)               steps before its first frame; may be left out
``context_steps``       (E,)               steps at its beginning that are no transitions; likewise
``description``         ()                 JSON, as corrtool writes it; likewise
``episodes_sha256``     ()                 SHA-256 of all episodes, with a description
======================  =================  ====================================================

Nothing in it is pickled. What is read is not trusted: ``numpy.load`` would make arrays of any size
that a header claims, so every header is compared with the others before anything is made.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from corrtool.errors import ArtifactError
from corrtool.exchange.episodes import (
    Episode,
    MemoryEpisodes,
    check_bytes_fit,
    check_episode,
    check_observations,
    check_rows_fit,
    observation_dtype,
    observation_shape,
)
from corrtool.exchange.sources import (
    MAX_DESCRIPTION,
    Description,
    ForeignMemory,
    check_description,
    parse_description,
    reading,
)
from corrtool.files.atomic import publish_file, regular_file, sha256_of_file
from corrtool.files.staging import staged_beside
from corrtool.states import StateSpec

FRAMES, DESCRIPTION, SHA256 = "frames", "description", "episodes_sha256"
AGAIN = "export the memory again with --overwrite, or save what you changed without a description"
_STEP_ARRAYS = {  # by the field of a memory that they are
    "actions": "actions",
    "rewards": "rewards",
    "terminated": "terminations",
    "truncated": "truncations",
}
_KINDS = {  # of the types that are read, by NumPy's letters
    "actions": "iu",
    "rewards": "fiub",
    "terminations": "b",
    "truncations": "b",
    "episode_lengths": "iu",
    "first_steps": "iu",
    "context_steps": "iu",
}
_OPTIONAL = ("first_steps", "context_steps", DESCRIPTION)


def write_npz(
    path: Path,
    episodes: MemoryEpisodes,
    spec: StateSpec,
    description: Description,
    advance: Callable[[int], None] = lambda steps: None,
) -> None:
    """Write a memory to ``path``, of whose frames one episode is copied at a time.

    ``advance`` is called with how many more steps are written.
    """
    with staged_beside(path) as staged:
        with zipfile.ZipFile(staged, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            with archive.open(f"{FRAMES}.npy", "w", force_zip64=True) as file:
                frames = int(episodes.lengths.sum()) + len(episodes)
                _write_header(file, (frames, *observation_shape(spec)), observation_dtype(spec))
                digests = []
                for episode in episodes:
                    file.write(np.ascontiguousarray(episode.observations).data)
                    digests.append(episode.sha256())
                    advance(len(episode.actions))
            for field, name in _STEP_ARRAYS.items():
                _write(archive, name, episodes.field(field))
            _write(archive, "episode_lengths", episodes.lengths)
            _write(archive, "first_steps", episodes.first_steps)
            _write(archive, "context_steps", episodes.contexts)
            _write(archive, DESCRIPTION, np.array(json.dumps(description)))
            _write(archive, SHA256, np.array(_sha256(digests)))
        publish_file(staged, path)


def _sha256(digests: list[str]) -> str:
    """Of the checksums of all episodes, in order: the zip's own know no intent."""
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    npy.write_array_header_1_0(
        file,
        {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape},
    )


def _write(archive: zipfile.ZipFile, name: str, values: NDArray[Any]) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        npy.write_array(file, values, allow_pickle=False)


class _Array:
    """An array of an open archive, of which only the header was read."""

    def __init__(self, file: IO[bytes], where: str) -> None:
        self._file, self.where = file, where
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
        version = npy.read_magic(self._file)
        if version not in read:
            raise ArtifactError(f"{self.where} is in version {version} of NumPy's format")
        self.shape, fortran, self.dtype = cast(Any, read[version](self._file))
        if self.dtype.hasobject or fortran or any(size < 0 for size in self.shape):
            what = "Python objects" if self.dtype.hasobject else "columns first, or no shape"
            raise ArtifactError(f"{self.where} has {what}, which is not read", "save plain arrays")

    def read(self, count: int, row_shape: tuple[int, ...] = ()) -> NDArray[Any]:
        """The next ``count`` rows (count, *row_shape)."""
        size = count * math.prod(row_shape) * self.dtype.itemsize
        content = self._file.read(size)
        if len(content) != size:
            raise ArtifactError(f"{self.where} is shorter than its header says")
        return np.frombuffer(content, self.dtype).reshape(count, *row_shape)

    def end(self) -> None:
        """Read to the end, where the checksum is compared."""
        if self._file.read(1):
            raise ArtifactError(f"{self.where} is longer than its header says")


@dataclass(frozen=True)
class _Archive:
    """An open file, and what is closed with it."""

    path: Path
    file: zipfile.ZipFile
    held: ExitStack

    def array(self, name: str) -> _Array:
        """One of its arrays, of which the header is read."""
        return _Array(
            self.held.enter_context(self.file.open(f"{name}.npy")), f"{self.path}: {name}"
        )


@contextmanager
def _open_archive(path: Path) -> Iterator[_Archive]:
    with ExitStack() as held:
        with reading(path, ".npz"):
            file = held.enter_context(zipfile.ZipFile(regular_file(path)))
        yield _Archive(path, file, held)


@contextmanager
def open_npz(path: Path, spec: StateSpec, actions: int) -> Iterator[ForeignMemory]:
    """Open a file for a task with these states and so many actions.

    Raises:
        ArtifactError: it is missing or damaged, is no such file, or does not fit the task.
    """
    with _open_archive(path) as archive:
        with reading(path, ".npz"):
            opened = _opened(archive, spec, actions)
        yield opened


def npz_description(path: Path) -> dict[str, Any]:
    """What corrtool wrote into a file; empty where it wrote nothing.

    Raises :class:`ArtifactError`.
    """
    with _open_archive(path) as archive, reading(path, ".npz"):
        if f"{DESCRIPTION}.npy" not in archive.file.namelist():
            return {}
        return _description(archive.array(DESCRIPTION))


def _opened(archive: _Archive, spec: StateSpec, actions: int) -> ForeignMemory:
    """Check all headers, and read all arrays but the frames."""
    path, where, description = archive.path, str(archive.path), cast(Description, {})
    names = _names(archive)
    digest = None
    if DESCRIPTION in names:
        value = _description(archive.array(DESCRIPTION))
        check_description(value, spec, actions, where)
        description = cast(Description, value)
        if SHA256 not in names:
            raise ArtifactError(f"{where} says that corrtool wrote it, and has no {SHA256}", AGAIN)
        digest = _text(archive.array(SHA256))
    frames = archive.array(FRAMES)
    check_observations(spec, frames.shape[1:], frames.dtype, where)
    check_rows_fit(spec, frames.shape[0], where)
    count = _length(archive.array("episode_lengths"))
    steps = frames.shape[0] - count
    of_episodes = ("episode_lengths", "first_steps", "context_steps")
    values = {
        name: _field(archive.array(name), _KINDS[name], count if name in of_episodes else steps)
        for name in _KINDS
        if name in names
    }
    lengths = values["episode_lengths"]
    if count and (int(lengths.min()) < 1 or int(lengths.max()) > steps):
        raise ArtifactError(f"{where}: an episode has a length that cannot be", "save it again")
    if (total := int(lengths.sum(dtype=np.int64))) != steps:
        raise ArtifactError(
            f"{where} has {frames.shape[0]:,} frames, and {count:,} episodes of {total:,} steps in "
            f"all have {total + count:,}",
            "an episode of n steps needs n + 1 frames",
        )
    episodes = _episodes(path, frames, values, spec, actions)
    if digest is not None:
        episodes = _checked(episodes, digest, where)
    return ForeignMemory(path, sha256_of_file(path), description, steps, count, episodes)


def _names(archive: _Archive) -> list[str]:
    """The names of its arrays, which must be there once each."""
    names = [name.removesuffix(".npy") for name in archive.file.namelist()]
    required = (FRAMES, *(name for name in _KINDS if name not in _OPTIONAL))
    if missing := [name for name in required if name not in names]:
        raise ArtifactError(
            f"{archive.path} has no array {', '.join(missing)}",
            "docs/exchange.md lists what there must be",
        )
    if len(set(names)) != len(names):
        raise ArtifactError(f"{archive.path} has an array twice", "save it again")
    return names


def _length(array: _Array) -> int:
    if len(array.shape) != 1:
        raise ArtifactError(f"{array.where} has the shape {array.shape}, not one number an episode")
    return int(array.shape[0])


def _field(array: _Array, kinds: str, length: int) -> NDArray[Any]:
    """A small array, which must have ``length`` numbers of such kinds."""
    if array.shape != (length,):
        raise ArtifactError(
            f"{array.where} has the shape {array.shape}, and ({length},) is needed",
            "docs/exchange.md lists what there must be",
        )
    if array.dtype.kind not in kinds:
        raise ArtifactError(
            f"{array.where} has the type {array.dtype.name}",
            "docs/exchange.md lists what there must be",
        )
    check_bytes_fit(length * array.dtype.itemsize, array.where)
    values = array.read(length)
    array.end()
    return values


def _description(array: _Array) -> dict[str, Any]:
    return parse_description(_text(array), array.where)


def _text(array: _Array) -> str:
    if array.dtype.kind != "U" or array.shape or array.dtype.itemsize > MAX_DESCRIPTION:
        raise ArtifactError(f"{array.where} is not a text", "leave it out")
    values = array.read(1)
    array.end()
    return str(values[0])


def _checked(episodes: Iterator[Episode], digest: str, where: str) -> Iterator[Episode]:
    """The episodes, which after the last one must have been those that corrtool wrote."""
    digests = []
    for episode in episodes:
        digests.append(episode.sha256())
        yield episode
    if _sha256(digests) != digest:
        raise ArtifactError(f"{where} is damaged: it is not what corrtool wrote", AGAIN)


def _episodes(
    path: Path, frames: _Array, values: dict[str, NDArray[Any]], spec: StateSpec, actions: int
) -> Iterator[Episode]:
    """Read and check one after another."""
    zeros = np.zeros(len(values["episode_lengths"]), np.int64)
    first_steps = values.get("first_steps", zeros)
    contexts = values.get("context_steps", zeros)
    start = 0
    for number, length in enumerate(map(int, values["episode_lengths"])):
        part = slice(start, start + length)
        fields = {field: values[name][part] for field, name in _STEP_ARRAYS.items()}
        with reading(path, ".npz"):
            observations = frames.read(length + 1, frames.shape[1:])
        episode = Episode(
            observations,
            **fields,
            first_step=int(first_steps[number]),
            context=int(contexts[number]),
        )
        check_episode(episode, spec, actions, f"{frames.where}: episode {number}")
        yield episode
        start += length
    with reading(path, ".npz"):
        frames.end()
