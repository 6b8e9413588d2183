"""Memories as .npz: what is written comes back, and a file that lies is refused."""

import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from support.exchange import ACTIONS, description_of, joined, memories, play, transitions_of
from support.made_up_lanes import CPU, fast

from corrtool.errors import ArtifactError
from corrtool.exchange.episodes import MemoryEpisodes
from corrtool.exchange.npz import npz_description, open_npz, write_npz
from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.runtime import free_memory
from corrtool.states import StateSpec

PAIR = StateSpec("vector", (2,), 3)


def read(path: Path, spec: StateSpec, actions: int = ACTIONS) -> MemoryRows:
    with open_npz(path, spec, actions) as foreign:
        return joined(list(foreign.episodes), spec)


def arrays(**change: Any) -> dict[str, Any]:
    """Two episodes of two steps and of one, as somebody else would save them."""
    plain = {
        "frames": np.arange(10, dtype=np.float32).reshape(5, 2),
        "actions": np.array([0, 4, 1]),
        "rewards": np.array([0.0, 1.0, -1.0]),
        "terminations": np.array([False, True, False]),
        "truncations": np.array([False, False, True]),
        "episode_lengths": np.array([2, 1]),
    }
    return {name: value for name, value in (plain | change).items() if value is not None}


def saved(path: Path, **change: Any) -> Path:
    np.savez(path, allow_pickle=True, **arrays(**change))
    return path


