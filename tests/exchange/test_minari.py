"""Memories as Minari datasets: what Minari reads, what comes back, and what is refused."""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import assume, given, settings
from support.exchange import ACTIONS, description_of, joined, memories, play, transitions_of
from support.made_up_lanes import CPU

from corrtool.errors import ArtifactError, UsageError
from corrtool.exchange.episodes import MemoryEpisodes
from corrtool.exchange.minari import open_minari, write_minari
from corrtool.exchange.minari_metadata import dataset_description, dataset_id, datasets_root
from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.runtime import free_memory
from corrtool.states import StateSpec

h5py = pytest.importorskip("h5py")
minari = pytest.importorskip("minari")

PAIR = StateSpec("vector", (2,), 3)
PICTURE = StateSpec("image", (1, 40, 36), 4)


def read(directory: Path, spec: StateSpec, actions: int = ACTIONS) -> MemoryRows:
    with open_minari(directory, spec, actions) as foreign:
        return joined(list(foreign.episodes), spec)


def written(root: Path, spec: StateSpec, steps: int = 30) -> tuple[Path, MemoryRows]:
    """A memory of a ring that has lost its beginning, as a dataset."""
    memory = ReplayMemory(spec, 2, 12, CPU)
    play(memory, steps)
    rows = memory.newest_records(100)
    return write_minari(
        root, "played.1", MemoryEpisodes(rows), spec, description_of(rows, "played.1")
    ), rows


