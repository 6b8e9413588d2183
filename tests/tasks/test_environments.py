"""Lanes on the real games: both Atari paths, episode ends, and every other kind of environment."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from ale_py.vector_env import AtariVectorEnv
from gymnasium.spaces import Box, Dict, Discrete, Tuple
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from corrtool.errors import UsageError
from corrtool.memory import StateStacker
from corrtool.settings.preprocessing import Preprocessing
from corrtool.states import StateSpec
from corrtool.tasks import Lanes, LaneStep, Task, parse_task, probe
from corrtool.tasks.making import is_atari

PONG = "ALE/Pong-v5"
FIELDS = [field.name for field in dataclasses.fields(LaneStep)]


def task(
    identifier: str = PONG,
    *,
    views: list[str] | None = None,
    kwargs: dict | None = None,
    **given: Any,
) -> Task:
    table = {"id": identifier, "preprocessing": given, "kwargs": kwargs or {}, "views": views or []}
    return parse_task("source", table, Path())


def play(lanes: Lanes, steps: int, seed: int = 0) -> tuple[np.ndarray, list[LaneStep]]:
    """The first frames and ``steps`` steps of random play."""
    random = np.random.default_rng(seed)
    first = lanes.reset([11 + lane for lane in range(lanes.count)])
    return first, [lanes.step(random.integers(0, lanes.actions, lanes.count)) for _ in range(steps)]


def both_paths(played: Task, steps: int, lanes: int = 2):
    """The same play through ``AtariVectorEnv`` and through Gymnasium."""
    with Lanes(played, lanes) as fast, Lanes(played, lanes, through_gymnasium=True) as slow:
        assert isinstance(fast._env, AtariVectorEnv)
        assert isinstance(slow._env, SyncVectorEnv)
        assert (fast.spec, fast.actions) == (slow.spec, slow.actions)
        return play(fast, steps), play(slow, steps)


def assert_equal_steps(one: list[LaneStep], other: list[LaneStep]) -> None:
    for at, (a, b) in enumerate(zip(one, other, strict=True)):
        for name in FIELDS:
            assert getattr(a, name).dtype == getattr(b, name).dtype
            assert np.array_equal(getattr(a, name), getattr(b, name)), f"{name} differ at step {at}"


def ends(steps: list[LaneStep]) -> int:
    return sum(int((step.valid & (step.terminated | step.truncated)).sum()) for step in steps)


class TestBothAtariPathsAgree:
    def test_over_a_whole_game_and_the_reset_after_it(self) -> None:
        (first, fast), (first_slow, slow) = both_paths(task(), 1100)
        assert np.array_equal(first, first_slow)
        assert_equal_steps(fast, slow)
        assert ends(fast) == 2  # one in either lane
        returns = sum(step.rewards for step in fast)
        assert (returns < -15).all()  # random play loses, and rewards are what the game gives

    def test_with_fire_reset_and_lives(self) -> None:
        (first, fast), (first_slow, slow) = both_paths(
            task("ALE/Breakout-v5", fire_reset=True, terminal_on_life_loss=True), 300
        )
        assert np.array_equal(first, first_slow)
        assert_equal_steps(fast, slow)
        assert ends(fast) > 10  # every lost ball

    def test_on_rewards_which_are_never_clipped(self) -> None:
        (_, fast), (_, slow) = both_paths(task("ALE/Riverraid-v5"), 40)
        assert_equal_steps(fast, slow)
        assert {reward for step in fast for reward in step.rewards.tolist()} == {0.0, 30.0, 60.0}

    @pytest.mark.parametrize(
        "given",
        [
            {"grayscale": False, "screen_size": 42},
            {"frame_skip": 2, "noop_max": 0, "full_action_space": True},
        ],
        ids=["colour-42", "skip-2"],
    )
    def test_with_other_preprocessing(self, given: dict[str, Any]) -> None:
        (first, fast), (first_slow, slow) = both_paths(task(**given), 30, lanes=1)
        assert np.array_equal(first, first_slow)
        assert_equal_steps(fast, slow)

    def test_without_max_pooling_only_the_fast_one_plays(self) -> None:
        Lanes(task(max_pool=False), 1)
        with pytest.raises(UsageError, match="max-pool"):
            Lanes(task(max_pool=False), 1, through_gymnasium=True)

    def test_a_time_limit_truncates_at_the_same_step(self) -> None:
        (_, fast), (_, slow) = both_paths(task(max_episode_frames=400), 205)
        over = [at for at, step in enumerate(fast) if step.truncated.any()]
        assert over == [99, 200]  # 400 / 4 steps, one step for the reset, 100 steps
        assert_equal_steps(fast, slow)  # also the last frame: a value is bootstrapped from it
        for at in over:
            assert fast[at].truncated.all()
            assert not fast[at].terminated.any()


def test_states_of_pong_are_those_of_ales_own_stacking() -> None:
    """Zero padded at an episode's start: byte for byte the observation of ``AtariVectorEnv(stack_num=4)``."""
    ale = AtariVectorEnv(
        "pong", 2, stack_num=4, reward_clipping=False, use_fire_reset=False, noop_max=31,
        autoreset_mode=AutoresetMode.NEXT_STEP,
    )  # fmt: skip
    with Lanes(task(), 2) as lanes:
        assert lanes.spec == StateSpec("image", (1, 84, 84), 4)
        stacker, random = StateStacker(lanes.spec, 2, torch.device("cpu")), np.random.default_rng(5)
        states = stacker.push(lanes.reset([3, 4]))
        assert not states[:, :3].any()
        assert states[:, 3].any()
        expected, _ = ale.reset(seed=np.array([3, 4]))
        assert np.array_equal(states.numpy(), expected)
        for _ in range(60):
            actions = random.integers(0, lanes.actions, 2)
            step = lanes.step(actions)
            states = stacker.push(step.frames, step.episode_steps)
            expected, *_ = ale.step(actions)
            assert np.array_equal(states.numpy(), expected)
    ale.close()