def claiming(path: Path, name: str, header: dict[str, Any], content: bytes = b"") -> Path:
    """The same with an array whose header claims something else than what follows."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for array, values in arrays().items():
            file = io.BytesIO()
            if array == name:
                np.lib.format.write_array_header_1_0(file, header)
                file.write(content)
            else:
                np.save(file, values)
            archive.writestr(f"{array}.npy", file.getvalue())
    return path


@fast
@given(memories())
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: MemoryRows
) -> None:
    assume(rows.records)
    path = tmp_path_factory.mktemp("npz") / "m.npz"
    episodes, described = MemoryEpisodes(rows), description_of(rows)
    write_npz(path, episodes, rows.spec, described)
    with open_npz(path, rows.spec, ACTIONS) as foreign:
        back = joined(list(foreign.episodes), rows.spec)
        assert foreign.description == described
        assert (foreign.count, foreign.steps) == (len(episodes), episodes.lengths.sum())
    assert transitions_of(back) == transitions_of(rows)
    assert [file.name for file in path.parent.iterdir()] == ["m.npz"]


def test_numpy_alone_reads_it(tmp_path: Path) -> None:
    memory = ReplayMemory(PAIR, 2, 30, CPU)
    play(memory, 29)
    rows = memory.newest_records(40)
    episodes = MemoryEpisodes(rows)
    write_npz(tmp_path / "m.npz", episodes, PAIR, description_of(rows))
    with np.load(tmp_path / "m.npz", allow_pickle=False) as file:
        lengths = file["episode_lengths"]
        assert file["frames"].shape == (lengths.sum() + len(lengths), 2)
        assert file["frames"].dtype == np.float32
        first = next(iter(episodes))
        assert np.array_equal(file["frames"][: lengths[0] + 1], first.observations)
        assert np.array_equal(file["actions"][: lengths[0]], first.actions)
        assert file["terminations"].dtype == file["truncations"].dtype == bool
        described = json.loads(str(file["description"]))
    assert described["stack"] == 3 and described["padding"].startswith("zero")
    assert described == npz_description(tmp_path / "m.npz")


@pytest.mark.parametrize(
    "change",
    [
        lambda there: {**there, "rewards": there["rewards"] + 1},
        lambda there: {**there, "frames": there["frames"][::-1]},
        lambda there: {name: there[name] for name in there if name != "episodes_sha256"},
        lambda there: {**there, "episodes_sha256": np.array("0" * 64)},
    ],
)
def test_what_was_changed_does_not_pass_for_what_corrtool_wrote(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    memory = ReplayMemory(PAIR, 2, 30, CPU)
    play(memory, 29)
    rows = memory.newest_records(40)
    write_npz(tmp_path / "m.npz", MemoryEpisodes(rows), PAIR, description_of(rows))
    with np.load(tmp_path / "m.npz") as file:
        there = dict(file)
    np.savez(tmp_path / "m.npz", **change(there))
    with pytest.raises(ArtifactError, match="export the memory again") as raised:
        read(tmp_path / "m.npz", PAIR)
    assert "corrtool wrote" in str(raised.value)
    np.savez(tmp_path / "m.npz", **{k: v for k, v in change(there).items() if k != "description"})
    assert len(read(tmp_path / "m.npz", PAIR).frames)  # nobody says that corrtool wrote it


def test_what_somebody_else_saved_is_read(tmp_path: Path) -> None:
    rows = read(saved(tmp_path / "m.npz"), PAIR)
    assert rows.frames.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert rows.fields["valid"].tolist() == [True, True, False, True, False]
    assert rows.fields["terminated"].tolist() == [False, True, False, False, False]
    assert rows.fields["truncated"].tolist() == [False, False, False, True, False]
    assert rows.fields["episode_steps"].tolist() == [0, 1, 2, 0, 1]
    assert npz_description(tmp_path / "m.npz") == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"actions": None}, "no array actions"),
        ({"actions": np.array([0, 1])}, r"shape \(2,\), and \(3,\) is needed"),
        ({"actions": np.array([0.0, 1.0, 2.0])}, "actions has the type float64"),
        ({"actions": np.array([0, 1, None])}, "Python objects"),
        ({"actions": np.array([0, 9, 0])}, "episode 0 takes action 9"),
        ({"rewards": np.array([0.0, np.nan, 0.0])}, "episode 0 has a reward that is not"),
        ({"rewards": np.array(["a", "b", "c"])}, "rewards has the type str"),
        ({"terminations": np.array([0, 1, 0])}, "terminations has the type int64"),
        ({"episode_lengths": np.array([3, 1])}, r"\(4,\)|has 5 frames"),
        ({"episode_lengths": np.array([4, -1])}, "a length that cannot be"),
        ({"episode_lengths": np.array([[2, 1]])}, "not one number an episode"),
        ({"frames": np.zeros((5, 3), np.float32)}, r"\(3,\), and a frame of the task has \(2,\)"),
        ({"frames": np.zeros((5, 2), np.int16)}, "int16, and the task's are float32"),
        ({"frames": np.full((5, 2), np.inf, np.float32)}, "observation that is not a finite"),
        ({"frames": np.asfortranarray(np.zeros((5, 2), np.float32))}, "columns first"),
        ({"description": np.array("{")}, "is not JSON"),
        ({"description": np.array("[]")}, "not a JSON object"),
        ({"description": np.array("{}")}, "this version cannot read"),
        ({"description": np.array('{"corrtool_memory": 1}')}, "what its states are"),
        ({"description": np.array(b"{}")}, "is not a text"),
        ({"first_steps": np.array([1, 0])}, "without the 2 frames"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArtifactError, match=said) as refused:
        read(saved(tmp_path / "m.npz", **change), PAIR)
    assert refused.value.exit_code == 3 and "\n" not in str(refused.value)


def test_of_other_states_or_actions_is_refused(tmp_path: Path) -> None:
    memory = ReplayMemory(PAIR, 1, 9, CPU)
    play(memory, 8)
    rows = memory.newest_records(9)
    write_npz(tmp_path / "m.npz", MemoryEpisodes(rows), PAIR, description_of(rows))
    with pytest.raises(ArtifactError, match="2 numbers, 3 stacked, and those of the task are 2"):
        read(tmp_path / "m.npz", StateSpec("vector", (2,), 4))
    with pytest.raises(ArtifactError, match="of 5 actions, and the task has 3"):
        read(tmp_path / "m.npz", PAIR, 3)


class TestLies:
    def header(self, *shape: int, descr: str = "<f4") -> dict[str, Any]:
        return {"descr": descr, "fortran_order": False, "shape": shape}

    @pytest.mark.parametrize("rows", [2**40, 10**30])
    def test_more_frames_than_memory_are_refused_unread(self, tmp_path: Path, rows: int) -> None:
        path = claiming(tmp_path / "m.npz", "frames", self.header(rows, 2))
        with pytest.raises(ArtifactError, match="claims to hold"):
            read(path, PAIR)

    def test_so_are_zeros_that_are_small_in_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """8 MB of zeros in 8 kB, where 1 MB is free."""
        zeros = bytes(8 * 10**6)
        path = claiming(tmp_path / "m.npz", "frames", self.header(10**6, 2), zeros)
        assert path.stat().st_size < 20_000
        monkeypatch.setattr(free_memory, "_available_memory", lambda: 10**6)
        tracemalloc.start()
        try:
            with pytest.raises(ArtifactError, match=r"claims to hold 0\.0 GB"):
                read(path, PAIR)
            assert tracemalloc.get_traced_memory()[1] < 10**6
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize(
        ("shape", "content", "said"),
        [
            ((5, 2), bytes(39), "shorter than its header"),
            ((5, 2), bytes(41), "longer than its header"),
            ((-5, 2), bytes(40), "cannot be read|which is not read|claims"),
        ],
    )
    def test_another_length_than_claimed_is_refused(
        self, tmp_path: Path, shape: tuple[int, ...], content: bytes, said: str
    ) -> None:
        path = claiming(tmp_path / "m.npz", "frames", self.header(*shape), content)
        with pytest.raises(ArtifactError, match=said):
            read(path, PAIR)

    def test_more_numbers_than_steps_are_refused_unread(self, tmp_path: Path) -> None:
        path = claiming(tmp_path / "m.npz", "rewards", self.header(2**40))
        with pytest.raises(ArtifactError, match=r"\(3,\) is needed"):
            read(path, PAIR)

    @pytest.mark.parametrize(
        "content", [b"", b"PK\x03\x04", b"\x93NUMPY", bytes(1000)], ids=["empty", "zip", "npy", "0"]
    )
    def test_what_is_no_archive_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "m.npz").write_bytes(content)
        with pytest.raises(ArtifactError, match=r"cannot be read as \.npz"):
            read(tmp_path / "m.npz", PAIR)

    def test_a_flipped_bit_is_found(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "m.npz")
        content = bytearray(path.read_bytes())
        at = content.index(arrays()["frames"].tobytes())
        content[at + 9] ^= 1
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="CRC"):
            read(path, PAIR)

    def test_headers_that_are_no_headers_are_refused(self, tmp_path: Path) -> None:
        for header in (b"(" * 200, b"{'descr': ", b"1 + 1", bytes(100), b"'''"):
            path = tmp_path / "m.npz"
            with zipfile.ZipFile(path, "w") as archive:
                for name, values in arrays().items():
                    file = io.BytesIO()
                    np.save(file, values)
                    lie = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
                    archive.writestr(f"{name}.npy", lie if name == "frames" else file.getvalue())
            with pytest.raises(ArtifactError, match=r"cannot be read as \.npz"):
                read(path, PAIR)

    def test_an_array_twice_is_refused(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "m.npz")
        with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("frames.npy", b"")
        with pytest.raises(ArtifactError, match="an array twice"):
            read(path, PAIR)

    def test_what_is_not_there_or_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="there is no file"):
            read(tmp_path / "m.npz", PAIR)
        with pytest.raises(ArtifactError, match="not a regular file"):
            read(tmp_path, PAIR)