def foreign(root: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Path:
    """A dataset that Minari's own function makes of two episodes of two steps."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    buffers = [
        minari.data_collector.EpisodeBuffer(
            observations=np.arange(6, dtype=np.float32).reshape(3, 2) + 10 * k,
            actions=np.array([0, 4]),
            rewards=np.array([1.0, -2.0]),
            terminations=np.array([False, k == 1]),
            truncations=np.array([False, k == 0]),
        )
        for k in range(2)
    ]
    given: dict[str, Any] = {
        "buffer": buffers,
        "observation_space": spaces.Box(-np.inf, np.inf, (2,), np.float32),
        "action_space": spaces.Discrete(ACTIONS),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no author, no code
        minari.create_dataset_from_buffers("theirs-v0", **(given | more))
    return root / "theirs-v0"


@settings(deadline=None, max_examples=15)
@given(memories())
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: MemoryRows
) -> None:
    assume(rows.records)
    root, described = tmp_path_factory.mktemp("minari"), description_of(rows)
    made = write_minari(root, "m", MemoryEpisodes(rows), rows.spec, described)
    assert transitions_of(read(made, rows.spec)) == transitions_of(rows)
    assert dataset_description(made) == described
    names = {path.name for path in made.parent.iterdir()}
    assert names == {"m-v0", "namespace_metadata.json"}


@pytest.mark.parametrize("spec", [PAIR, PICTURE], ids=str)
def test_minari_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: StateSpec) -> None:
    """Single frames without loss, n + 1 of them, and every episode with an end."""
    made, rows = written(tmp_path, spec)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    assert dataset_id("played.1") == "corrtool/played_1-v0"
    assert made == tmp_path / "corrtool" / "played_1-v0" and datasets_root() == tmp_path
    assert list(minari.list_local_datasets()) == ["corrtool/played_1-v0"]
    dataset = minari.load_dataset("corrtool/played_1-v0")
    episodes = list(MemoryEpisodes(rows))
    assert dataset.total_episodes == len(episodes)
    for theirs, ours in zip(dataset.iterate_episodes(), episodes, strict=True):
        assert np.array_equal(theirs.observations, ours.observations)
        assert theirs.observations.dtype == ours.observations.dtype
        assert len(theirs.observations) == len(theirs.actions) + 1
        assert theirs.terminations[-1] or theirs.truncations[-1]
    cuts = [m["corrtool_cut"] for m in dataset.storage.get_episode_metadata(range(len(episodes)))]
    assert cuts == [int(not (e.terminated[-1] or e.truncated[-1])) for e in episodes]
    assert 1 in cuts and 0 in cuts
    said = dataset.storage.metadata["description"]
    assert f"K = {spec.stack}" in said and "zero before the first frame" in said


def test_what_minari_made_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = foreign(tmp_path, monkeypatch)
    for named in (made, made / "data", Path("theirs-v0")):
        rows = read(named, PAIR)
        assert rows.frames[:, 0].tolist() == [0, 2, 4, 10, 12, 14]
        assert rows.fields["valid"].tolist() == [True, True, False] * 2
        assert np.flatnonzero(rows.fields["truncated"]).tolist() == [1]
        assert np.flatnonzero(rows.fields["terminated"]).tolist() == [4]
    with open_minari(made, PAIR, ACTIONS) as opened:
        assert opened.description == {} and opened.path == made
    assert dataset_description(made) == {}


def test_single_precision_is_made_of_double(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = foreign(tmp_path, monkeypatch)
    with h5py.File(made / "data" / "main_data.hdf5", "a") as file:
        values = file["episode_0/observations"][()].astype(np.float64)
        del file["episode_0/observations"]
        file["episode_0/observations"] = values
    assert read(made, PAIR).frames.dtype == np.float32


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of somebody else, to break."""
    return foreign(tmp_path, monkeypatch)


class TestRefused:
    def test_jpegs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        picture = np.random.default_rng(0).integers(0, 256, (3, 40, 36), dtype=np.uint8)
        buffer = minari.data_collector.EpisodeBuffer(
            observations=picture,
            actions=np.array([0, 4]),
            rewards=np.zeros(2),
            terminations=np.array([False, True]),
            truncations=np.array([False, False]),
        )
        space = spaces.Box(0, 255, (40, 36), np.uint8)
        made = foreign(tmp_path, monkeypatch, buffer=[buffer], observation_space=space)
        with pytest.raises(ArtifactError, match="holds JPEGs"):
            read(made, PICTURE)

    def test_other_formats(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.edit(foreign(tmp_path, monkeypatch), data_format="zarr")
        with pytest.raises(ArtifactError, match="stored as 'zarr'"):
            read(tmp_path / "theirs-v0", PAIR)

    @pytest.mark.parametrize(
        ("space", "said"),
        [
            ({"type": "Box"}, "the space Box"),
            ({"type": "Discrete", "n": 5, "start": 1}, "counted from 0"),
            ({"type": "Discrete", "n": 4, "start": 0}, "has 4 actions, and the task has 5"),
        ],
    )
    def test_other_actions(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: dict[str, Any], said: str
    ) -> None:
        self.edit(foreign(tmp_path, monkeypatch), action_space=json.dumps(space))
        with pytest.raises(ArtifactError, match=said):
            read(tmp_path / "theirs-v0", PAIR)

    @pytest.mark.parametrize(
        "change",
        [
            {"total_episodes": 3},
            {"total_episodes": -1},
            {"total_episodes": "2"},
            {"action_space": None},
            {"action_space": "{"},
            {"corrtool": [1]},
            {"corrtool": {"corrtool_memory": 2}},
        ],
        ids=str,
    )
    def test_metadata_that_make_no_sense(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
    ) -> None:
        self.edit(foreign(tmp_path, monkeypatch), **change)
        with pytest.raises(ArtifactError) as refused:
            read(tmp_path / "theirs-v0", PAIR)
        assert refused.value.exit_code == 3

    def test_states_of_another_shape(self, made: Path) -> None:
        with pytest.raises(
            ArtifactError, match=r"episode 0 has .* shape \(2,\), and a frame of the task has \(3,"
        ):
            read(made, StateSpec("vector", (3,)))

    @pytest.mark.parametrize("name", ["observations", "actions", "rewards", "truncations"])
    def test_links_out_of_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        made, place = foreign(tmp_path, monkeypatch), f"episode_1/{name}"
        other = tmp_path / "other.hdf5"
        with h5py.File(made / "data" / "main_data.hdf5", "a") as file:
            with h5py.File(other, "w") as elsewhere:
                elsewhere["x"] = file[place][()]
            del file[place]
            file[place] = h5py.ExternalLink(str(other), "x")
        with pytest.raises(ArtifactError, match=f"episode 1 has no array {name}"):
            read(made, PAIR)

    def test_an_episode_that_is_a_link(self, made: Path) -> None:
        with h5py.File(made / "data" / "main_data.hdf5", "a") as file:
            del file["episode_1"]
            file["episode_1"] = h5py.SoftLink("/episode_0")
        with pytest.raises(ArtifactError, match="episode 1 is not there"):
            read(made, PAIR)

    def test_values_in_other_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = foreign(tmp_path, monkeypatch)
        secret = tmp_path / "secret"
        secret.write_bytes(bytes(24))
        with h5py.File(made / "data" / "main_data.hdf5", "a") as file:
            del file["episode_0/observations"]
            file["episode_0"].create_dataset(
                "observations", (3, 2), np.float32, external=[(str(secret), 0, 24)]
            )
        with pytest.raises(ArtifactError, match="observations is stored in another file"):
            read(made, PAIR)

    def test_virtual_arrays(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        made = foreign(tmp_path, monkeypatch)
        with h5py.File(made / "data" / "main_data.hdf5", "a") as file:
            del file["episode_0/observations"]
            layout = h5py.VirtualLayout((3, 2), np.float32)
            layout[:] = h5py.VirtualSource(str(tmp_path / "x.hdf5"), "x", (3, 2))
            file["episode_0"].create_virtual_dataset("observations", layout)
        with pytest.raises(ArtifactError, match="observations is stored in another file"):
            read(made, PAIR)

    def test_arrays_that_were_never_written(self, made: Path) -> None:
        """They take a hundred bytes, and are read as terabytes of zeros."""
        with h5py.File(made / "data" / "main_data.hdf5", "a") as file:
            del file["episode_0/observations"]
            file["episode_0"].create_dataset("observations", (2**40, 2), np.float32)
        with pytest.raises(ArtifactError, match="was never written"):
            read(made, PAIR)

    def test_more_than_the_free_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = foreign(tmp_path, monkeypatch)
        monkeypatch.setattr(free_memory, "_available_memory", lambda: 100)
        with pytest.raises(ArtifactError, match="claims to hold"):
            read(made, PAIR)

    def test_chunks_that_take_more_than_the_free_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = foreign(tmp_path, monkeypatch)
        with h5py.File(made / "data" / "main_data.hdf5", "a") as file:
            values = file["episode_0/observations"][()]
            del file["episode_0/observations"]
            file["episode_0"].create_dataset(
                "observations", data=values, chunks=(10**6, 2), maxshape=(None, 2), compression=1
            )
        assert (made / "data" / "main_data.hdf5").stat().st_size < 100_000
        monkeypatch.setattr(free_memory, "_available_memory", lambda: 10**6)
        with pytest.raises(ArtifactError, match="claims to hold"):
            read(made, PAIR)

    @pytest.mark.parametrize(
        ("name", "values", "said"),
        [
            ("actions", np.array([0, 9]), "takes action 9"),
            ("actions", np.array([0.0, 1.0]), "actions of the shape"),
            ("rewards", np.array([0.0, np.nan]), "reward that is not a finite number"),
            ("rewards", np.zeros(3), r"rewards of the shape \(3,\)"),
            ("terminations", np.array([True, False]), "goes on after its end"),
            ("terminations", np.array([0, 1]), "terminations of the shape"),
            ("observations", np.full((3, 2), np.nan, np.float32), "observation that is not"),
            ("observations", np.zeros((2, 2), np.float32), "and 2 observations"),
        ],
    )
    def test_values_that_make_no_sense(
        self, made: Path, name: str, values: np.ndarray, said: str
    ) -> None:
        with h5py.File(made / "data" / "main_data.hdf5", "a") as file:
            del file[f"episode_1/{name}"]
            file[f"episode_1/{name}"] = values
        with pytest.raises(ArtifactError, match=said):
            read(made, PAIR)

    def test_marks_that_corrtool_did_not_write(self, made: Path) -> None:
        with h5py.File(made / "data" / "main_data.hdf5", "a") as file:
            file["episode_0"].attrs["corrtool_context"] = "many"
        with pytest.raises(ArtifactError, match="metadata that corrtool did not write"):
            read(made, PAIR)

    @pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", bytes(2000)])
    def test_what_is_no_hdf5(self, made: Path, content: bytes) -> None:
        (made / "data" / "main_data.hdf5").write_bytes(content)
        with pytest.raises(ArtifactError, match="cannot be read as HDF5"):
            read(made, PAIR)

    def test_what_is_not_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "none"))
        with pytest.raises(ArtifactError, match="there is no Minari dataset"):
            read(Path("nobody/nothing-v0"), PAIR)
        assert not (tmp_path / "none").exists()

    def edit(self, made: Path, **change: Any) -> None:
        path = made / "data" / "metadata.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(h5py.Group, "create_dataset", fail)
    with pytest.raises(OSError, match="disk full"):
        written(tmp_path, PAIR)
    assert list((tmp_path / "corrtool").iterdir()) == []


@pytest.mark.parametrize("package", ["h5py", "minari"])
def test_a_missing_package_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError) as refused:
        written(tmp_path, PAIR)
    assert str(refused.value) == (f"Minari datasets need {package}; pip install 'corrtool[minari]'")
    assert list(tmp_path.iterdir()) == []
