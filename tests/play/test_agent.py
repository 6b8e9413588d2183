"""A player by a Q-function, and what is counted and shown of games."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from support.countdown import Countdown
from torch import nn

from corrtool.errors import UsageError
from corrtool.play.agent import Agent
from corrtool.play.games import (
    DirectQValues,
    Game,
    GameLimits,
    choose_actions,
    game_counts,
    play_games,
)
from corrtool.play.lane_pool import MAX_LANES, LanePool
from corrtool.states import StateSpec

CPU = torch.device("cpu")


def test_an_agent_takes_the_action_of_the_greatest_value() -> None:
    q_function = nn.Linear(3, 3, bias=False)
    q_function.weight.data = torch.diag(torch.tensor([1.0, -2.0, 0.5]))
    agent = Agent(DirectQValues(q_function, StateSpec("vector", (3,))), CPU)
    state = np.array([1.0, -3.0, 4.0], np.float32)
    values = agent.values(state)
    assert values.dtype == np.float32 and values.tolist() == [1.0, 6.0, 2.0]
    assert agent.act(state) == 1 and isinstance(agent.act(state), int)


def test_a_q_function_sees_pictures_between_zero_and_one() -> None:
    pictures = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    q_values = DirectQValues(nn.Identity(), StateSpec("image", (1, 1, 3)))
    assert q_values(pictures).flatten().tolist() == pytest.approx([0.0, 0.2, 1.0])


def test_games_are_counted_by_how_they_ended() -> None:
    games = [
        Game(1.0, 3, "over", "a"), Game(1.0, 3, "over", "a"), Game(0.0, 9, "idle", "b"),
        Game(0.0, 9, "limit", "c"), Game(0.0, 9, "limit", "d"),
    ]  # fmt: skip
    assert game_counts(games) == {"distinct_games": 4, "idle_games": 1, "cut_games": 2}
    assert games[2].to_json() == {
        "game_return": 0.0, "env_steps": 9, "ended": "idle", "digest": "b"
    }  # fmt: skip


def play(lanes: Countdown, seeds: list[int], **more: Any) -> list[Game]:
    random = np.random.default_rng(0)
    return play_games(
        lambda count: lanes, None, seeds=seeds, epsilon=1.0, random=random, device=CPU, **more
    )


def test_where_the_games_stand_is_shown_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, polled = 0.0, []
    shown: list[dict[str, Any]] = []
    ended: list[Game] = []

    def poll() -> None:
        nonlocal now
        now += 0.5  # a step takes half a second
        polled.append(now)

    monkeypatch.setattr(time, "monotonic", lambda: now)
    games = play(Countdown(4), [5, 2, 4], poll=poll, show=shown.append, on_game=ended.append)
    assert len(polled) == 6  # first when the first actions are sent
    assert shown == [  # after one step, three and five; a fourth lane is not looked at
        {"return so far": 1.0, "games running": 3, "steps": 1},
        {"return so far": pytest.approx((3 + 2 + 3) / 3), "games running": 2, "steps": 3},
        {"return so far": pytest.approx((5 + 2 + 4) / 3), "games running": 0, "steps": 5},
    ]
    assert [game.env_steps for game in ended] == [2, 4, 5]
    assert [game.env_steps for game in games] == [5, 2, 4]


def test_a_time_limit_of_the_games_own_is_left_to_them() -> None:
    limits = GameLimits(idle_frames=0, env_steps=3)
    lanes = Countdown(1)
    assert [game.ended for game in play(lanes, [5], limits=limits)] == ["over"]
    lanes.has_time_limit = False
    assert [(game.ended, game.env_steps) for game in play(lanes, [5], limits=limits)] == [
        ("limit", 3)
    ]


def test_states_are_the_last_frames_of_a_game() -> None:
    lanes, seen = Countdown(1), []
    lanes.spec = StateSpec("vector", (2,), 3)  # of which the second number is the time
    play(lanes, [4], watch=lambda states, _: seen.append(states[0, 1::2].tolist()))
    assert seen == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]]


def test_no_more_lanes_than_are_allowed() -> None:
    with LanePool(Countdown, most=2) as pool, pool(5) as lanes:
        assert lanes.count == 2
    with LanePool(Countdown) as pool, pool(MAX_LANES + 1) as lanes:
        assert lanes.count == MAX_LANES


def test_where_not_even_one_can_be_open_it_is_said() -> None:
    def none(count: int) -> Countdown:
        raise UsageError("no licence")

    with LanePool(none) as pool, pytest.raises(UsageError, match="no licence"):
        pool(3)


def test_that_there_can_be_only_one_is_found_out_once() -> None:
    tried: list[int] = []

    def one(count: int) -> Countdown:
        tried.append(count)
        if count > 1:
            raise UsageError("there can be only one")
        return Countdown(count)

    with LanePool(one) as pool:
        for count in (3, 2, 3, 1):
            with pool(count) as lanes:
                assert lanes.count == 1
    assert tried == [3, 1]
    with LanePool(one) as pool:
        assert not pool.open_or_borrow(Countdown(2))
    assert tried == [3, 1, 1]


def test_lanes_that_are_borrowed_play_whatever_number_is_asked_for() -> None:
    def none(count: int) -> Countdown:
        raise UsageError("there can be only one")

    training = Countdown(2)
    with LanePool(none) as pool:
        assert pool.open_or_borrow(training)
        with pool(7) as lanes:
            assert lanes is training
        assert training.closed == 0


def test_exploration_is_as_frequent_as_epsilon_says() -> None:
    values = torch.tensor([[0.0, 1.0, 0.0]]).expand(30_000, 3)
    chosen = choose_actions(values, 30_000, 3, 0.3, np.random.default_rng(0))
    # One third of the random actions are the best one as well.
    assert np.bincount(chosen) / 30_000 == pytest.approx([0.1, 0.8, 0.1], abs=0.01)
