"""Memories on disk: what is written is what was played, all of it, and it takes little room."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.made_up_lanes import CPU, MadeUpLanes

from corrtool.errors import ArtifactError
from corrtool.memory import MemoryRows, MemoryWriter, ReplayMemory, read_rows, storage, write_rows
from corrtool.memory.rows import FIELDS
from corrtool.project.manifests import Manifest
from corrtool.states import StateSpec
from corrtool.tasks import Lanes, parse_task

IMAGES = StateSpec("image", (1, 3, 2), 3)
VECTORS = StateSpec("vector", (2,), 2)
NO_LIMIT = 10**9


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "CHUNK_BYTES", 60)


def files(path: Path) -> set[str]:
    return {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}


def assert_rows_are_the_play(rows: MemoryRows, lanes: MadeUpLanes) -> None:
    """Every slot of the play, and of the last one what was seen."""
    history = lanes.history
    assert np.array_equal(rows.frames, np.concatenate([slot.frames for slot in history]))
    assert np.array_equal(
        rows.fields["episode_steps"], np.concatenate([slot.episode_steps for slot in history])
    )
    done = len(rows.frames) - rows.lanes
    for name in ("actions", "rewards", "terminated", "truncated", "valid"):
        assert np.array_equal(
            rows.fields[name][:done], np.concatenate([getattr(s, name) for s in history[:-1]])
        ), name
        assert not rows.fields[name][done:].any()


def assert_equal_rows(one: MemoryRows, other: MemoryRows) -> None:
    assert (one.spec, one.lanes) == (other.spec, other.lanes)
    assert one.frames.dtype == other.frames.dtype
    assert np.array_equal(one.frames, other.frames)
    for name in FIELDS:
        assert one.fields[name].dtype == other.fields[name].dtype == FIELDS[name]
        assert np.array_equal(one.fields[name], other.fields[name]), name


class TestMemoryWriter:
    @settings(
        deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        st.sampled_from([IMAGES, VECTORS]),
        st.integers(1, 4),
        st.integers(1, 12),
        st.integers(0, 1000),
    )
    def test_what_is_read_is_what_was_played(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        spec: StateSpec,
        count: int,
        steps: int,
        seed: int,
    ) -> None:
        path = tmp_path_factory.mktemp("memory") / "m.zarr"
        writer = MemoryWriter(path, spec, count)
        lanes = MadeUpLanes(spec, count, seed, longest=4).play(steps, writer, limit=NO_LIMIT)
        description = writer.finish()
        rows = read_rows(path, description)
        assert_rows_are_the_play(rows, lanes)
        assert description["records"] == writer.records == rows.records

    def test_a_memory_from_disk_gives_the_states_that_were_seen(self, tmp_path: Path) -> None:
        writer = MemoryWriter(tmp_path, IMAGES, 2)
        lanes = MadeUpLanes(IMAGES, 2, longest=4).play(20, writer, limit=NO_LIMIT)
        memory = ReplayMemory.from_rows(read_rows(tmp_path, writer.finish()), CPU)
        for slot, seen in enumerate(lanes.history):
            assert memory.states(np.array([2 * slot, 2 * slot + 1])).equal(seen.states)

    @pytest.mark.parametrize("limit", [1, 7, 20, 21, 22])
    def test_never_holds_more_records_than_asked_for(self, tmp_path: Path, limit: int) -> None:
        writer, lanes = MemoryWriter(tmp_path, VECTORS, 4), MadeUpLanes(VECTORS, 4, longest=5)
        while writer.records < limit:
            lanes.play(1, writer, limit=limit)
        rows = read_rows(tmp_path, writer.finish())
        assert rows.records == limit
        # The first so many transitions, slot by slot and lane by lane.
        played = np.concatenate([slot.valid for slot in lanes.history[:-1]])
        assert (
            np.flatnonzero(rows.fields["valid"]).tolist() == np.flatnonzero(played)[:limit].tolist()
        )

    def test_frames_go_to_disk_in_chunks_of_whole_slots(self, tmp_path: Path) -> None:
        # 6 bytes a frame, 4 lanes: 24 bytes a slot, so that two slots, 8 rows, fill a chunk of at
        # most 60 bytes.
        writer = MemoryWriter(tmp_path, IMAGES, 4)
        lanes = MadeUpLanes(IMAGES, 4).play(18, writer, limit=NO_LIMIT)  # 19 slots
        # Eight chunks are written at once, and a checkpoint writes every chunk that is full.
        assert {name for name in files(tmp_path) if "/c/" in name} == {
            f"frames/c/{n}/0/0/0" for n in range(8)
        }
        assert len(writer.state()["pending"]) == 4
        assert {name for name in files(tmp_path) if "/c/" in name} == {
            f"frames/c/{n}/0/0/0" for n in range(9)
        }
        writer.finish()
        frames = zarr.open_array(tmp_path / "frames", mode="r")
        assert (frames.chunks, frames.shape) == ((8, 1, 3, 2), (76, 1, 3, 2))
        assert np.array_equal(frames[:], np.concatenate([slot.frames for slot in lanes.history]))

    def test_a_frame_larger_than_a_chunk_has_a_chunk_of_its_own(self, tmp_path: Path) -> None:
        spec = StateSpec("image", (1, 10, 10))
        writer = MemoryWriter(tmp_path, spec, 1)
        lanes = MadeUpLanes(spec, 1).play(2, writer, limit=NO_LIMIT)
        assert_rows_are_the_play(read_rows(tmp_path, writer.finish()), lanes)
        assert zarr.open_array(tmp_path / "frames", mode="r").chunks == (1, 1, 10, 10)

    def test_chunks_of_zeros_are_written_as_well(self, tmp_path: Path) -> None:
        """A chunk that is not there would read as zeros, so a lost one could not be told."""
        zeros: dict[str, np.ndarray] = {name: np.zeros(24, dtype) for name, dtype in FIELDS.items()}
        write_rows(tmp_path, MemoryRows(IMAGES, 4, np.zeros((24, 1, 3, 2), np.uint8), zeros))
        chunks = {f"frames/c/{n}/0/0/0" for n in range(3)} | {f"{name}/c/0" for name in FIELDS}
        assert {name for name in files(tmp_path) if "/c/" in name} == chunks


class TestResumption:
    def interrupted(
        self, path: Path, before: int, lost: int, after: int
    ) -> tuple[MemoryWriter, MadeUpLanes, int]:
        """A writer whose process died ``lost`` steps after its checkpoint.

        Gives its successor's play as well.

        Also gives back how many rows there were at the checkpoint.
        """
        writer, lanes = MemoryWriter(path, IMAGES, 2), MadeUpLanes(IMAGES, 2, longest=4)
        lanes.play(before, writer, limit=NO_LIMIT)
        state = writer.state()
        state = {
            **state,
            "pending": state["pending"].copy(),
            "fields": {k: v.copy() for k, v in state["fields"].items()},
        }
        lanes.play(lost, writer, limit=NO_LIMIT)
        del lanes.history[before + 1 :]
        resumed = MemoryWriter(path, IMAGES, 2, state)
        lanes._steps[:], lanes._over[:] = 0, False
        lanes.reset(resumed)
        lanes.play(after, resumed, limit=NO_LIMIT)
        return resumed, lanes, len(state["fields"]["valid"])

    @pytest.mark.parametrize(
        "before, lost", [(0, 0), (1, 0), (9, 0), (9, 1), (9, 11), (10, 11), (11, 30), (14, 3)]
    )
    def test_keeps_what_the_checkpoint_knew_and_drops_what_came_after(
        self, tmp_path: Path, before: int, lost: int
    ) -> None:
        writer, lanes, rows_before = self.interrupted(tmp_path, before, lost, after=9)
        description = writer.finish()
        rows = read_rows(tmp_path, description)
        assert description["records"] == rows.records == writer.records

        # The open slot of the checkpoint stays, as what the last transitions led to; nothing was
        # done in it.
        open_slot = lanes.history[before]
        for name in ("actions", "rewards", "terminated", "truncated", "valid"):
            setattr(open_slot, name, np.zeros(2, FIELDS[name]))
        if before:  # what follows does not belong to these episodes
            last = lanes.history[before - 1]
            last.truncated = last.truncated | (last.valid & ~last.terminated)
        assert rows_before == 2 * (before + 1)
        assert_rows_are_the_play(rows, lanes)

    def test_twice_ends_the_episodes_of_both_times(self, tmp_path: Path) -> None:
        writer, lanes = MemoryWriter(tmp_path, VECTORS, 3), MadeUpLanes(VECTORS, 3, longest=10**9)
        for _ in range(3):
            if lanes.history:
                writer = MemoryWriter(tmp_path, VECTORS, 3, writer.state())
                lanes.reset(writer)
            lanes.play(4, writer, limit=NO_LIMIT)
        rows = read_rows(tmp_path, writer.finish())
        # Slots 0-3 and the open slot 4, then 5-8 and 9, then 10-13 and 14.
        assert np.flatnonzero(rows.fields["truncated"].reshape(-1, 3).all(axis=1)).tolist() == [
            3,
            8,
        ]
        assert np.flatnonzero(~rows.fields["valid"].reshape(-1, 3).any(axis=1)).tolist() == [
            4,
            9,
            14,
        ]
        assert rows.fields["episode_steps"].reshape(-1, 3)[:, 0].tolist() == [0, 1, 2, 3, 4] * 3

    @pytest.mark.parametrize("lost", ["", "zarr.json", "frames/zarr.json", "frames/c/0/0/0/0"])
    def test_without_what_was_on_disk_is_refused(self, tmp_path: Path, lost: str) -> None:
        writer = MemoryWriter(tmp_path / "lost", IMAGES, 2)
        MadeUpLanes(IMAGES, 2).play(9, writer, limit=NO_LIMIT)
        state, gone = writer.state(), tmp_path / "lost" / lost
        if lost:
            gone.unlink()
        else:
            shutil.rmtree(gone)
        with pytest.raises(ArtifactError, match=r"lost.* is damaged"):
            MemoryWriter(tmp_path / "lost", IMAGES, 2, state)


class TestWriteAndReadRows:
    @pytest.mark.parametrize(
        "spec", [IMAGES, VECTORS, StateSpec("image", (1, 2, 2), 4, (1, 3, 0, 2))]
    )
    def test_round_trip(self, tmp_path: Path, spec: StateSpec) -> None:
        memory = ReplayMemory(spec, 3, 12, CPU)
        MadeUpLanes(spec, 3).play(30, memory)
        rows = memory.newest_records(15)
        description = json.loads(json.dumps(write_rows(tmp_path, rows)))
        assert_equal_rows(read_rows(tmp_path, description), rows)
        assert description["records"] == 15

    def test_are_read_and_written_in_parts_of_which_somebody_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(storage, "CHUNK_BYTES", 1)  # a slot each
        monkeypatch.setattr(storage, "_READ_CHUNKS", 2)
        memory = ReplayMemory(VECTORS, 2, 12, CPU)
        written: list[int] = []
        read: list[int] = []
        MadeUpLanes(VECTORS, 2).play(6, memory)
        rows = memory.slot_range(0, 7)
        description = write_rows(tmp_path, rows, written.append)
        assert_equal_rows(read_rows(tmp_path, description, read.append), rows)
        assert written == [2] * 7 and read == [4, 4, 4, 2]

    def test_plain_zarr_reads_them(self, tmp_path: Path) -> None:
        memory = ReplayMemory(VECTORS, 1, 9, CPU)
        MadeUpLanes(VECTORS, 1).play(8, memory)
        rows = memory.newest_records(5)
        write_rows(tmp_path, rows)
        arrays = {name: array[:] for name, array in zarr.open_group(tmp_path, mode="r").arrays()}
        assert arrays.keys() == {"frames", *FIELDS}
        assert np.array_equal(np.asarray(arrays["frames"]), rows.frames)
        assert np.array_equal(np.asarray(arrays["rewards"]), rows.fields["rewards"])

    def test_replace_what_was_at_their_place(self, tmp_path: Path) -> None:
        for steps in (30, 5):
            memory = ReplayMemory(VECTORS, 1, 40, CPU)
            MadeUpLanes(VECTORS, 1, longest=10**9).play(steps, memory)
            description = write_rows(tmp_path, memory.newest_records(100))
        assert read_rows(tmp_path, description).records == 5

    @pytest.mark.parametrize(
        "change",
        [
            {"rows": 9},
            {"lanes": 4},
            {"states": StateSpec("vector", (3,), 2).to_json()},
            {"states": IMAGES.to_json()},
            {"states": {"kind": "sound"}},
        ],
    )
    def test_a_manifest_that_does_not_fit_is_refused(
        self, tmp_path: Path, change: Manifest
    ) -> None:
        memory = ReplayMemory(VECTORS, 1, 20, CPU)
        MadeUpLanes(VECTORS, 1, longest=10**9).play(9, memory)
        description = write_rows(tmp_path, memory.newest_records(100))
        assert description["rows"] == 10
        other: Manifest = {**description, **change}
        with pytest.raises(ArtifactError):
            read_rows(tmp_path, other)

    @pytest.mark.parametrize("name", ["frames", "valid", "episode_steps"])
    def test_an_array_that_is_missing_is_an_artifact_error(self, tmp_path: Path, name: str) -> None:
        memory = ReplayMemory(VECTORS, 1, 20, CPU)
        MadeUpLanes(VECTORS, 1).play(9, memory)
        description = write_rows(tmp_path, memory.newest_records(100))
        (tmp_path / name / "zarr.json").unlink()
        with pytest.raises(ArtifactError, match=str(tmp_path)):
            read_rows(tmp_path, description)

    def test_a_chunk_that_was_changed_is_an_artifact_error(self, tmp_path: Path) -> None:
        memory = ReplayMemory(VECTORS, 1, 20, CPU)
        MadeUpLanes(VECTORS, 1).play(9, memory)
        description = write_rows(tmp_path, memory.newest_records(100))
        chunk = tmp_path / "frames" / "c" / "0" / "0"
        content = bytearray(chunk.read_bytes())
        content[len(content) // 2] ^= 1
        chunk.write_bytes(content)
        with pytest.raises(ArtifactError):
            read_rows(tmp_path, description)

    def test_a_directory_that_is_no_memory_is_an_artifact_error(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError):
            read_rows(tmp_path / "nowhere", {"rows": 1, "lanes": 1, "states": VECTORS.to_json()})


def test_a_record_of_pong_takes_less_than_a_kilobyte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "CHUNK_BYTES", 1 << 20)
    random = np.random.default_rng(0)
    with Lanes(parse_task("target", {"id": "ALE/Pong-v5"}, tmp_path), 4) as lanes:
        writer = MemoryWriter(tmp_path / "m", lanes.spec, 4)
        writer.open_slot(lanes.reset([0, 1, 2, 3]))
        while writer.records < 400:
            actions = random.integers(0, lanes.actions, 4)
            writer.record(actions, lanes.step(actions), limit=400)
        writer.finish()
    size = sum((tmp_path / "m" / name).stat().st_size for name in files(tmp_path / "m"))
    assert size / 400 < 1000
