"""Lanes on the real games: both Atari paths, episode ends, resets, modes and views."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from ale_py.vector_env import AtariVectorEnv
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from support.environments import register
from support.lanes import assert_equal_steps, ends, play, task

from corrtool.errors import UsageError
from corrtool.memory import StateStacker
from corrtool.states import StateSpec
from corrtool.tasks import Lanes, LaneStep, Task, probe

Played = tuple[np.ndarray, list[LaneStep]]


def both_paths(played: Task, steps: int, lanes: int = 2) -> tuple[Played, Played]:
    """The same play through ``AtariVectorEnv`` and through Gymnasium."""
    with Lanes(played, lanes) as fast, Lanes(played, lanes, through_gymnasium=True) as slow:
        assert isinstance(fast._env, AtariVectorEnv)
        assert isinstance(slow._env, SyncVectorEnv)
        assert (fast.spec, fast.actions) == (slow.spec, slow.actions)
        return play(fast, steps), play(slow, steps)


class TestBothAtariPathsAgree:
    def test_over_a_whole_game_and_the_reset_after_it(self) -> None:
        (first, fast), (first_slow, slow) = both_paths(task(), 1100)
        assert np.array_equal(first, first_slow)
        assert_equal_steps(fast, slow)
        assert ends(fast) == 2  # one in either lane
        returns = np.sum([step.rewards for step in fast], axis=0)
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
    """Zero padded at an episode's start.

    They are byte for byte the observation of ``AtariVectorEnv(stack_num=4)``.
    """
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
@pytest.mark.parametrize("limit", [{}, {"max_episode_frames": 100}], ids=["over", "cut"])
def test_an_atari_lane_that_is_restarted_plays_the_game_that_would_come_by_itself(
    through_gymnasium: bool, limit: dict[str, Any]
) -> None:
    played = task("ALE/Breakout-v5", fire_reset=True, **limit)

    def steps_of(lanes: Lanes, steps: int, *, restarting: bool) -> list[LaneStep]:
        """Of lane 0, which begins its second game with the next step, or is restarted before."""
        random = np.random.default_rng(2)
        seen: list[LaneStep] = []
        lanes.reset([11, 12])
        while len(seen) < steps:
            seen.append(lanes.step(random.integers(0, lanes.actions, 2)))
            if restarting and seen[-1].terminated[0] | seen[-1].truncated[0]:
                frames = lanes.restart([0], [99])
                assert frames.shape == (1, 1, 84, 84)
                last = seen[-1]
                seen.append(replace(last, frames=np.concatenate([frames, last.frames[1:]])))
                random.integers(0, lanes.actions, 2)
        return seen

    with Lanes(played, 2, through_gymnasium=through_gymnasium) as lanes:
        by_itself = steps_of(lanes, 400, restarting=False)
        restarted = steps_of(lanes, 400, restarting=True)
    begun = [at for at, step in enumerate(by_itself) if not step.valid[0]]
    assert len(begun) >= 2
    for at, (one, other) in enumerate(zip(by_itself, restarted, strict=True)):
        assert np.array_equal(one.frames[0], other.frames[0]), at
        if at not in begun:
            assert one.rewards[0] == other.rewards[0] and other.valid[0]
            assert one.episode_steps[0] == other.episode_steps[0]


class Leveled(CartPoleEnv):
    """CartPole whose options, if any are given, must name a level."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        level = 0.0 if options is None else float(options["level"])
        return super().reset(seed=seed)[0] + np.float32(level), {}


def test_a_restart_gives_no_options_as_a_reset_gives_none() -> None:
    register("Leveled-v0", Leveled)
    with Lanes(task("Leveled-v0"), 2) as lanes:
        first = lanes.reset([1, 2])
        lanes.step(np.array([0, 1]))
        assert np.array_equal(lanes.restart([1], [2]), first[1:])


def test_other_lanes_are_restarted_from_their_seed() -> None:
    with Lanes(task("CartPole-v1"), 3) as lanes, Lanes(task("CartPole-v1"), 1) as fresh:
        lanes.reset([1, 2, 3])
        before = lanes.step(np.array([0, 1, 0]))
        assert np.array_equal(lanes.restart([1], [7]), fresh.reset([7]))
        for _ in range(5):
            after, alone = lanes.step(np.array([0, 1, 0])), fresh.step(np.array([1]))
            assert np.array_equal(after.frames[1:2], alone.frames)
            assert after.episode_steps[1] == alone.episode_steps[0]
        assert after.episode_steps.tolist() == [6, 5, 6] and before.valid.all()


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
        game: Any = lanes._env.envs[0].unwrapped
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
