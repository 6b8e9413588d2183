"""Minari datasets in Arrow and Parquet: what Minari made is read, and what is refused."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from support.commands import run_in_process
from support.exchange import joined, transitions_of

from corrtool.errors import ArtifactError, UsageError
from corrtool.exchange import arrow_tables, episodes
from corrtool.exchange.minari import open_minari
from corrtool.exchange.parquet_footer import ColumnChunk
from corrtool.memory import MemoryRows
from corrtool.states import StateSpec

minari = pytest.importorskip("minari")
pyarrow = pytest.importorskip("pyarrow")
ipc = pytest.importorskip("pyarrow.ipc")
parquet = pytest.importorskip("pyarrow.parquet")

ACTIONS = 3
PAIR = StateSpec("vector", (2,), 3)
PICTURE = StateSpec("image", (1, 40, 36), 4)
CARTPOLE = StateSpec("vector", (4,), 1)
BOXES: dict[StateSpec, Any] = {
    CARTPOLE: spaces.Box(-np.inf, np.inf, (4,), np.float32),
    PAIR: spaces.Box(-np.inf, np.inf, (2,), np.float32),
    PICTURE: spaces.Box(0, 255, (40, 36), np.uint8),
}
FORMATS = ["arrow", "parquet"]


def dataset(
    root: Path, stored: str, spec: StateSpec = PAIR, jpeg: bool = False, actions: int = ACTIONS
) -> Path:
    """Two episodes, of two and three steps, as Minari's own function stores them."""
    rng, box = np.random.default_rng(0), BOXES[spec]
    buffers = [
        minari.data_collector.EpisodeBuffer(
            observations=rng.integers(0, 255, (steps + 1, *box.shape)).astype(box.dtype),
            actions=np.arange(steps) % actions,
            rewards=np.arange(steps) - 0.5,
            terminations=np.arange(steps) == (steps - 1 if steps == 2 else -1),
            truncations=np.arange(steps) == (steps - 1 if steps == 3 else -1),
        )
        for steps in (2, 3)
    ]
    with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no author, no code
        patched.setenv("MINARI_DATASETS_PATH", str(root.absolute()))
        minari.create_dataset_from_buffers(
            f"{stored}-v0",
            buffer=buffers,
            observation_space=box,
            action_space=spaces.Discrete(actions),
            data_format=stored,
            jpeg_encoding=jpeg,
        )
    return root / f"{stored}-v0"


def read(directory: Path, spec: StateSpec = PAIR) -> MemoryRows:
    with open_minari(directory, spec, ACTIONS) as foreign:
        return joined(list(foreign.episodes), spec)


def part(directory: Path, number: int = 0) -> Path:
    (found,) = (directory / "data" / str(number)).glob("part-0.*")
    return found


def rewrite(path: Path, table: Any, **how: Any) -> None:
    """Put another table in the place of an episode's."""
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
        return
    with ipc.new_file(path, table.schema, options=ipc.IpcWriteOptions(**how)) as file:
        file.write_table(table)


def table_of(path: Path) -> Any:
    if path.suffix == ".parquet":
        return parquet.read_table(path)
    return ipc.open_file(path.read_bytes()).read_all()


@pytest.mark.parametrize("stored", FORMATS)
@pytest.mark.parametrize("spec", [PAIR, PICTURE], ids=["vector", "picture"])
def test_they_hold_what_hdf5_holds(tmp_path: Path, stored: str, spec: StateSpec) -> None:
    rows = read(dataset(tmp_path, stored, spec), spec)
    assert rows.records == 5
    assert transitions_of(rows) == transitions_of(read(dataset(tmp_path, "hdf5", spec), spec))
    assert rows.fields["rewards"][:2].tolist() == [-0.5, 0.5]
    assert rows.fields["terminated"].sum() == rows.fields["truncated"].sum() == 1


