"""Lanes on environments that are no Atari games: every kind of observation and action."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Tuple
from support.environments import register
from support.lanes import ends, play, task

from corrtool.errors import UsageError
from corrtool.settings.preprocessing import Preprocessing
from corrtool.states import StateSpec
from corrtool.tasks import Lanes, probe
from corrtool.tasks.observations import as_frames

# Registers an environment of a name, an observation space and an action space; gives its id.
Registering = Callable[..., str]


class Clock(gymnasium.Env[Any, Any]):
    """An environment whose observations begin with the number of the step; an episode has three."""

    def __init__(
        self, space: gymnasium.Space[Any], actions: gymnasium.Space[Any] | None = None
    ) -> None:
        self.observation_space = space
        self.action_space = Discrete(2) if actions is None else actions
        self.actions_seen: list[Any] = []

    def _observation(self) -> Any:
        if isinstance(self.observation_space, Box):
            size = int(np.prod(self.observation_space.shape))
            return (
                (np.arange(size) + self.at)
                .reshape(self.observation_space.shape)
                .astype(self.observation_space.dtype)
            )
        return self.observation_space.sample()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.actions_seen.append(action)
        self.at += 1
        return self._observation(), 0.25, self.at == 3, False, {}


def register_clock(
    name: str, space: gymnasium.Space[Any], actions: gymnasium.Space[Any] | None = None
) -> str:
    identifier = f"corrtool-tests/{name}-v0"
    register(identifier, lambda: Clock(space, actions), disable_env_checker=True)
    return identifier


@pytest.fixture
def registered() -> Iterator[Registering]:
    """What registers environments, for one test."""
    before = set(gymnasium.registry)
    yield register_clock
    for identifier in set(gymnasium.registry) - before:
        del gymnasium.registry[identifier]


def pictures(*shape: int) -> Box:
    return Box(0, 255, shape, np.uint8)


class TestOtherEnvironments:
    def test_cart_pole(self) -> None:
        with Lanes(task("CartPole-v1"), 3) as lanes:
            assert (lanes.spec, lanes.actions) == (StateSpec("vector", (4,)), 2)
            first, steps = play(lanes, 60)
            assert first.dtype == np.float32
            assert first.shape == (3, 4)
            assert (np.abs(first) <= 0.05).all()
        assert ends(steps) > 3
        for before, after in itertools.pairwise(steps):
            over = before.valid & (before.terminated | before.truncated)
            assert np.array_equal(after.valid, ~over)
            assert np.array_equal(after.episode_steps, np.where(over, 0, before.episode_steps + 1))
            assert (np.abs(after.frames[over]) <= 0.05).all()

    def test_cart_pole_is_the_one_of_gymnasium(self) -> None:
        env = gymnasium.make("CartPole-v1")
        with Lanes(task("CartPole-v1"), 1) as lanes:
            assert np.array_equal(lanes.reset([8])[0], env.reset(seed=8)[0])
            for action in (0, 1, 1, 0):
                observation, reward, terminated, truncated, _ = env.step(action)
                step = lanes.step(np.array([action]))
                assert np.array_equal(step.frames[0], observation)
                assert (step.rewards[0], step.terminated[0], step.truncated[0]) == (
                    reward,
                    terminated,
                    truncated,
                )

    def test_a_discrete_observation_becomes_one_hot(self) -> None:
        with Lanes(task("FrozenLake-v1", kwargs={"is_slippery": False}), 1) as lanes:
            assert (lanes.spec, lanes.actions) == (StateSpec("vector", (16,)), 4)
            first = lanes.reset([0])
            assert first.dtype == np.float32
            assert first.tolist() == [[1.0] + [0.0] * 15]
            assert lanes.step(np.array([2])).frames[0].argmax() == 1  # right
            assert lanes.step(np.array([1])).frames[0].argmax() == 5  # down, into the hole

    @pytest.mark.parametrize(
        "shape, frame_shape",
        [
            ((5, 6, 3), (3, 5, 6)),
            ((3, 5, 6), (3, 5, 6)),
            ((5, 6), (1, 5, 6)),
            ((5, 6, 1), (1, 5, 6)),
        ],
        ids=["channels last", "channels first", "2-D", "one channel"],
    )
    def test_pictures_come_channels_first(
        self, registered: Registering, shape: tuple[int, ...], frame_shape: tuple[int, ...]
    ) -> None:
        with Lanes(task(registered("Picture", pictures(*shape))), 2) as lanes:
            assert lanes.spec == StateSpec("image", frame_shape)
            lanes.reset([0, 1])
            frames = lanes.step(np.array([0, 0])).frames
        assert frames.dtype == np.uint8
        picture = (np.arange(np.prod(shape)) + 1).astype(np.uint8).reshape(shape)
        if shape == (5, 6, 3):
            picture = picture.transpose(2, 0, 1)
        assert np.array_equal(frames, np.stack([picture.reshape(frame_shape)] * 2))

    def test_pictures_can_be_made_grey_resized_and_stacked(self, registered: Registering) -> None:
        shown = task(
            registered("Picture", pictures(40, 60, 3)), grayscale=True, screen_size=20, stack=2
        )
        with Lanes(shown, 1) as lanes:
            assert lanes.spec == StateSpec("image", (1, 20, 20), 2)
            assert lanes.reset([0]).shape == (1, 1, 20, 20)

    def test_a_dictionary_of_observations_becomes_one_vector(self, registered: Registering) -> None:
        space = Dict({"place": Discrete(3), "speed": Box(-1, 1, (2,), np.float64)})
        with Lanes(task(registered("Dictionary", space)), 1) as lanes:
            assert lanes.spec == StateSpec("vector", (5,))
            frame = lanes.reset([0])
        assert frame.dtype == np.float32
        assert sorted(frame[0, :3]) == [0, 0, 1]

    def test_the_parts_of_a_dictionary_with_axes_are_named_whatever_their_keys(self) -> None:
        space = Dict({1: Box(0, 255, (9, 9), np.uint8), 2: Box(-1, 1, (2,), np.float64)})  # type: ignore[dict-item]
        wanted = Preprocessing.for_environment(False, {})
        (note,) = as_frames(Clock(space), "Dictionary", wanted)[1]
        assert note.endswith("into 83 numbers; --observation-key shows one part alone, such as 1")

    def test_actions_count_from_zero_whatever_the_environment_counts_from(
        self, registered: Registering
    ) -> None:
        space = Box(-1, 1, (2,), np.float32)
        with Lanes(task(registered("Shifted", space, Discrete(3, start=5))), 1) as lanes:
            assert lanes.actions == 3
            lanes.reset([0])
            for action in (0, 2, 1):
                lanes.step(np.array([action]))
            assert lanes._env.envs[0].unwrapped.actions_seen == [5, 7, 6]

    @pytest.mark.parametrize(
        "space", [Box(-1, 1, (2,)), Tuple([Discrete(2), Discrete(2)])], ids=["box", "tuple"]
    )
    def test_actions_that_are_not_discrete_are_refused(
        self, registered: Registering, space: gymnasium.Space[Any]
    ) -> None:
        identifier = registered("Continuous", Box(-1, 1, (2,), np.float32), space)
        with pytest.raises(UsageError, match="only discrete actions"):
            probe(task(identifier))

    def test_a_real_environment_with_continuous_actions_is_refused(self) -> None:
        with pytest.raises(UsageError, match="Pendulum-v1 has the action space"):
            probe(task("Pendulum-v1"))

    def test_rewards_stay_as_they_are(self, registered: Registering) -> None:
        with Lanes(task(registered("Rewarding", Box(-1, 1, (2,), np.float32))), 1) as lanes:
            _, steps = play(lanes, 5)
        assert [step.rewards[0] for step in steps] == [0.25, 0.25, 0.25, 0.0, 0.25]
        assert [bool(step.terminated[0]) for step in steps] == [False, False, True, False, False]
