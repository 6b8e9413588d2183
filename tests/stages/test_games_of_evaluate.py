"""Which games `evaluate` plays, what it shows of them, and what it tells in the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.evaluation import (
    SEED,
    SEEDS,
    STEPS,
    Endless,
    Evaluation,
    Games,
    Idle,
    Played,
    Playing,
    artifact,
)

from corrtool.errors import CorrtoolError
from corrtool.play import games as games_module
from corrtool.runtime.seeds import derive_seeds, numpy_generator
from corrtool.stages import evaluate as stage

Q, CORR = artifact("q", "agent"), artifact("corr", "upright")
BEFORE = {"game_return": 7.0, "env_steps": 2, "ended": "over", "digest": "d"}


@pytest.fixture
def evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluation:
    return Evaluation(tmp_path, monkeypatch)


EIGHT = derive_seeds(SEED, "evaluate", 8)  # games of 1, 2, 5, 4, 3, … steps


def in_the_second_wave(played: Played) -> bool:
    """Whether the last two of eight games have begun, the first six of which are a wave."""
    return played.seeds[-1] == EIGHT[6:]


def stop_in_the_second_wave(played: Played) -> None:
    if in_the_second_wave(played):
        played.stop.received = 15


class TestGames:
    def test_every_seed_is_one_game_and_no_more_lanes_are_opened_than_said(
        self, evaluation: Evaluation
    ) -> None:
        played = evaluation.play(evaluation.plan(policy="random", games=5, lanes=2))
        assert [lanes.count for lanes in played.lanes] == [2]
        # after steps 1, 2 and 6, with which both lanes are done
        assert played.seeds == [SEEDS[:2], [SEEDS[2]], [SEEDS[3]], [SEEDS[4]]]
        assert played.result["returns"] == STEPS
        assert all(lanes.closed == 1 for lanes in played.lanes)

    def test_every_game_is_logged(self, evaluation: Evaluation) -> None:
        played = evaluation.play(evaluation.plan(games=3))
        assert played.run.lines == [
            (0, {"event": "game", "game": 0, "return": 1.0, "length": 1, "ended": "over"}),
            (1, {"event": "game", "game": 1, "return": 2.0, "length": 2, "ended": "over"}),
            (2, {"event": "game", "game": 2, "return": 5.0, "length": 5, "ended": "over"}),
        ]

    def test_the_random_numbers_of_a_wave_are_told_apart_by_its_first_game(
        self, evaluation: Evaluation
    ) -> None:
        (lanes,) = evaluation.play(evaluation.plan(policy="random", games=5, lanes=1)).lanes
        for first_game, step in ((0, 0), (1, 1), (2, 3)):  # with one lane each game is a wave
            random = numpy_generator(SEED, "evaluate", first_game)
            assert lanes.acted[step].tolist() == random.integers(0, 3, 1).tolist()

    @pytest.mark.parametrize("epsilon", [0.0, 1.0])
    def test_the_player_acts_but_for_a_share(self, evaluation: Evaluation, epsilon: float) -> None:
        (lanes,) = evaluation.play(evaluation.plan(Playing(Q), games=5, epsilon=epsilon)).lanes
        random = numpy_generator(SEED, "evaluate", 0).integers(0, 3, 5).tolist()
        assert lanes.acted[0].tolist() == (random if epsilon else [2] * 5)

    @pytest.mark.parametrize(
        ("kind", "idle_frames", "told"),
        [
            # Games of 1, 2, 5, 4 and 3 steps. One that is over is not idle.
            (Idle, 2, [(1, "over"), (2, "over"), (2, "idle"), (2, "idle"), (2, "idle")]),
            (Idle, 0, [(1, "over"), (2, "over"), (5, "over"), (4, "over"), (3, "over")]),
            (Endless, 2, [(7, "limit")] * 5),
        ],
    )
    def test_games_that_do_not_end_are_ended_and_counted(
        self,
        evaluation: Evaluation,
        monkeypatch: pytest.MonkeyPatch,
        kind: type[Games],
        idle_frames: int,
        told: list[tuple[int, str]],
    ) -> None:
        limits = games_module.GameLimits
        monkeypatch.setattr(stage, "GameLimits", lambda frames: limits(frames, env_steps=7))
        job = evaluation.plan(games=5, max_idle_frames=idle_frames)
        played = evaluation.play(job, kind=kind)
        assert [(line["length"], line["ended"]) for _, line in played.run.lines] == told
        ends = [ended for _, ended in told]
        assert played.result["idle_games"] == ends.count("idle")
        assert played.result["cut_games"] == ends.count("limit")


class TestResumption:
    def test_a_signal_in_the_middle_of_a_wave_keeps_the_games_before_it(
        self, evaluation: Evaluation
    ) -> None:
        job = evaluation.plan(games=8, lanes=2)
        unbroken = evaluation.play(job)
        broken = evaluation.play(job, after_step=stop_in_the_second_wave)
        (state,) = broken.run.saved
        assert [game["game_return"] for game in state["games"]] == unbroken.result["returns"][:6]
        assert broken.result is None and broken.seeds == unbroken.seeds
        assert len(broken.lanes[0].acted) < len(unbroken.lanes[0].acted)

        resumed = evaluation.play(job, state)
        assert resumed.seeds == [EIGHT[6:]]
        assert resumed.result == unbroken.result and resumed.run.lines == unbroken.run.lines

    def test_an_environment_that_fails_costs_none_of_the_waves_before(
        self, evaluation: Evaluation
    ) -> None:
        saved: list[list[Any]] = []

        def fail_in_the_second_wave(played: Played) -> None:
            if in_the_second_wave(played):
                saved.append(played.run.saved)
                raise CorrtoolError("the simulator crashed")

        with pytest.raises(CorrtoolError, match="crashed"):
            evaluation.play(evaluation.plan(games=8, lanes=2), after_step=fail_in_the_second_wave)
        ((state,),) = saved
        assert len(state["games"]) == 6

    def test_one_that_fails_in_the_first_wave_leaves_nothing(self, evaluation: Evaluation) -> None:
        saved: list[list[Any]] = []

        def fail(played: Played) -> None:
            saved.append(played.run.saved)
            raise CorrtoolError("the simulator crashed")

        with pytest.raises(CorrtoolError, match="crashed"):
            evaluation.play(evaluation.plan(games=2), after_step=fail)
        assert saved == [[]]

    def test_only_lanes_for_what_is_left_are_opened(self, evaluation: Evaluation) -> None:
        resumed = evaluation.play(evaluation.plan(games=5, lanes=4), {"games": [BEFORE] * 4})
        assert [lanes.count for lanes in resumed.lanes] == [1] and resumed.seeds == [SEEDS[4:]]
        assert resumed.result["returns"] == [7.0, 7.0, 7.0, 7.0, 3.0]
        assert resumed.result["distinct_games"] == 2

    def test_what_is_shown_meanwhile(
        self, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(games_module, "SHOW_SECONDS", 0.0)
        evaluation.play(evaluation.plan(name="n", games=3, lanes=2), {"games": [BEFORE]})
        begun, resumes, *shown = evaluation.shown
        assert begun == ("evaluate n", 3, "games", 1, False)
        assert "resuming at 1 of 3 games" in resumes
        ended = [numbers for kind, count, numbers in shown if (kind, count) == ("show", 1)]
        assert ended == [{"last return": 2.0}, {"last return": 5.0}]
        running = [numbers for kind, count, numbers in shown if (kind, count) == ("show", 0)]
        assert len(running) == 6 and all("return so far" in numbers for numbers in running)
        assert shown[-1] == ("advance", 0, {"mean return": pytest.approx((7 + 2 + 5) / 3)})


class TestResult:
    def test_all_that_is_told_of_a_player(self, evaluation: Evaluation) -> None:
        settings: dict[str, Any] = {"epsilon": 0.5, "repeat_action_probability": 0.125}
        job = evaluation.plan(Playing(Q, CORR), name="n", games=5, **settings)
        result = evaluation.play(job).result
        low, high = result.pop("ci95")
        assert np.mean(STEPS) - 2 < low < 3 < high < np.mean(STEPS) + 2
        assert result == {
            "task": "target",
            "environment": "ALE/Breakout-v5",
            "policy": "q",
            "q": "agent",
            "corr": "upright",
            "epsilon": 0.5,
            "repeat_action_probability": 0.125,
            "games": 5,
            "distinct_games": 5,
            "idle_games": 0,
            "cut_games": 0,
            "returns": [1.0, 2.0, 5.0, 4.0, 3.0],
            "mean_return": 3.0,
            "seed": SEED,
            "name": "n",
        }

    def test_random_play_has_no_names_and_the_tasks_own_sticky_actions(
        self, evaluation: Evaluation
    ) -> None:
        result = evaluation.play(evaluation.plan(policy="random", games=1)).result
        assert (result["q"], result["corr"], result["epsilon"]) == (None, None, None)
        assert result["policy"] == "random" and result["repeat_action_probability"] == 0.25
