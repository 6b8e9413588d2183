"""Lanes in two halves: the same games, whether both halves step together or in turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.values import Values

from corrtool.errors import UsageError
from corrtool.play.games import Game, QValues, play_games
from corrtool.tasks import Lanes, lanes_in_turns, parse_task, turns
from corrtool.tasks.environments import LanesLike
from corrtool.tasks.turns import LanesInTurns

PONG = parse_task(
    "source", {"id": "ALE/Pong-v5", "preprocessing": {"max_episode_frames": 400}}, Path()
)
CARTPOLE = parse_task("source", {"id": "CartPole-v1"}, Path())


def play(lanes: LanesLike, q_values: QValues | None, games: int = 5) -> list[Game]:
    random, seeds = np.random.default_rng(3), list(range(games))
    with torch.inference_mode():
        return play_games(
            lambda count: lanes, q_values, seeds=seeds, epsilon=0.3,
            random=random, device=torch.device("cpu"),
        )  # fmt: skip


def of_pictures(raw: torch.Tensor, lanes: NDArray[np.int64] | None = None) -> torch.Tensor:
    """Values that depend on the state and on the number of the lane."""
    assert lanes is not None
    sums = raw.flatten(1).long().sum(1) + torch.from_numpy(lanes)
    return torch.nn.functional.one_hot(sums % 6, 6).float()


@pytest.mark.parametrize("player", [None, Values(of_pictures), Values(of_pictures, True)])
def test_the_same_games_as_in_one(player: Any) -> None:
    with lanes_in_turns(PONG, 5) as both, Lanes(PONG, 5) as one:
        assert isinstance(both, LanesInTurns) and [half.count for half in both.halves] == [3, 2]
        played = play(both, player)
        assert played == play(one, player)
        assert len({game.digest for game in played}) == 5
        assert play(both, player, games=7) == play(one, player, games=7)  # two lanes play twice


def test_one_half_is_chosen_for_while_the_other_is_under_way() -> None:
    seen: list[list[int]] = []

    def values(raw: torch.Tensor, lanes: NDArray[np.int64]) -> torch.Tensor:
        seen.append(lanes.tolist())
        return of_pictures(raw, lanes)

    with lanes_in_turns(PONG, 5) as both:
        play(both, Values(values))
        assert seen[:4] == [[0, 1, 2], [3, 4], [0, 1, 2], [3, 4]]
        seen.clear()
        play(both, Values(values, needs_all_threads=True))
        assert seen[:2] == [[0, 1, 2, 3, 4]] * 2


def test_lanes_of_both_halves_are_restarted() -> None:
    with lanes_in_turns(PONG, 5) as both, Lanes(PONG, 5) as one:
        for lanes in (both, one):
            lanes.reset([1, 2, 3, 4, 5])
        for restarted in ([4], [0, 2], [1, 3, 4]):
            seeds = [6] * len(restarted)
            anew = both.restart(restarted, seeds)
            assert len(anew) == len(restarted)
            assert np.array_equal(anew, one.restart(restarted, seeds))
            for lanes in (both, one):
                lanes.send(np.arange(5))
            steps = both.receive(), one.receive()
            assert np.array_equal(steps[0].frames, steps[1].frames)
            assert steps[0].episode_steps.tolist() == steps[1].episode_steps.tolist()


def test_a_reset_forgets_the_step_that_is_under_way() -> None:
    with lanes_in_turns(PONG, 3) as lanes, Lanes(PONG, 3) as fresh:
        lanes.reset([1, 2, 3])
        lanes.send(np.full(3, 2))
        assert np.array_equal(lanes.reset([4, 5, 6]), fresh.reset([4, 5, 6]))
        for _ in range(20):
            lanes.send(np.full(3, 3))
            fresh.send(np.full(3, 3))
            assert np.array_equal(lanes.receive().frames, fresh.receive().frames)


def test_who_watches_sees_all_games_of_a_step() -> None:
    watched: list[int] = []
    with lanes_in_turns(PONG, 3) as lanes:
        play_games(
            lambda count: lanes, Values(of_pictures), seeds=[1, 2, 3], epsilon=0.0,
            random=np.random.default_rng(3), device=torch.device("cpu"),
            watch=lambda states, actions: watched.append(len(states)),
        )  # fmt: skip
    assert watched[:10] == [3] * 10


def test_only_where_the_emulators_run_by_themselves() -> None:
    with lanes_in_turns(CARTPOLE, 4) as lanes, lanes_in_turns(PONG, 1) as one:
        assert isinstance(lanes, Lanes) and isinstance(one, Lanes)


def test_a_half_that_cannot_be_opened_leaves_none_open(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    class Once(Lanes):
        def __init__(self, task: Any, count: int) -> None:
            if opened:
                raise UsageError("no licence")
            super().__init__(task, count)
            opened.append(self)

        def _close(self) -> None:
            opened.append("closed")
            super()._close()

    monkeypatch.setattr(turns, "Lanes", Once)
    with pytest.raises(UsageError, match="no licence"):
        lanes_in_turns(PONG, 4)
    assert opened[1:] == ["closed"]