@pytest.mark.parametrize("stored", FORMATS)
def test_marks_of_corrtool_are_kept(tmp_path: Path, stored: str) -> None:
    directory = dataset(tmp_path, stored)
    marks = directory / "data" / "1" / "metadata.json"
    said = json.loads(marks.read_text())
    marks.write_text(json.dumps(said | {"corrtool_context": 1, "corrtool_cut": 1}))
    with open_minari(directory, PAIR, ACTIONS) as foreign:
        before = foreign.sha256
        first, second = foreign.episodes
    assert (first.context, second.context) == (0, 1)
    assert not second.truncated.any()
    marks.write_text(json.dumps(said | {"corrtool_context": "1"}))
    with (
        pytest.raises(ArtifactError, match="metadata that corrtool did not write"),
        open_minari(directory, PAIR, ACTIONS) as foreign,
    ):
        assert foreign.sha256 != before, "it is of all files"
        list(foreign.episodes)


@pytest.mark.parametrize("stored", FORMATS)
def test_the_command_takes_it(
    tmp_path: Path, stored: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = tmp_path / "lab"
    assert run_in_process("init", lab, "--source", "CartPole-v1", "--quiet") == 0
    made = dataset(tmp_path, stored, CARTPOLE, actions=2)
    command = ("import", "memory", made, "--from", "minari", "--task", "source", "-p", lab)
    capsys.readouterr()
    assert run_in_process(*command, "--play", "random", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["records"], result["episodes"], result["state"]) == (5, 2, "written")
    assert run_in_process("verify", "-p", lab) == 0


class TestRefused:
    @pytest.fixture(params=FORMATS)
    def made(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        return dataset(tmp_path, request.param)

    def refused(self, made: Path, said: str, spec: StateSpec = PAIR) -> None:
        with pytest.raises(ArtifactError, match=said):
            read(made, spec)

    def test_pictures_that_lost_something(self, made: Path, tmp_path: Path) -> None:
        stored = part(made).suffix[1:]
        self.refused(dataset(tmp_path / "other", stored, PICTURE, jpeg=True), "JPEGs", PICTURE)

    def test_frames_of_another_task(self, made: Path) -> None:
        self.refused(made, r"of the shape \(2,\)", StateSpec("vector", (4,), 1))

    @pytest.mark.parametrize(
        ("space", "said"),
        [
            ({"type": "Dict"}, "the space Dict"),
            ({"type": "Box", "shape": [-2], "dtype": "float32"}, "the space Box"),
            ({"type": "Box", "shape": [2], "dtype": "no type"}, "cannot be read"),
            ({"type": "Box", "shape": [2], "dtype": "float64"}, "say 2 numbers of float64"),
        ],
    )
    def test_other_spaces(self, made: Path, space: dict[str, Any], said: str) -> None:
        path = made / "data" / "metadata.json"
        metadata = json.loads(path.read_text())
        path.write_text(json.dumps(metadata | {"observation_space": json.dumps(space)}))
        self.refused(made, said)

    @pytest.mark.parametrize("column", ["observations", "actions", "truncations"])
    def test_a_missing_column(self, made: Path, column: str) -> None:
        path = part(made)
        rewrite(path, table_of(path).drop_columns([column]))
        self.refused(made, f"has no column {column}")

    def test_another_type(self, made: Path) -> None:
        table = table_of(part(made))
        texts = pyarrow.array(["0"] * len(table))
        rewrite(part(made), table.set_column(1, "actions", texts))
        self.refused(made, "has actions of the type string")

    def test_missing_values(self, made: Path) -> None:
        table = table_of(part(made))
        holes = pyarrow.array([1.0, None, 2.0])
        rewrite(part(made), table.set_column(2, "rewards", holes))
        self.refused(made, "has no value in some rewards")
        lists = pyarrow.array([[1.0, None]] * 3, pyarrow.list_(pyarrow.float32(), 2))
        rewrite(part(made), table.set_column(0, "observations", lists))
        self.refused(made, "value is missing")

    def test_no_rows(self, made: Path) -> None:
        rewrite(part(made), table_of(part(made)).slice(0, 0))
        self.refused(made, "has no observation")

    def test_links_and_several_files(self, made: Path, tmp_path: Path) -> None:
        path = part(made)
        path.with_name(f"part-1{path.suffix}").write_bytes(path.read_bytes())
        self.refused(made, "is in several files: part-0")
        path.with_name(f"part-1{path.suffix}").unlink()
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        self.refused(made, "episode 0 is a link")
        path.unlink()
        self.refused(made, "there is no file")

    def test_more_than_there_is_room_for(self, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        table = table_of(part(made))
        many = pyarrow.concat_tables([table.slice(0, 1)] * 1).take(
            pyarrow.array(np.zeros(100_000, np.int64))
        )
        rewrite(part(made), many)
        monkeypatch.setattr(episodes, "free_bytes", lambda device: 1_000_000)
        self.refused(made, "claims to hold")

    def test_whatever_its_bytes_are_it_is_one_line(self, made: Path) -> None:
        path, rng = part(made), np.random.default_rng(0)
        content = path.read_bytes()
        damaged = [content[: int(size)] for size in rng.integers(0, len(content), 25)]
        for _ in range(150):
            changed = bytearray(content)
            for place in rng.integers(0, len(content), 3):
                changed[place] ^= int(rng.integers(1, 256))
            damaged.append(bytes(changed))
        errors = 0
        for bad in damaged:
            path.unlink()  # what is mapped keeps its bytes
            path.write_bytes(bad)
            try:
                read(made)  # what was changed may be a number
            except ArtifactError as error:
                assert "\n" not in str(error)
                errors += 1
        assert errors > 100


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_compressed_arrow_file_is_refused_before_it_is_unpacked(
    tmp_path: Path, codec: str
) -> None:
    made = dataset(tmp_path, "arrow")
    rewrite(part(made), table_of(part(made)), compression=codec)
    with pytest.raises(ArtifactError, match="episode 0 is compressed"):
        read(made)


@pytest.mark.parametrize(("place", "byte"), [(-1219, 27), (-779, 21), (-1121, 36)])
def test_what_ends_the_process_in_pyarrow_is_one_line(
    tmp_path: Path, place: int, byte: int
) -> None:
    path = part(dataset(tmp_path, "parquet", CARTPOLE))
    content = bytearray(path.read_bytes())
    content[place] = byte  # of the columns' histograms, or how many there should be
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="cannot be read as parquet"):
        read(path.parents[2], CARTPOLE)


def test_more_values_than_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = dataset(tmp_path, "parquet")
    lying = [ColumnChunk("infos", 3, 9, 1 << 60), ColumnChunk("actions", 3, 1 << 40, 9)]
    monkeypatch.setattr(arrow_tables, "column_chunks", lambda path: lying)
    with pytest.raises(ArtifactError, match="actions has another number of values than rows"):
        read(made)


def test_dictionaries_are_refused(tmp_path: Path) -> None:
    made = dataset(tmp_path, "arrow")
    table = table_of(part(made))
    words = pyarrow.array(["a", "b", "a"]).dictionary_encode()
    rewrite(part(made), table.append_column("infos", words))
    with pytest.raises(ArtifactError, match="has a dictionary in it"):
        read(made)


def test_other_columns_are_passed_over(tmp_path: Path) -> None:
    for stored in FORMATS:
        made = dataset(tmp_path, stored)
        before = transitions_of(read(made))
        table = table_of(part(made))
        rewrite(part(made), table.append_column("infos", pyarrow.array(["a", None, "c"])))
        assert transitions_of(read(made)) == before


def test_without_pyarrow_one_line_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = dataset(tmp_path, "arrow")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"or Parquet need pyarrow; pip install 'corrtool\[arrow"):
        read(made)
