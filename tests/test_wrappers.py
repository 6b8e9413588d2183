"""Agents of the source play the target through Gymnasium's wrappers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from numpy.typing import NDArray

import corrtool
from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.play import PlayTranslator
from corrtool.errors import ArtifactError, UsageError
from corrtool.layers import freeze
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec
from corrtool.wrappers import TranslateAction, TranslateObservation

CARTPOLE = StateSpec("vector", (4,))
SOURCE = StateSpec("vector", (3,))


def correspondence(
    action_map: ActionMap | None = None,
    target: StateSpec = CARTPOLE,
    source: StateSpec = SOURCE,
    kind: str = "linear",
) -> Correspondence:
    torch.manual_seed(0)
    scalings = (StateScaling(source), StateScaling(target))
    for buffer in (buffer for scaling in scalings for buffer in scaling.buffers()):
        buffer.copy_(1.0 + torch.rand(buffer.shape))
    made = Correspondence(*scalings, GeneratorDescription(kind, 2, 1), action_map)
    freeze(made)
    return made


class Told(gymnasium.Env[NDArray[np.float32], int]):
    """Shows what it is told to; remembers what it was asked to do."""

    def __init__(self, space: gymnasium.spaces.Box, actions: int = 3, start: int = 0) -> None:
        self.observation_space = space  # type: ignore[assignment]
        self.action_space = gymnasium.spaces.Discrete(actions, start=start)  # type: ignore[assignment]
        self.done: list[int] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.done.append(int(action))
        return self.observation_space.sample(), 0.0, False, False, {}


def numbers(size: int = 4, kind: Any = np.float32) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(-1, 1, (size,), kind)


def expected(c: Correspondence, states: NDArray[Any]) -> NDArray[Any]:
    """Raw source states as corrtool's own games have them."""
    translated = PlayTranslator(c)(torch.from_numpy(states))
    return c.source_scaling.model_to_raw(translated).numpy()


def test_a_single_environment_shows_source_states() -> None:
    c = correspondence()
    plain, translated = gymnasium.make("CartPole-v1"), gymnasium.make("CartPole-v1")
    env = TranslateObservation(translated, c)
    assert env.observation_space == gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    states, seen = plain.reset(seed=3)[0], env.reset(seed=3)[0]
    for action in (0, 1, 1, 0):
        np.testing.assert_allclose(seen, expected(c, states[None])[0], rtol=1e-5)
        assert seen.dtype == np.float32 and env.observation_space.contains(seen)
        states, seen = plain.step(action)[0], env.step(action)[0]


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
def test_a_vector_shows_source_states(kind: Any) -> None:
    c = correspondence()
    makers = [lambda: gymnasium.make("CartPole-v1")] * 2
    plain, env = SyncVectorEnv(makers), TranslateObservation(kind(makers), c)
    assert env.single_observation_space.shape == (3,) and env.observation_space.shape == (2, 3)
    states, seen = plain.reset(seed=3)[0], env.reset(seed=3)[0]
    for actions in ([0, 1], [1, 1]):
        np.testing.assert_allclose(seen, expected(c, states), rtol=1e-5)
        states, seen = plain.step(np.array(actions))[0], env.step(np.array(actions))[0]
    env.close()


def test_numbers_of_another_size_are_taken_as_float32() -> None:
    c = correspondence()
    shown = TranslateObservation(Told(numbers(kind=np.float64)), c).reset(seed=1)[0]
    told = Told(numbers(kind=np.float64)).reset(seed=1)[0]
    np.testing.assert_allclose(shown, expected(c, told[None].astype(np.float32))[0], rtol=1e-5)


@pytest.mark.parametrize(
    "space",
    [
        numbers(5),
        gymnasium.spaces.Box(0, 255, (4,), np.uint8),
        gymnasium.spaces.Discrete(4),
        gymnasium.spaces.Dict({"state": numbers()}),
    ],
)
def test_observations_that_do_not_fit_are_refused(space: Any) -> None:
    with pytest.raises(ArtifactError, match=r"translates float32 states \(4,\): 4 numbers"):
        TranslateObservation(Told(space), correspondence())
    with pytest.raises(ArtifactError, match="translates float32"):
        TranslateObservation(SyncVectorEnv([lambda: Told(space)]), correspondence())


def test_pictures_are_pictures_again() -> None:
    spec = StateSpec("image", (1, 40, 36), 2)
    c = correspondence(target=spec, source=spec, kind="rotation")
    env = TranslateObservation(Told(gymnasium.spaces.Box(0, 255, spec.state_shape, np.uint8)), c)
    shown = env.reset(seed=0)[0]
    assert shown.dtype == np.uint8 and env.observation_space.contains(shown)
    with pytest.raises(ArtifactError, match="translates uint8 states"):
        TranslateObservation(Told(gymnasium.spaces.Box(0, 1, spec.state_shape, np.float32)), c)


