"""The journal: a growing replay memory that survives its process."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.made_up_lanes import CPU, MadeUpLanes

from corrtool.errors import ArtifactError
from corrtool.memory import MemoryJournal, ReplayMemory
from corrtool.runs.checkpoints import load_checkpoint, save_checkpoint
from corrtool.states import StateSpec

STACK = 3
SPEC = StateSpec("vector", (2,), STACK)
GAMMA = 0.5


def new_memory(slots: int, lanes: int = 2) -> ReplayMemory:
    return ReplayMemory(SPEC, lanes, slots, CPU)


def save(journal: MemoryJournal, memory: ReplayMemory, directory: Path) -> None:
    """A checkpoint of the journal's state, as a run writes it."""
    directory.mkdir(exist_ok=True)
    save_checkpoint(directory / "checkpoint", journal.save(memory))
    journal.prune()


def load(directory: Path, slots: int, lanes: int = 2) -> tuple[MemoryJournal, ReplayMemory]:
    """What a new process makes of the last checkpoint."""
    journal = MemoryJournal(directory / "journal", load_checkpoint(directory / "checkpoint"))
    memory = new_memory(slots, lanes)
    journal.load(memory)
    journal.prune()
    return journal, memory


def blocks(directory: Path) -> set[str]:
    return {path.name for path in (directory / "journal").iterdir()}


def assert_same_past(resumed: ReplayMemory, lanes: MadeUpLanes, slots: int) -> None:
    """All that is still held is as it was played.

    Only the newest transitions were truncated.
    """
    written = len(lanes.history)
    assert resumed.slots_written == written
    for slot in range(0 if written <= slots else written - slots + STACK - 1, written):
        at = np.arange(lanes.count) + slot % slots * lanes.count
        seen = lanes.history[slot]
        assert torch.equal(resumed.states(at), seen.states)
        if slot < written - 1:
            for name in ("actions", "rewards", "terminated", "valid"):
                assert np.array_equal(resumed.fields[name][at], getattr(seen, name)), name
            cut_off = slot == written - 2
            truncated = seen.truncated | (seen.valid & ~seen.terminated & cut_off)
            assert np.array_equal(resumed.fields["truncated"][at], truncated)
        else:
            assert not resumed.fields["valid"][at].any()


@settings(deadline=None, max_examples=10)
@given(
    st.integers(0, 1000), st.lists(st.integers(0, 14), min_size=1, max_size=3), st.integers(5, 12)
)
def test_a_memory_comes_back_however_often_it_was_saved(
    tmp_path_factory: pytest.TempPathFactory, seed: int, plays: list[int], slots: int
) -> None:
    """Also where the ring has overwritten a part of a block, or a whole one.

    Also where it has overwritten everything since the last save.
    """
    directory = tmp_path_factory.mktemp("run")
    memory, journal = new_memory(slots), MemoryJournal(directory / "journal")
    lanes = MadeUpLanes(SPEC, 2, seed, longest=5)
    for steps in plays:
        lanes.play(steps, memory)
        save(journal, memory, directory)
    _, resumed = load(directory, slots)
    assert_same_past(resumed, lanes, slots)


def test_what_was_played_after_the_checkpoint_is_forgotten(tmp_path: Path) -> None:
    memory, journal = new_memory(20), MemoryJournal(tmp_path / "journal")
    lanes = MadeUpLanes(SPEC, 2).play(8, memory)
    save(journal, memory, tmp_path)
    lanes.play(5, memory)
    journal.save(memory)  # the process dies before the checkpoint that would name this block
    assert len(blocks(tmp_path)) == 2
    del lanes.history[9:]
    _, resumed = load(tmp_path, 20)
    assert_same_past(resumed, lanes, 20)
    assert blocks(tmp_path) == {"0-8.zarr"}


def test_only_new_slots_are_written(tmp_path: Path) -> None:
    memory, journal = new_memory(40), MemoryJournal(tmp_path / "journal")
    lanes = MadeUpLanes(SPEC, 2)
    for steps in (5, 0, 7):
        lanes.play(steps, memory)
        save(journal, memory, tmp_path)
    assert blocks(tmp_path) == {"0-5.zarr", "5-12.zarr"}


def test_blocks_that_the_ring_has_overwritten_go(tmp_path: Path) -> None:
    memory, journal = new_memory(10), MemoryJournal(tmp_path / "journal")
    lanes = MadeUpLanes(SPEC, 2)
    for _ in range(6):
        lanes.play(4, memory)
        save(journal, memory, tmp_path)
    # 25 slots were written, of which the ring holds 15 to 24; 24 is open.
    assert blocks(tmp_path) == {"12-16.zarr", "16-20.zarr", "20-24.zarr"}