def test_after_an_episode_end_comes_a_row_that_is_no_transition() -> None:
    with Lanes(task(max_episode_frames=20, noop_max=0), 2) as lanes:
        first, steps = play(lanes, 12)
    assert [step.episode_steps[0] for step in steps] == [1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0]
    assert [bool(step.truncated[0]) for step in steps] == [
        False,
        False,
        False,
        False,
        True,
        False,
    ] * 2
    assert [bool(step.valid[0]) for step in steps] == [True, True, True, True, True, False] * 2
    for at in (5, 11):
        assert not steps[at].rewards.any()
        assert np.array_equal(
            steps[at].frames, first
        )  # without no-ops every game of Pong begins alike
        assert not np.array_equal(steps[at].frames, steps[at - 1].frames)


@pytest.mark.parametrize("through_gymnasium", [False, True])
def test_a_reset_begins_everything_anew(through_gymnasium: bool) -> None:
    with Lanes(task(max_episode_frames=20), 2, through_gymnasium=through_gymnasium) as lanes:
        first, steps = play(lanes, 5)
        assert steps[-1].truncated.all()
        again, repeated = play(lanes, 5)  # not one step of the old episode's reset is left
    assert np.array_equal(first, again)
    assert_equal_steps(steps, repeated)


def test_lanes_do_not_depend_on_one_another() -> None:
    def frames_of(seeds: list[int]) -> np.ndarray:
        with Lanes(task(), len(seeds)) as lanes:
            lanes.reset(seeds)
            return [lanes.step(np.full(len(seeds), 2)).frames for _ in range(5)][-1]

    assert np.array_equal(frames_of([1, 2, 3])[1:], frames_of([2, 3]))


def test_frames_are_not_overwritten_by_the_next_step() -> None:
    for through_gymnasium in (False, True):
        with Lanes(task(), 1, through_gymnasium=through_gymnasium) as lanes:
            first = lanes.reset([0])
            kept = first.copy()
            step = lanes.step(np.array([2]))
            kept_step = step.frames.copy()
            for _ in range(20):
                lanes.step(np.array([3]))
            assert np.array_equal(first, kept)
            assert np.array_equal(step.frames, kept_step)


@pytest.mark.parametrize("kwargs", [{"mode": 1}, {"difficulty": 1}])
def test_a_game_mode_goes_through_gymnasium(kwargs: dict[str, int]) -> None:
    with Lanes(task(kwargs=kwargs), 1) as lanes:
        assert isinstance(lanes._env, SyncVectorEnv)
        assert lanes.spec == StateSpec("image", (1, 84, 84), 4)
        game = lanes._env.envs[0].unwrapped
        assert {
            "mode": game._game_mode,
            "difficulty": game._game_difficulty,
        }.items() >= kwargs.items()
        _, steps = play(lanes, 3)
    assert all(step.valid.all() for step in steps)


