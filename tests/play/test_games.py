"""Games side by side: what the networks see, and lanes that stay open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.countdown import Countdown
from support.values import Values

from corrtool.errors import UsageError
from corrtool.play.games import (
    GameLimits,
    choose_actions,
    count_distinct,
    play_games,
    returns_of,
)
from corrtool.play.lane_pool import LanePool
from corrtool.states import StateSpec
from corrtool.tasks import Lanes, LaneStep, parse_task

CPU = torch.device("cpu")
PONG = parse_task(
    "source", {"id": "ALE/Pong-v5", "preprocessing": {"max_episode_frames": 120}}, Path()
)
CARTPOLE = parse_task("source", {"id": "CartPole-v1"}, Path())


@pytest.mark.parametrize(("needs_all", "threads"), [(False, 2), (True, 4)])
def test_small_networks_leave_half_of_the_threads_to_the_emulators(
    needs_all: bool, threads: int
) -> None:
    seen = []

    def values(raw: torch.Tensor, lanes: NDArray[np.int64] | None = None) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return torch.zeros(len(raw), 3)

    lanes, before = Countdown(1), torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        play_games(
            lambda count: lanes, Values(values, needs_all), seeds=[2], epsilon=0.0,
            random=np.random.default_rng(0), device=CPU,
        )  # fmt: skip
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    assert seen == [threads] * 2


def test_the_networks_see_only_games_that_go_on() -> None:
    lanes = Countdown(3)
    seen: list[list[int]] = []

    def values(raw: torch.Tensor, lanes: NDArray[np.int64] | None = None) -> torch.Tensor:
        assert lanes is not None and raw[:, 0].tolist() == lanes.tolist()
        seen.append(lanes.tolist())
        # Lane i takes action i.
        return torch.nn.functional.one_hot(torch.from_numpy(lanes), 3).float()

    watched: list[tuple[list[float], list[int]]] = []
    games = play_games(
        lambda count: lanes, Values(values), seeds=[2, 4, 1], epsilon=0.0,
        random=np.random.default_rng(0), device=CPU,
        watch=lambda states, actions: watched.append((states[:, 0].tolist(), actions.tolist())),
    )  # fmt: skip
    assert [(game.game_return, game.env_steps, game.ended) for game in games] == [
        (2.0, 2, "over"), (4.0, 4, "over"), (1.0, 1, "over")
    ]  # fmt: skip
    assert seen == [[0, 1, 2], [0, 1], [1], [1]]
    assert watched == [
        ([0.0, 1.0, 2.0], [0, 1, 2]),
        ([0.0, 1.0], [0, 1]),
        ([1.0], [1]),
        ([1.0], [1]),
    ]
    assert [actions[1] for actions in lanes.acted] == [1, 1, 1, 1]


def test_a_lane_whose_game_is_over_takes_the_next_seed_at_once() -> None:
    lanes = Countdown(2)
    lanes.spec = StateSpec("vector", (2,), 2)  # lane and time, before and now
    seen: list[list[list[float]]] = []

    def values(raw: torch.Tensor, lanes: NDArray[np.int64] | None = None) -> torch.Tensor:
        seen.append(raw.tolist())
        return torch.zeros(len(raw), 3)

    ended: list[float] = []
    games = play_games(
        lambda count: lanes, Values(values), seeds=[2, 4, 1, 3], epsilon=0.0,
        random=np.random.default_rng(0), device=CPU,
        on_game=lambda game: ended.append(game.game_return),
    )  # fmt: skip
    assert returns_of(games) == [2.0, 4.0, 1.0, 3.0] and ended == [2.0, 1.0, 4.0, 3.0]
    assert seen == [
        [[0, 0, 0, 0], [0, 0, 1, 0]],
        [[0, 0, 0, 1], [1, 0, 1, 1]],
        [[0, 0, 0, 0], [1, 1, 1, 2]],  # the third game, with nothing before it
        [[0, 0, 0, 0], [1, 2, 1, 3]],  # and the fourth after its one step
        [[0, 0, 0, 1]],
        [[0, 1, 0, 2]],
    ]


def test_the_same_random_numbers_whoever_plays() -> None:
    values = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    generators = [np.random.default_rng(7) for _ in range(3)]
    for _ in range(20):
        at_random = choose_actions(None, 4, 2, 0.5, generators[0])
        some = choose_actions(values, 4, 2, 0.5, generators[1], np.array([1, 3]))
        assert some[[0, 2]].tolist() == at_random[[0, 2]].tolist()
        choose_actions(values.repeat(2, 1), 4, 2, 0.5, generators[2])
    assert len({str(random.bit_generator.state) for random in generators}) == 1
    greedy = choose_actions(values, 4, 2, 0.0, generators[0], np.array([1, 3]))
    assert greedy[[1, 3]].tolist() == [1, 0]


def test_lanes_are_kept_for_each_number_of_them_and_closed_in_the_end() -> None:
    made: list[Countdown] = []

    def make(count: int) -> Countdown:
        made.append(Countdown(count))
        return made[-1]

    with LanePool(make) as pool:
        for count in (2, 3, 2, 2, 3):
            with pool(count) as lanes:
                assert lanes.count == count
        assert [lanes.count for lanes in made] == [2, 3]
        assert [lanes.closed for lanes in made] == [0, 0]
    assert [lanes.closed for lanes in made] == [1, 1]


@pytest.mark.parametrize("task", [PONG, CARTPOLE], ids=str)
def test_kept_lanes_are_as_good_as_new(task: Any) -> None:
    """On the real emulator and on one of Gymnasium's environments.

    It is every frame and reward of a game played in used lanes.
    """

    def play(opened: Any, seeds: list[int]) -> tuple[list[float], list[torch.Tensor]]:
        states: list[torch.Tensor] = []
        games = play_games(
            opened, None, seeds=seeds, epsilon=1.0, random=np.random.default_rng(1), device=CPU,
            watch=lambda seen, _: states.append(seen.clone()),
        )  # fmt: skip
        return returns_of(games), states

    with LanePool(lambda count: Lanes(task, count)) as pool:
        play(pool, [5, 6])
        returns, states = play(pool, [8, 9])
    fresh_returns, fresh_states = play(lambda count: Lanes(task, count), [8, 9])
    assert returns == fresh_returns
    assert len(states) == len(fresh_states) > 10
    assert all(torch.equal(one, other) for one, other in zip(states, fresh_states, strict=True))


class Scripted(Countdown):
    """Games without an end, with a reward where the script of their lane has one."""

    has_time_limit = False
    reward_threshold: float | None = None

    def __init__(self, rewards: dict[int, dict[int, float]]) -> None:
        super().__init__(len(rewards))
        self._rewards = rewards

    def receive(self) -> LaneStep:
        step = super().receive()
        rewards = [
            self._rewards[lane].get(int(self._time[lane]), 0.0) for lane in range(self.count)
        ]
        no = np.zeros(self.count, bool)
        return LaneStep(
            step.frames, np.array(rewards, np.float32), no, no, step.valid, step.episode_steps
        )


def test_games_that_do_not_end_are_ended_and_count_with_their_return() -> None:
    lanes = Scripted({0: {}, 1: {3: 2.0, 6: -1.0}, 2: dict.fromkeys(range(100), 1.0)})
    lanes.frames_per_step = 4
    games = play_games(
        lambda count: lanes, None, seeds=[100] * 3, epsilon=1.0,
        random=np.random.default_rng(0), device=CPU,
        limits=GameLimits(idle_frames=20, env_steps=30),
    )  # fmt: skip
    assert [(game.game_return, game.env_steps, game.ended) for game in games] == [
        (0.0, 5, "idle"), (1.0, 11, "idle"), (30.0, 30, "limit")
    ]  # fmt: skip


def test_a_game_that_was_ended_gives_its_lane_to_the_next() -> None:
    lanes = Scripted({0: {2: 1.0}})
    games = play_games(
        lambda count: lanes, None, seeds=[100] * 3, epsilon=1.0,
        random=np.random.default_rng(0), device=CPU, limits=GameLimits(idle_frames=3, env_steps=4),
    )  # fmt: skip
    assert [(game.game_return, game.env_steps, game.ended) for game in games] == [
        (1.0, 4, "limit")
    ] * 3
    assert len(lanes.acted) == 12


def test_distinct_games_are_those_in_which_something_else_was_done_or_came_of_it() -> None:
    def play(rewards: list[dict[int, float]], seeds: list[int]) -> int:
        lanes = Scripted(dict(enumerate(rewards)))
        first = torch.tensor([0.0, 0.0, 1.0])
        games = play_games(
            lambda count: lanes, Values(lambda raw, lanes=None: first.expand(len(raw), 3)),
            seeds=seeds, epsilon=0.0, random=np.random.default_rng(0), device=CPU,
            limits=GameLimits(idle_frames=9),
        )  # fmt: skip
        return count_distinct(games)

    assert play([{2: 1.0}, {2: 1.0}, {3: 1.0}], [1, 2, 3]) == 2
    assert play([{}, {}, {}], [1, 2, 3]) == 1


def test_where_only_one_can_be_open_games_are_played_one_by_one() -> None:
    opened: list[int] = []

    def make(count: int) -> Countdown:
        if count > 1 or opened:
            raise UsageError("there can be only one")
        opened.append(count)
        return Countdown(count)

    def play(pool: LanePool) -> list[float]:
        random = np.random.default_rng(0)
        return returns_of(
            play_games(pool, None, seeds=[2, 4, 1], epsilon=1.0, random=random, device=CPU)
        )

    with LanePool(make) as pool:
        assert play(pool) == [2.0, 4.0, 1.0]
    assert opened == [1]
    training = Countdown(
        2
    )  # its two lanes play three games: the third beside a lane that is not looked at
    with LanePool(make) as pool:
        assert pool.open_or_borrow(training)
        assert play(pool) == [2.0, 4.0, 1.0]
    with LanePool(Countdown) as pool:
        assert not pool.open_or_borrow(training)


def test_lanes_that_are_opened_before_are_those_that_play() -> None:
    opened: list[int] = []

    def make(count: int) -> Countdown:
        opened.append(count)
        return Countdown(count)

    with LanePool(make) as pool, pool.preopened(2), pool.preopened(0):
        assert opened == [2]
        with pool(2):
            pass
    assert opened == [2]