def test_nothing_is_deleted_before_the_new_checkpoint_is_there(tmp_path: Path) -> None:
    memory, journal = new_memory(6), MemoryJournal(tmp_path / "journal")
    lanes = MadeUpLanes(SPEC, 2).play(5, memory)
    journal.save(memory)
    lanes.play(12, memory)
    journal.save(memory)
    assert "0-5.zarr" in blocks(tmp_path)
    journal.prune()
    assert blocks(tmp_path) == {"12-17.zarr"}


def test_what_a_killed_process_left_half_written_goes(tmp_path: Path) -> None:
    memory, journal = new_memory(20), MemoryJournal(tmp_path / "journal")
    MadeUpLanes(SPEC, 2).play(5, memory)
    save(journal, memory, tmp_path)
    (tmp_path / "journal" / ".5-9.partial").mkdir()
    load(tmp_path, 20)
    assert blocks(tmp_path) == {"0-5.zarr"}


def test_before_anything_was_played_there_is_nothing_to_load(tmp_path: Path) -> None:
    memory, journal = new_memory(20), MemoryJournal(tmp_path / "journal")
    lanes = MadeUpLanes(SPEC, 2)
    lanes.reset(memory)
    save(journal, memory, tmp_path)
    _, resumed = load(tmp_path, 20)
    assert resumed.slots_written == 1
    assert torch.equal(resumed.states(np.array([0, 1])), lanes.history[0].states)


@pytest.mark.parametrize("damage", ["missing block", "missing file", "changed file"])
def test_a_damaged_block_is_refused(tmp_path: Path, damage: str) -> None:
    memory, journal = new_memory(20), MemoryJournal(tmp_path / "journal")
    MadeUpLanes(SPEC, 2).play(5, memory)
    save(journal, memory, tmp_path)
    block = tmp_path / "journal" / "0-5.zarr"
    if damage == "missing block":
        shutil.rmtree(block)
    elif damage == "missing file":
        (block / "rewards" / "c" / "0").unlink()
    else:
        (block / "rewards" / "c" / "0").write_bytes(b"something else")
    with pytest.raises(ArtifactError, match=r"0-5\.zarr"):
        load(tmp_path, 20)


class TestEpisodesBeforeAResumption:
    """The emulators start anew, so nothing that follows belongs to what was played before."""

    def resume(self, directory: Path, lanes: MadeUpLanes) -> tuple[MemoryJournal, ReplayMemory]:
        journal, memory = load(directory, 60, lanes.count)
        lanes._steps[:], lanes._over[:] = 0, False
        lanes.reset(memory)
        return journal, memory

    def interrupt(self, directory: Path, times: int) -> tuple[ReplayMemory, MadeUpLanes, list[int]]:
        """Six steps of one endless episode, then a new process, ``times`` times.

        Gives the last slots played in each.
        """
        memory, journal = new_memory(60, 1), MemoryJournal(directory / "journal")
        lanes, last_slots = MadeUpLanes(SPEC, 1, longest=10**9), []
        for _ in range(times):
            lanes.play(6, memory)
            last_slots.append(len(lanes.history) - 2)
            save(journal, memory, directory)
            journal, memory = self.resume(directory, lanes)
        lanes.play(6, memory)
        return memory, lanes, last_slots

    @pytest.mark.parametrize("times", [1, 2, 3])
    def test_end_in_a_truncation(self, tmp_path: Path, times: int) -> None:
        memory, _, last_slots = self.interrupt(tmp_path, times)
        assert np.flatnonzero(memory.fields["truncated"]).tolist() == last_slots

    @pytest.mark.parametrize("times", [1, 2, 3])
    def test_have_no_return_that_reaches_beyond_their_end(self, tmp_path: Path, times: int) -> None:
        memory, lanes, last_slots = self.interrupt(tmp_path, times)
        for last in last_slots:
            batch = memory._transitions(np.array([last - 1]), 3, GAMMA, clip_rewards=False)
            rewards = [lanes.history[slot].rewards[0] for slot in (last - 1, last)]
            assert batch.returns.item() == rewards[0] + GAMMA * rewards[1]
            assert batch.discounts.item() == GAMMA**2
            assert torch.equal(batch.next_states[0], lanes.history[last + 1].states[0])
            assert not batch.terminated.item()  # a truncation bootstraps

    def test_do_not_show_in_the_states_after_it(self, tmp_path: Path) -> None:
        memory, lanes, last_slots = self.interrupt(tmp_path, 2)
        for last in last_slots:
            for slot in range(last, last + 5):
                assert torch.equal(
                    memory.states(np.array([slot]))[0], lanes.history[slot].states[0]
                )
