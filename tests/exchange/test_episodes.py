"""Memories as episodes: what goes out comes back, wherever it was cut."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from support.exchange import ACTIONS, joined, memories, transitions_of
from support.made_up_lanes import CPU, fast

from corrtool.errors import ArtifactError
from corrtool.exchange.episodes import (
    Episode,
    MemoryEpisodes,
    check_episode,
    check_observations,
    observation_shape,
    to_frames,
    to_observations,
)
from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.memory.rows import FIELDS
from corrtool.states import StateSpec

PAIRS = StateSpec("vector", (1,), 2)


def memory(spec: StateSpec, lanes: int, frames: list[float], **fields: list[float]) -> MemoryRows:
    values = np.array(frames, np.float32)[:, None]
    given: dict[str, np.ndarray] = {
        name: np.zeros(len(frames), dtype) for name, dtype in FIELDS.items()
    }
    given |= {name: np.array(fields[name], FIELDS[name]) for name in fields}
    return MemoryRows(spec, lanes, values, given)


class TestSplitting:
    def test_an_episode_is_its_steps_and_what_the_last_led_to(self) -> None:
        # Two steps that end the game, what it ended with, and one step of the next game.
        rows = memory(
            PAIRS,
            1,
            [1, 2, 3, 7, 8],
            valid=[1, 1, 0, 1, 0],
            terminated=[0, 1, 0, 0, 0],
            rewards=[0, 5, 0, 1, 0],
            actions=[4, 3, 0, 2, 0],
            episode_steps=[0, 1, 2, 0, 1],
        )
        first, second = MemoryEpisodes(rows)
        assert first.observations[:, 0].tolist() == [1, 2, 3]
        assert first.actions.tolist() == [4, 3] and first.rewards.tolist() == [0, 5]
        assert first.terminated.tolist() == [False, True]
        assert (first.first_step, first.context) == (0, 0)
        assert second.observations[:, 0].tolist() == [7, 8]
        assert not second.terminated.any() and not second.truncated.any()  # cut, not ended

    def test_a_ring_that_lost_the_beginning_leaves_the_frames_of_the_first_state(self) -> None:
        rows = memory(
            PAIRS, 1, [5, 6, 7], valid=[0, 1, 0], actions=[1, 2, 0], episode_steps=[9, 10, 11]
        )
        (episode,) = MemoryEpisodes(rows)
        assert episode.observations[:, 0].tolist() == [5, 6, 7]
        assert (episode.first_step, episode.context) == (9, 1)
        (state,) = ReplayMemory.from_rows(joined([episode], PAIRS), CPU).states(np.array([1]))
        assert state.tolist() == [5, 6]

    def test_lanes_are_in_the_order_in_which_their_episodes_began(self) -> None:
        # Lane 0 begins at slot 1, lane 1 at slot 0.
        rows = memory(
            StateSpec("vector", (1,), 1),
            2,
            [0, 10, 1, 11, 2, 12],
            valid=[0, 1, 1, 0, 0, 0],
            episode_steps=[0, 0, 0, 1, 1, 0],
        )
        assert [e.observations[0, 0] for e in MemoryEpisodes(rows)] == [10, 1]

    def test_those_without_a_beginning_come_first(self) -> None:
        """Else the rewards of one would count for the game before it."""
        rows = memory(
            StateSpec("vector", (1,), 1),
            2,
            [0, 0, 1, 11, 2, 12],
            valid=[1, 0, 1, 1, 0, 0],
            episode_steps=[0, 0, 1, 7, 2, 8],
        )
        assert [e.first_step for e in MemoryEpisodes(rows)] == [7, 0]

    @pytest.mark.parametrize("valid", [[0, 0, 1], [1, 0, 0]])
    def test_a_transition_without_its_frames_is_refused(self, valid: list[float]) -> None:
        rows = memory(PAIRS, 1, [1, 2, 3], valid=valid, episode_steps=[3, 4, 5])
        with pytest.raises(ArtifactError, match="lacks frames"):
            MemoryEpisodes(rows)

    @fast
    @given(memories())
    def test_every_transition_comes_back(self, rows: MemoryRows) -> None:
        assume(rows.records)
        episodes = list(MemoryEpisodes(rows))
        for episode in episodes:
            check_episode(episode, rows.spec, ACTIONS, "it")
        assert transitions_of(joined(episodes, rows.spec)) == transitions_of(rows)

    @fast
    @given(memories(gaps=False))
    def test_so_does_every_whole_game(self, rows: MemoryRows) -> None:
        assume(rows.records)
        back = joined(list(MemoryEpisodes(rows)), rows.spec)
        before, after = (ReplayMemory.from_rows(r, CPU).game_returns() for r in (rows, back))
        assert sorted(after) == sorted(before)


class TestObservations:
    @pytest.mark.parametrize(
        ("spec", "shape"),
        [
            (StateSpec("image", (1, 84, 84), 4), (84, 84)),
            (StateSpec("image", (4, 10, 9)), (10, 9, 4)),
            (StateSpec("vector", (3,), 2), (3,)),
            (StateSpec("signal", (2, 16)), (2, 16)),
        ],
        ids=str,
    )
    def test_are_single_frames_with_channels_last(
        self, spec: StateSpec, shape: tuple[int, ...]
    ) -> None:
        size = 2 * int(np.prod(spec.frame_shape))
        frames = (np.arange(size) % 256).reshape(2, *spec.frame_shape)
        frames = frames.astype(str(spec.frame_dtype).removeprefix("torch."))
        shown = to_observations(spec, frames)
        assert shown.shape[1:] == observation_shape(spec) == shape
        assert np.array_equal(to_frames(spec, shown), frames)
        assert np.array_equal(to_frames(spec, frames), frames)  # channels first are fine as well
        check_observations(spec, shape, shown.dtype, "it")

    def test_of_one_channel_may_say_so(self) -> None:
        spec = StateSpec("image", (1, 2, 3))
        shown = np.arange(12, dtype=np.uint8).reshape(2, 2, 3, 1)
        check_observations(spec, (2, 3, 1), shown.dtype, "it")
        assert to_frames(spec, shown).reshape(-1).tolist() == list(range(12))

    @pytest.mark.parametrize(
        ("shape", "dtype", "said"),
        [
            ((210, 160, 3), "uint8", r"\(210, 160, 3\), and a frame of the task has \(84, 84\)"),
            ((4, 84, 84), "uint8", r"\(4, 84, 84\)"),
            ((84, 84), "float32", "float32, and the task's are uint8"),
            ((84, 84), "bool", "bool"),
        ],
    )
    def test_that_are_others_are_refused_with_both_shapes(
        self, shape: tuple[int, ...], dtype: str, said: str
    ) -> None:
        spec = StateSpec("image", (1, 84, 84), 4)
        with pytest.raises(ArtifactError, match=said):
            check_observations(spec, shape, np.dtype(dtype), "it")


class TestChecks:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"observations": [[0.0], [1.0]]}, "2 observations for 2 steps"),
            ({"actions": [0, 5]}, "takes action 5, and the task has actions 0 to 4"),
            ({"actions": [-1, 0]}, "takes action -1"),
            ({"rewards": [0.0, np.nan]}, "reward that is not a finite number"),
            ({"rewards": [0.0, 1e300]}, "reward that is not a finite number"),
            ({"observations": [[0.0], [np.inf], [0.0]]}, "observation that is not a finite"),
            ({"terminated": [True, False]}, "goes on after its end at step 0"),
            ({"truncated": [True, True]}, "goes on after its end at step 0"),
            ({"first_step": 3}, "without the 1 frames before its first"),
            ({"first_step": -1}, "begins at step -1"),
            ({"context": 2}, "2 steps of context"),
            ({"first_step": 2**31}, "begins at step"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, change: dict[str, object], said: str) -> None:
        values: dict[str, object] = {
            "observations": [[0.0], [1.0], [2.0]],
            "actions": [0, 1],
            "rewards": [0.0, 1.0],
            "terminated": [False, False],
            "truncated": [False, False],
        }
        values |= change
        at = [int(str(values.pop(name, 0))) for name in ("first_step", "context")]
        arrays: Any = {name: np.array(value) for name, value in values.items()}
        episode = Episode(**arrays, first_step=at[0], context=at[1])
        with pytest.raises(ArtifactError, match=said):
            check_episode(episode, PAIRS, ACTIONS, "it")

    def test_an_episode_without_steps_is_refused(self) -> None:
        empty = np.zeros(0, np.int64)
        episode = Episode(np.zeros((1, 1)), empty, empty, empty > 0, empty > 0)
        with pytest.raises(ArtifactError, match="has no steps"):
            check_episode(episode, PAIRS, ACTIONS, "it")
