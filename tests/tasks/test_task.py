"""A task: its table in ``corrtool.toml``, its preprocessing, and what decides which one it is."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from support.lanes import PONG, task

from corrtool.errors import UsageError
from corrtool.settings.preprocessing import Preprocessing
from corrtool.tasks import parse_task


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
            ("frame_skip", 0), ("frame_skip", 4.0), ("frame_skip", True), ("frame_skip", "4"),
            ("frame_skip", None), ("noop_max", -1), ("stack", 0), ("stack", 2.5),
            ("screen_size", 8), ("max_episode_frames", 0), ("max_episode_frames", 10**9),
            ("repeat_action_probability", 1.5), ("repeat_action_probability", -0.1),
            ("repeat_action_probability", float("nan")), ("repeat_action_probability", True),
            ("grayscale", 1), ("max_pool", "yes"), ("fire_reset", None),
        ],
    )  # fmt: skip
    def test_values_that_make_no_sense_are_refused(self, name: str, value: Any) -> None:
        with pytest.raises(UsageError, match=f"preprocessing {name} (is|needs)"):
            task(**{name: value})

    def test_every_value_decides_which_task_it_is(self) -> None:
        given: list[dict[str, Any]] = [
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
        given += [{"max_episode_steps": 9}, {"observation_key": "sound"}]
        assert len({task(**values).sha256 for values in given}) == len(given)
        others = {"channels_axis", "signal", "time_axis"}  # which Atari games do not have
        assert {name for values in given for name in values} | others == {
            field.name for field in dataclasses.fields(Preprocessing)
        }
        assert task().sha256 == task(frame_skip=4).sha256


class TestTaskTable:
    @pytest.mark.parametrize(
        "table",
        [
            {}, {"id": ""}, {"id": 3}, {"id": PONG, "view": []}, {"id": PONG, "views": "rotate:90"},
            {"id": PONG, "views": [90]}, {"id": PONG, "kwargs": []},
            {"id": PONG, "preprocessing": 4},
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