MAP = ActionMap((1, 0, 1), 2)  # target actions 0 and 2 are source action 1


@pytest.mark.parametrize("start", [0, 5])
def test_each_source_action_is_the_first_target_action_that_it_is(start: int) -> None:
    told = Told(numbers(), start=start)
    env = TranslateAction(told, correspondence(MAP))
    assert env.action_space == gymnasium.spaces.Discrete(2)
    env.reset()
    env.step(0)
    env.step(np.array(1))  # as Stable-Baselines3 gives it
    assert told.done == [start + 1, start]


def test_the_actions_of_a_vector() -> None:
    told = [Told(numbers()) for _ in range(3)]
    vector = SyncVectorEnv([lambda env=env: env for env in told])  # type: ignore[misc]
    env = TranslateAction(vector, correspondence(MAP))
    assert env.single_action_space == gymnasium.spaces.Discrete(2)
    env.reset()
    env.step(np.array([0, 1, 1]))
    assert [env.done for env in told] == [[1], [0], [0]]


def test_without_a_map_actions_are_themselves() -> None:
    told = Told(numbers())
    env = TranslateAction(told, correspondence())
    env.reset()
    for action in range(3):
        env.step(action)
    assert told.done == [0, 1, 2] and env.action_space == gymnasium.spaces.Discrete(3)


def test_a_source_action_that_no_target_action_is_needs_a_fallback() -> None:
    c = correspondence(ActionMap((2, 0, 2), 4))
    with pytest.raises(UsageError, match="no target action is source action 1, 3; give a fallback"):
        TranslateAction(Told(numbers()), c)
    with pytest.raises(UsageError, match="fallback is 3"):
        TranslateAction(Told(numbers()), c, fallback=3)
    told = Told(numbers())
    env = TranslateAction(told, c, fallback=2)
    env.reset()
    for action in range(4):
        env.step(action)
    assert told.done == [1, 2, 0, 2]


def test_actions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ArtifactError, match="has 2 actions, the correspondence maps 3"):
        TranslateAction(Told(numbers(), actions=2), correspondence(MAP))
    env = gymnasium.make("Pendulum-v1")
    with pytest.raises(ArtifactError, match="correspondences are of Discrete ones"):
        TranslateAction(env, correspondence(MAP))


@pytest.mark.parametrize("action", [-1, 2, 1.7])
def test_what_is_no_action_of_the_source_is_refused(action: float) -> None:
    env = TranslateAction(Told(numbers()), correspondence(MAP))
    env.reset()
    with pytest.raises(UsageError, match="there is no source action"):
        env.step(action)


def test_a_policy_of_the_source_plays_as_the_agent_does() -> None:
    """The greedy action of Q_S, wrapped, is that of eq. (6) over the target's actions."""
    c = correspondence(MAP)
    q_function = torch.nn.Linear(3, 2)  # whose values are equal in the mean state
    q_function.bias.data = -(q_function.weight @ c.source_scaling.mean).detach()
    told, plain = Told(numbers()), Told(numbers())
    env = TranslateAction(TranslateObservation(told, c), c)
    seen, state = env.reset(seed=2)[0], plain.reset(seed=2)[0]
    expected_actions = []
    for _ in range(20):
        values = c.target_values(q_function(torch.from_numpy(expected(c, state[None]))))
        expected_actions.append(int(values.argmax()))
        seen = env.step(int(q_function(torch.from_numpy(seen)).argmax()))[0]
        state = plain.step(0)[0]
    assert told.done == expected_actions and set(told.done) == {0, 1}


def test_rotated_pong_is_seen_upright(tmp_path: Path) -> None:
    project = corrtool.init_project(
        tmp_path / "lab", source="ALE/Pong-v5", target_view=["rotate:90"], pretrained=True
    )
    upright = project.environment("source")
    turned = TranslateObservation(project.environment("target"), project.load_correspondence())
    assert turned.observation_space == upright.observation_space
    pairs = [(upright.reset(seed=0)[0], turned.reset(seed=0)[0])]
    for action in (2, 2, 3, 0, 5, 4):
        pairs.append((upright.step(action)[0], turned.step(action)[0]))
    for expected_state, state in pairs:
        np.testing.assert_array_equal(expected_state, state)
    upright.close()
    turned.close()


@pytest.mark.parametrize("wrap", [TranslateObservation, TranslateAction])
def test_a_name_is_no_correspondence(wrap: Any) -> None:
    with pytest.raises(TypeError, match=r"'auto' is no correspondence; load one with corrtool\."):
        wrap(gymnasium.make("CartPole-v1"), "auto")
