"""``actions:2,0,1``: the agent's action i is action ``order[i]`` of the environment."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.lanes import PONG, assert_equal_steps, task

from corrtool.errors import UsageError
from corrtool.play.environment import TaskEnvironment
from corrtool.tasks import Lanes, action_names, probe
from corrtool.tasks.views import PermuteActions, parse_view

fast = settings(deadline=None, max_examples=40)


class Echo(gymnasium.Env[Any, Any]):
    """Shows and pays the action it was given; its actions are 5, 6 and 7."""

    def __init__(self, **_: object) -> None:
        self.observation_space = gymnasium.spaces.Box(-10, 10, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3, start=5)

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.full(1, action, np.float32), float(action), False, False, {}

    def get_action_meanings(self) -> list[str]:
        return ["FIVE", "SIX", "SEVEN"]


@pytest.fixture(autouse=True)
def echo() -> Iterator[None]:
    gymnasium.register("Echo-v0", Echo)
    yield
    del gymnasium.registry["Echo-v0"]


def given_to_the_environment(views: list[str]) -> list[float]:
    """What the environment gets where the agent does 0, 1 and 2 in three lanes."""
    with Lanes(task("Echo-v0", views=views), 3) as lanes:
        lanes.reset([0, 1, 2])
        return [float(reward) for reward in lanes.step(np.array([0, 1, 2])).rewards]


def test_by_hand() -> None:
    assert given_to_the_environment([]) == [5, 6, 7]
    assert given_to_the_environment(["actions:2,0,1"]) == [7, 5, 6]


def test_the_last_view_is_the_nearest_to_the_agent() -> None:
    """Of 2,0,1 behind 1,0,2: the agent's 0 is the first view's 1, which is the environment's 0."""
    assert given_to_the_environment(["actions:2,0,1", "actions:1,0,2"]) == [5, 7, 6]


def test_views_of_frames_leave_actions_alone() -> None:
    assert given_to_the_environment(["scale:2", "actions:2,0,1", "pad:1"]) == [7, 5, 6]
    frames = np.ones((2, 3), np.float32)
    assert PermuteActions((1, 0)).frames(frames) is frames


@fast
@given(arrays(np.int64, 6, elements=st.integers(0, 3)), st.permutations(range(4)))
def test_a_permutation_and_its_inverse(actions: np.ndarray, order: list[int]) -> None:
    there = PermuteActions(tuple(order))
    back = PermuteActions(tuple(int(i) for i in np.argsort(order)))
    assert np.array_equal(there.environment_actions(back.environment_actions(actions)), actions)


def test_the_names_of_actions_are_those_of_what_they_do() -> None:
    assert action_names(task("Echo-v0", views=["actions:2,0,1"])) == ["SEVEN", "FIVE", "SIX"]
    assert action_names(task("CartPole-v1", views=["actions:1,0"])) == ["1", "0"]


def test_an_environment_to_play_has_the_actions_of_the_view() -> None:
    env = TaskEnvironment(task("Echo-v0", views=["actions:2,0,1"]))
    env.reset(seed=0)
    assert [env.step(action)[1] for action in range(3)] == [7, 5, 6]
    env.close()


@pytest.mark.parametrize("through_gymnasium", [False, True])
def test_pong_with_other_buttons_is_pong(through_gymnasium: bool) -> None:
    """What the view's action does is what the plain game's action does that it stands for."""
    order = np.array([1, 3, 0, 5, 2, 4])
    seen = task(PONG, views=["actions:1,3,0,5,2,4"])
    actions = np.random.default_rng(0).integers(0, 6, (20, 2))
    with (
        Lanes(task(PONG), 2, through_gymnasium=through_gymnasium) as plain,
        Lanes(seen, 2, through_gymnasium=through_gymnasium) as other,
    ):
        assert np.array_equal(plain.reset([3, 4]), other.reset([3, 4]))
        expected = [plain.step(order[chosen]) for chosen in actions]
        assert_equal_steps(expected, [other.step(chosen) for chosen in actions])


@pytest.mark.parametrize(
    "text", ["actions:0", "actions:0,1", "actions:0,0,1", "actions:1,2,3", "actions:0,1,2,3"]
)
def test_what_is_no_permutation_of_the_actions(text: str) -> None:
    with pytest.raises(UsageError, match="not a permutation of 3 actions") as raised:
        probe(task("Echo-v0", views=[text]))
    assert raised.value.hint == "name each of 0 to 2 once"


def test_states_stay_as_they_are() -> None:
    plain, seen = (probe(task("Echo-v0", views=views)) for views in ([], ["actions:2,0,1"]))
    assert plain == seen
    assert parse_view("actions:2,0,1", Path()) == PermuteActions((2, 0, 1))
