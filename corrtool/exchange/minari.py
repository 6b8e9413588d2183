"""Memories as Minari datasets (extra ``minari``), https://minari.farama.org.

Minari stores an episode of n steps as n + 1 observations. Written are single frames, without JPEG,
whose losses are up to 37 of 255; how many make a state stands in the dataset's description. An
episode that the memory cuts off ends in a truncation there, as Minari wants it; metadata of the
episode say so, and how many steps at its beginning are no transitions.

A dataset is read with h5py alone, or with pyarrow (``arrow_tables``). Minari's own reader makes
the environment that the file names, follows links out of it, and allocates whatever it claims.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from corrtool.errors import ArtifactError
from corrtool.exchange.arrow_tables import open_tables
from corrtool.exchange.episodes import (
    Episode,
    MemoryEpisodes,
    check_episode,
    check_observations,
    check_rows_fit,
    observation_dtype,
    observation_shape,
)
from corrtool.exchange.hdf5 import plain_array, require
from corrtool.exchange.minari_metadata import (
    AGAIN,
    KEY,
    METADATA,
    SHA256,
    check_metadata,
    check_seal,
    dataset_id,
    datasets_root,
    read_metadata,
    sealed,
)
from corrtool.exchange.sources import (
    PADDING,
    Description,
    ForeignMemory,
    check_description,
    reading,
)
from corrtool.files.atomic import publish_directory, regular_file, sha256_of_file, write_atomic
from corrtool.files.staging import staged_beside
from corrtool.states import IMAGE, StateSpec

_DATA = "main_data.hdf5"
_FIRST_STEP, _CONTEXT, _CUT = "corrtool_first_step", "corrtool_context", "corrtool_cut"
_Stored = tuple[NDArray[Any], dict[str, NDArray[Any]], Mapping[str, Any]]
_Reader = Callable[[int], _Stored]  # an episode, by its number
_KINDS = {"actions": "iu", "rewards": "fiub", "terminations": "b", "truncations": "b"}


def write_minari(
    root: Path,
    name: str,
    episodes: MemoryEpisodes,
    spec: StateSpec,
    description: Description,
    advance: Callable[[int], None] = lambda steps: None,
) -> Path:
    """Write a memory to its place among the datasets in ``root``; returns its directory.

    One episode is copied at a time. ``advance`` is called with how many more steps are written.

    Raises:
        UsageError: Minari is not installed.
    """
    for module in ("h5py", "minari"):
        require(module)
    final = root / dataset_id(name)
    with staged_beside(final, directory=True) as staged:
        (staged / "data").mkdir(parents=True)
        storage = _new_storage(staged / "data", dataset_id(name), spec, description)
        marks: list[dict[str, Any]] = []
        storage.update_episodes(_buffers(episodes, marks, advance))
        storage.update_episode_metadata(marks)
        _seal(storage, staged / "data")
        publish_directory(staged, final)
    namespace = final.parent / "namespace_metadata.json"
    if not namespace.exists():
        write_atomic(namespace, b"{}")
    return final


def _new_storage(
    directory: Path, identifier: str, spec: StateSpec, description: Description
) -> Any:
    """What ``minari.create_dataset_from_buffers`` makes, in a directory of our own."""
    from gymnasium import spaces

    low, high = (0, 255) if spec.kind == IMAGE else (-np.inf, np.inf)
    storage = require("minari.dataset.minari_storage").MinariStorage.new(
        directory,
        observation_space=spaces.Box(
            low, high, observation_shape(spec), observation_dtype(spec).type
        ),
        action_space=spaces.Discrete(description["actions"]),
        data_format="hdf5",
        jpeg_encoding=False,
    )
    storage.update_metadata(
        {
            "dataset_id": identifier,
            "minari_version": require("minari").__version__,
            "description": _in_words(spec, description),
            KEY: description,
        }
    )
    return storage


def _buffers(
    episodes: MemoryEpisodes, marks: list[dict[str, Any]], advance: Callable[[int], None]
) -> Iterator[Any]:
    """Minari's episodes; ``marks`` gets what is to be added to the metadata of each."""
    buffer = require("minari.data_collector.episode_buffer").EpisodeBuffer
    for episode in episodes:
        truncated = episode.truncated.copy()
        cut = not (episode.terminated[-1] or truncated[-1])
        truncated[-1] |= cut
        marks.append(
            {
                _FIRST_STEP: episode.first_step,
                _CONTEXT: episode.context,
                _CUT: int(cut),
                SHA256: episode.sha256(),
            }
        )
        yield buffer(
            observations=np.ascontiguousarray(episode.observations),
            actions=episode.actions.astype(np.int64),
            rewards=episode.rewards,
            terminations=episode.terminated,
            truncations=truncated,
        )
        advance(len(episode.actions))


def _seal(storage: Any, directory: Path) -> None:
    """Add the checksum over a dataset, once all else of it is written."""
    digests = {_DATA: sha256_of_file(directory / _DATA)}
    storage.update_metadata({SHA256: sealed(read_metadata(directory), digests)})