def test_a_mode_that_the_game_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot make the source task's environment 'ALE/Pong-v5'"):
        probe(task(kwargs={"mode": 99}))


def test_views_apply_to_the_frames_of_the_game() -> None:
    with Lanes(task(), 1) as plain, Lanes(task(views=["rotate:90", "invert"]), 1) as seen:
        (first, steps), (first_seen, steps_seen) = play(plain, 3), play(seen, 3)
    for before, after in [
        (first, first_seen),
        *((a.frames, b.frames) for a, b in zip(steps, steps_seen, strict=True)),
    ]:
        assert np.array_equal(after, 255 - np.rot90(before, axes=(-2, -1)))


def test_a_view_that_does_not_fit_the_states_is_refused() -> None:
    with pytest.raises(UsageError, match="is for vector states"):
        probe(task(views=["scale:2"]))


class Clock(gymnasium.Env):
    """An environment whose observations begin with the number of the step; an episode has three."""

    def __init__(self, space: gymnasium.Space, actions: gymnasium.Space | None = None) -> None:
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

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.at = 0
        return self._observation(), {}

    def step(self, action):
        self.actions_seen.append(action)
        self.at += 1
        return self._observation(), 0.25, self.at == 3, False, {}


def register(name: str, space: gymnasium.Space, actions: gymnasium.Space | None = None) -> str:
    identifier = f"corrtool-tests/{name}-v0"
    gymnasium.register(
        identifier, entry_point=lambda: Clock(space, actions), disable_env_checker=True
    )
    return identifier


@pytest.fixture
def registered():
    """Registers environments, for one test."""
    before = set(gymnasium.registry)
    yield register
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
        self, registered, shape: tuple, frame_shape: tuple
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

    def test_pictures_can_be_made_grey_resized_and_stacked(self, registered) -> None:
        shown = task(
            registered("Picture", pictures(40, 60, 3)), grayscale=True, screen_size=20, stack=2
        )
        with Lanes(shown, 1) as lanes:
            assert lanes.spec == StateSpec("image", (1, 20, 20), 2)
            assert lanes.reset([0]).shape == (1, 1, 20, 20)

    def test_a_dictionary_of_observations_becomes_one_vector(self, registered) -> None:
        space = Dict({"place": Discrete(3), "speed": Box(-1, 1, (2,), np.float64)})
        with Lanes(task(registered("Dictionary", space)), 1) as lanes:
            assert lanes.spec == StateSpec("vector", (5,))
            frame = lanes.reset([0])
        assert frame.dtype == np.float32
        assert sorted(frame[0, :3]) == [0, 0, 1]

    def test_actions_count_from_zero_whatever_the_environment_counts_from(self, registered) -> None:
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
        self, registered, space: gymnasium.Space
    ) -> None:
        identifier = registered("Continuous", Box(-1, 1, (2,), np.float32), space)
        with pytest.raises(UsageError, match="only discrete actions"):
            probe(task(identifier))

    def test_a_real_environment_with_continuous_actions_is_refused(self) -> None:
        with pytest.raises(UsageError, match="Pendulum-v1 has the action space"):
            probe(task("Pendulum-v1"))

    def test_rewards_stay_as_they_are(self, registered) -> None:
        with Lanes(task(registered("Rewarding", Box(-1, 1, (2,), np.float32))), 1) as lanes:
            _, steps = play(lanes, 5)
        assert [step.rewards[0] for step in steps] == [0.25, 0.25, 0.25, 0.0, 0.25]
        assert [bool(step.terminated[0]) for step in steps] == [False, False, True, False, False]


class TestWhatIsNoEnvironment:
    @pytest.mark.parametrize(
        "identifier",
        [
            "ALE/Pung-v5",
            "Nonsense-v0",
            "no_such_module:Thing-v0",
            "json:Thing-v0",
            "a b",
            "CartPole-v99",
        ],
    )
    def test_an_unknown_id_is_refused(self, identifier: str) -> None:
        with pytest.raises(UsageError, match="unknown environment"):
            task(identifier)

    def test_an_environment_that_fails_to_start_is_refused_in_one_line(self) -> None:
        with pytest.raises(UsageError, match="cannot make") as raised:
            probe(task("CartPole-v1", kwargs={"sutton_barto_reward": True, "no_such_argument": 1}))
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("identifier", ["gymnasium:CartPole-v1", "ale_py:ALE/Pong-v5"])
    def test_an_id_may_name_the_module_that_registers_it(self, identifier: str) -> None:
        assert probe(task(identifier)) == probe(task(identifier.partition(":")[2]))

    def test_which_ids_are_atari_games(self) -> None:
        assert is_atari(PONG)
        assert is_atari("PongNoFrameskip-v4")
        assert not is_atari("CartPole-v1")


