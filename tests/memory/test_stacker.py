"""The states of games under way: their last frames, and nothing before an episode."""

from typing import Any

import numpy as np
import torch
from support.made_up_lanes import CPU, MadeUpLanes, vectors

from corrtool.memory import StateStacker
from corrtool.states import StateSpec


class TestStateStacker:
    def test_by_hand(self) -> None:
        stacker = StateStacker(StateSpec("vector", (1,), 3), 2, CPU)

        def push(*frame: float, steps: list[int] | None = None) -> Any:
            episode_steps = None if steps is None else np.array(steps)
            return stacker.push(np.array(frame, np.float32)[:, None], episode_steps).tolist()

        assert push(1, 10) == [[0, 0, 1], [0, 0, 10]]
        assert push(2, 20, steps=[1, 1]) == [[0, 1, 2], [0, 10, 20]]
        assert push(3, 30, steps=[2, 2]) == [[1, 2, 3], [10, 20, 30]]
        assert push(4, 40, steps=[3, 0]) == [[2, 3, 4], [0, 0, 40]]  # the second lane begins anew
        assert push(5, 50, steps=[4, 1]) == [[3, 4, 5], [0, 40, 50]]
        assert push(6, 60) == [[0, 0, 6], [0, 0, 60]]

    def test_some_lanes_begin_anew_between_two_steps(self) -> None:
        stacker = StateStacker(StateSpec("vector", (1,), 3), 3, CPU)
        for frame in (1.0, 2.0):
            before = stacker.push(np.array([[frame], [frame + 10], [frame + 20]], np.float32))
        anew = stacker.restart([0, 2], np.array([[7.0], [8.0]], np.float32))
        assert anew.tolist() == [[0, 0, 7], [0, 0, 12], [0, 0, 8]]
        assert before.tolist() == [[0, 0, 2], [0, 0, 12], [0, 0, 22]]
        steps = np.array([1, 4, 1])
        assert stacker.push(np.array([[3.0], [4.0], [5.0]], np.float32), steps).tolist() == [
            [0, 7, 3], [0, 12, 4], [0, 8, 5]
        ]  # fmt: skip

    def test_earlier_states_stay_as_they_were(self) -> None:
        lanes = MadeUpLanes(vectors(3), 2, longest=3)
        lanes.reset()
        kept = lanes.history[0].states.clone()
        lanes.play(10)
        assert torch.equal(lanes.history[0].states, kept)