def _in_words(spec: StateSpec, description: Description) -> str:
    """The description for people."""
    task = description.get("task")
    task = " ".join([str(task.get("id")), *task.get("views", [])]) if task else "a task"
    stack = description["stack"]
    return (
        f"Replay memory '{description['name']}' of corrtool: {description['transitions']} "
        f"transitions of {task}. Observations are single frames; a state is the last K = {stack} "
        f"of them, {PADDING}. Rewards are not clipped. Of each episode's metadata, {_CONTEXT} is "
        "how many steps at its beginning are there for the states after them only, and "
        f"{_CUT} is 1 where its last truncation is merely the end of the memory."
    )


@contextmanager
def open_minari(source: Path, spec: StateSpec, actions: int) -> Iterator[ForeignMemory]:
    """Open a dataset, given by its directory or its id, for a task.

    Raises:
        ArtifactError: it is missing or damaged, or does not fit the task.
        UsageError: h5py is not installed.
    """
    require("h5py")  # before a missing dataset is told; the extra `arrow` has it too
    directory = source if source.is_dir() else datasets_root() / source
    directory = directory / "data" if (directory / "data").is_dir() else directory
    metadata, where = read_metadata(directory), str(directory)
    check_metadata(metadata, actions, where)
    description = metadata.get(KEY, {})
    if KEY in metadata:
        check_description(description, spec, actions, where)
    count, stored = metadata["total_episodes"], metadata.get("data_format", "hdf5")
    with ExitStack() as held:
        read: _Reader
        if stored == "hdf5":
            file, steps = _open_hdf5(held, directory, metadata, spec)
            files, read = [_DATA], partial(_read_hdf5, file, directory / _DATA)
        else:
            tables = open_tables(directory, metadata, stored, spec)
            steps = sum(map(tables.steps, range(count)))
            files = [name for number in range(count) for name in tables.files(number)]
            read = tables.read
        check_rows_fit(spec, steps + count, where)
        with reading(directory, stored):
            digests = {name: sha256_of_file(directory / name) for name in files}
            check_seal(metadata, digests, where)
            digests[METADATA] = sha256_of_file(directory / METADATA)
        yield ForeignMemory(
            directory.parent if directory.name == "data" else directory,
            hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest(),
            cast(Description, description),
            steps,
            count,
            _episodes(read, where, count, spec, actions),
        )


def _open_hdf5(
    held: ExitStack, directory: Path, metadata: dict[str, Any], spec: StateSpec
) -> tuple[Any, int]:
    """The file of a dataset, which ``held`` closes, after checking all headers; and its steps."""
    h5py, path = require("h5py"), directory / _DATA
    with reading(path, "HDF5"):
        file = held.enter_context(h5py.File(regular_file(path), "r"))
        episodes = range(metadata["total_episodes"])
        return file, sum(_check_header(file, k, spec, metadata, str(directory)) for k in episodes)


def _check_header(
    file: Any, number: int, spec: StateSpec, metadata: dict[str, Any], where: str
) -> int:
    """Check the arrays of an episode without reading them; returns its steps."""
    where = f"{where}: episode {number}"
    observations = plain_array(file, f"episode_{number}", "observations", where)
    if metadata.get("jpeg_encoding", True) and observations.dtype.hasobject | (
        len(observations.shape) == 2 and spec.kind == IMAGE
    ):
        raise ArtifactError(
            f"{where} holds JPEGs, which are not what was played",
            "make the dataset with jpeg_encoding=False",
        )
    check_observations(spec, observations.shape[1:], observations.dtype, where)
    steps = observations.shape[0] - 1
    for name, kinds in _KINDS.items():
        array = plain_array(file, f"episode_{number}", name, where)
        if array.shape not in ((steps,), (steps, 1)) or array.dtype.kind not in kinds:
            raise ArtifactError(
                f"{where} has {name} of the shape {array.shape} and the type {array.dtype}, and "
                f"{steps + 1} observations",
                "it cannot be imported",
            )
    return int(steps)


def _read_hdf5(file: Any, path: Path, number: int) -> _Stored:
    """The observations of an episode, its other arrays, and what was added to it."""
    with reading(path, "HDF5"):
        group = file[f"episode_{number}"]
        values = {name: group[name][()].reshape(-1) for name in _KINDS}
        return group["observations"][()], values, group.attrs


def _episodes(
    read: _Reader, where: str, count: int, spec: StateSpec, actions: int
) -> Iterator[Episode]:
    """Read and check one after another."""
    for number in range(count):
        observations, values, added = read(number)
        where_it_is = f"{where}: episode {number}"
        with reading(Path(where), "HDF5"):
            first_step, context, cut = (
                _mark(added.get(name, 0), where_it_is) for name in (_FIRST_STEP, _CONTEXT, _CUT)
            )
        if cut and len(values["truncations"]):
            values["truncations"][-1] = False
        episode = Episode(
            observations,
            values["actions"],
            values["rewards"],
            values["terminations"],
            values["truncations"],
            first_step,
            context,
        )
        check_episode(episode, spec, actions, where_it_is)
        if added.get(SHA256) not in (None, episode.sha256()):
            raise ArtifactError(f"{where_it_is} is damaged: it is not what corrtool wrote", AGAIN)
        yield episode


def _mark(value: Any, where: str) -> int:
    if not isinstance(value, int | np.integer):
        raise ArtifactError(f"{where} has metadata that corrtool did not write")
    return int(value)
