"""The checksum over a dataset that corrtool wrote: whatever of it changes is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.exchange import ACTIONS, description_of, play
from support.made_up_lanes import CPU

from corrtool.errors import ArtifactError
from corrtool.exchange.episodes import MemoryEpisodes
from corrtool.exchange.minari import open_minari, write_minari
from corrtool.exchange.minari_metadata import sealed
from corrtool.memory import ReplayMemory
from corrtool.states import StateSpec

h5py = pytest.importorskip("h5py")
pytest.importorskip("minari")

PAIR = StateSpec("vector", (2,), 3)
AGAIN = "; export the memory again with --overwrite, or restore it from a copy"
Metadata = dict[str, Any]


def read(directory: Path) -> int:
    """How many episodes are read and checked."""
    with open_minari(directory, PAIR, ACTIONS) as foreign:
        return len(list(foreign.episodes))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A dataset of episodes of a ring that has lost its beginning."""
    memory = ReplayMemory(PAIR, 2, 12, CPU)
    play(memory, 30)
    rows = memory.newest_records(100)
    return write_minari(tmp_path, "m", MemoryEpisodes(rows), PAIR, description_of(rows))


def edit(made: Path, change: Callable[[Metadata], object]) -> None:
    path = made / "data" / "metadata.json"
    metadata = json.loads(path.read_text())
    change(metadata)
    path.write_text(json.dumps(metadata))


def anonymous(metadata: Metadata) -> None:
    """Nothing in the metadata says that corrtool wrote it."""
    for key in ("corrtool", "corrtool_sha256", "dataset_id"):
        del metadata[key]


def test_it_is_of_what_is_said_and_of_the_files() -> None:
    digests = {"main_data.hdf5": "ab"}
    whole = sealed({"a": 1, "b": 2}, digests)
    assert whole == sealed({"b": 2, "a": 1, "corrtool_sha256": "…", "author": ["me"]}, digests)
    assert whole != sealed({"a": 1, "b": 3}, digests) != sealed({"a": 1}, digests)
    assert whole != sealed({"a": 1, "b": 2}, {"main_data.hdf5": "ac"})


def test_a_whole_one_is_read_also_with_its_author(made: Path) -> None:
    assert read(made) > 2
    edit(made, lambda metadata: metadata.update(author=["me"], algorithm_name="DQN"))
    assert read(made) > 2


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.update(total_episodes=m["total_episodes"] - 1),
        lambda m: m.update(total_episodes=0),
        lambda m: m.update(total_steps=m["total_steps"] + 1),
        lambda m: m.update(description="something else"),
        lambda m: m["corrtool"].update(play="agent"),
        lambda m: m.pop("corrtool"),
        lambda m: m.update(corrtool_sha256=None),
        lambda m: m.update(corrtool_sha256="0" * 64),
    ],
    ids=["fewer", "none", "steps", "words", "player", "no description", "null", "wrong"],
)
def test_metadata_that_changed_since(made: Path, change: Callable[[Metadata], object]) -> None:
    edit(made, change)
    with pytest.raises(ArtifactError) as refused:
        read(made)
    said = f"{made / 'data'} is damaged: it is not what corrtool wrote{AGAIN}"
    assert str(refused.value) == said and refused.value.exit_code == 3


@pytest.mark.parametrize("also", [[], ["corrtool"]], ids=["named so", "by its id"])
def test_one_of_corrtool_without_it(made: Path, also: list[str]) -> None:
    for key in ("corrtool_sha256", *also):
        edit(made, lambda metadata, key=key: metadata.pop(key))  # type: ignore[misc]
    with pytest.raises(ArtifactError) as refused:
        read(made)
    said = f"{made / 'data'} says that corrtool wrote it, and has no corrtool_sha256"
    assert str(refused.value) == f"{said}{AGAIN}" and refused.value.exit_code == 3


def of_value(file: Any) -> None:
    value = file["episode_1"]["rewards"][0]
    file["episode_1"]["rewards"][0] = value + 1


def swapped(file: Any) -> None:
    for old, new in (("episode_0", "x"), ("episode_1", "episode_0"), ("x", "episode_1")):
        file.move(old, new)


@pytest.mark.parametrize(
    "change",
    [
        of_value,
        swapped,
        lambda file: file["episode_1"].attrs.pop("corrtool_sha256"),
        lambda file: [file[f"episode_{k}"].attrs.pop("corrtool_sha256") for k in (0, 1)],
        lambda file: file["episode_1"].attrs.modify("corrtool_cut", 1),
        lambda file: file["episode_1"].attrs.modify("total_steps", 1),
    ],
    ids=["value", "swapped", "no checksum", "none of two", "cut", "Minari's own"],
)
def test_episodes_that_changed_since(made: Path, change: Callable[[Any], object]) -> None:
    """All of them make sense, so that nothing but the checksum tells."""
    with h5py.File(made / "data" / "main_data.hdf5", "r+") as file:
        change(file)
    with pytest.raises(ArtifactError, match="is damaged: it is not what corrtool wrote"):
        read(made)


class TestOneThatDoesNotSayItIsCorrtools:
    """Its episodes still have checksums of their own, which are compared where they are."""

    @pytest.mark.parametrize("name", ["observations", "actions", "rewards"])
    def test_a_value_that_changed_since(self, made: Path, name: str) -> None:
        edit(made, anonymous)
        assert read(made) > 2
        with h5py.File(made / "data" / "main_data.hdf5", "r+") as file:
            value = file["episode_1"][name][0]
            file["episode_1"][name][0] = 1 - np.clip(value, 0, 1)
        with pytest.raises(ArtifactError, match=r"episode 1 is damaged"):
            read(made)

    @pytest.mark.parametrize("mark", ["corrtool_context", "corrtool_first_step"])
    def test_a_mark_that_changed_since(self, made: Path, mark: str) -> None:
        edit(made, anonymous)
        with h5py.File(made / "data" / "main_data.hdf5", "r+") as file:
            file["episode_1"].attrs[mark] += 1
        with pytest.raises(ArtifactError, match=r"episode 1 (is damaged|begins within)"):
            read(made)