class TestPreprocessing:
    def test_defaults_of_an_atari_game(self) -> None:
        given = task().preprocessing
        assert (given.frame_skip, given.stack, given.screen_size, given.grayscale) == (
            4,
            4,
            84,
            True,
        )
        assert (given.repeat_action_probability, given.fire_reset, given.noop_max) == (
            0.0,
            False,
            30,
        )

    def test_defaults_of_any_other_environment(self) -> None:
        given = task("CartPole-v1").preprocessing
        assert (given.stack, given.screen_size, given.grayscale) == (1, None, False)
        assert given.to_json(is_atari=False) == {
            "stack": 1,
            "screen_size": None,
            "grayscale": False,
        }

    def test_an_unknown_name_is_refused(self) -> None:
        with pytest.raises(UsageError, match="frameskip"):
            task(frameskip=4)

    @pytest.mark.parametrize("name", Preprocessing.ATARI_ONLY)
    def test_an_atari_setting_for_another_environment_is_refused(self, name: str) -> None:
        with pytest.raises(UsageError, match="for Atari games only"):
            task("CartPole-v1", **{name: getattr(Preprocessing(), name)})

    @pytest.mark.parametrize(
        "name, value",
        [
            ("frame_skip", 0), ("frame_skip", 4.0), ("frame_skip", True), ("frame_skip", "4"), ("frame_skip", None),
            ("noop_max", -1), ("stack", 0), ("stack", 2.5), ("screen_size", 8), ("max_episode_frames", 0),
            ("max_episode_frames", 10**9), ("repeat_action_probability", 1.5), ("repeat_action_probability", -0.1),
            ("repeat_action_probability", float("nan")), ("repeat_action_probability", True), ("grayscale", 1),
            ("max_pool", "yes"), ("fire_reset", None),
        ],
    )  # fmt: skip
    def test_values_that_make_no_sense_are_refused(self, name: str, value: object) -> None:
        with pytest.raises(UsageError, match=f"preprocessing {name} (is|needs)"):
            task(**{name: value})

    def test_every_value_decides_which_task_it_is(self) -> None:
        given = [
            {},
            {"frame_skip": 3},
            {"max_pool": False},
            {"noop_max": 0},
            {"repeat_action_probability": 0.25},
        ]
        given += [
            {"fire_reset": True},
            {"terminal_on_life_loss": True},
            {"full_action_space": True},
        ]
        given += [
            {"max_episode_frames": 400},
            {"screen_size": 42},
            {"grayscale": False},
            {"stack": 2},
        ]
        given += [{"max_episode_steps": 9}]
        assert (
            len({task(**values).sha256 for values in given})
            == len(given)
            == len(dataclasses.fields(Preprocessing))
        )
        assert {name for values in given for name in values} | {"channels_axis"} == {
            field.name for field in dataclasses.fields(Preprocessing)
        }
        assert task().sha256 == task(frame_skip=4).sha256


class TestTaskTable:
    @pytest.mark.parametrize(
        "table",
        [
            {}, {"id": ""}, {"id": 3}, {"id": PONG, "view": []}, {"id": PONG, "views": "rotate:90"},
            {"id": PONG, "views": [90]}, {"id": PONG, "kwargs": []}, {"id": PONG, "preprocessing": 4},
        ],
    )  # fmt: skip
    def test_that_cannot_be_understood_is_refused(self, table: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match="source"):
            parse_task("source", table, Path())

    def test_the_role_is_no_part_of_what_a_task_is(self) -> None:
        source, target = (parse_task(role, {"id": PONG}, Path()) for role in ("source", "target"))
        assert source.sha256 == target.sha256
        assert source.sha256 != task(views=["rotate:90"]).sha256
        assert source.sha256 != task(kwargs={"mode": 1}).sha256
