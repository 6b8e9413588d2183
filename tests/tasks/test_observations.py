"""What environments show becomes pictures or vectors, whatever layout, type and range it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box

from corrtool.errors import CorrtoolError, UsageError
from corrtool.states import StateSpec
from corrtool.tasks import Lanes, Task, action_names, parse_task, probe
from corrtool.tasks.observations import picture_layout


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRTOOL_TRUST", "odd_environments")


def task(name: str, kwargs: dict[str, Any] | None = None, **preprocessing: Any) -> Task:
    table = {
        "id": f"odd_environments:{name}-v0",
        "kwargs": kwargs or {},
        "preprocessing": preprocessing,
    }
    return parse_task("source", table, Path())


def picture(shape: tuple[int, ...], **more: Any) -> dict[str, Any]:
    return {"shape": list(shape), **more}


@pytest.mark.parametrize(
    ("shape", "channels_axis"),
    [
        ((84, 84, 12), 2), ((3, 96, 96), 0), ((12, 84, 84), 0), ((60, 80, 3), 2), ((10, 10, 4), 2),
        ((84, 84, 1), 2), ((1, 84, 84), 0), ((30, 20, 21), None), ((10, 10, 10), None),
        ((3, 84, 3), None), ((84, 3, 84), None),
    ],
)  # fmt: skip
def test_the_channels_are_the_shortest_axis_or_asked_for(
    shape: tuple[int, ...], channels_axis: int | None
) -> None:
    space = Box(0, 255, shape, np.uint8)
    if channels_axis is None:
        with pytest.raises(UsageError, match="--channels-axis"):
            picture_layout(space)
    else:
        layout = picture_layout(space)
        assert layout is not None
        assert layout.channels_axis == channels_axis
    for said, axis in (("first", 0), ("last", 2)):
        layout = picture_layout(space, said)
        assert layout is None or layout.channels_axis == axis


BOOLEANS: Any = np.dtype(bool)  # a type that Gymnasium takes, and that its own types leave out


@pytest.mark.parametrize(
    ("space", "is_picture"),
    [
        (Box(0, 255, (84, 84), np.uint8), True),
        (Box(0, 1, (64, 64, 3), np.float32), True),
        (Box(-1, 1, (64, 64, 3), np.float64), True),
        (Box(0.0, 1.0, (10, 10, 4), BOOLEANS), True),
        (Box(0, 10, (7, 7, 3), np.int64), True),
        (Box(0, 1000, (7, 7, 3), np.int64), False),  # a byte cannot tell them apart
        (Box(-np.inf, np.inf, (64, 64, 3), np.float32), False),
        (Box(0, 1, (5, 4), np.float32), False),  # a table
        (Box(0, 255, (128,), np.uint8), False),
        (Box(np.zeros((6, 6)), np.linspace(1, 2, 36).reshape(6, 6), dtype=np.float64), False),
    ],
)
def test_what_is_a_picture(space: Box, is_picture: bool) -> None:
    assert (picture_layout(space) is not None) == is_picture


@pytest.mark.parametrize(
    ("dtype", "low", "high", "shown", "kept"),
    [
        ("uint8", 0, 255, [0, 7, 255], [0, 7, 255]),
        ("float32", 0, 1, [0.0, 0.5, 1.0], [0, 128, 255]),
        ("float64", -1, 1, [-1.0, 0.0, 1.0], [0, 128, 255]),
        ("bool", 0, 1, [False, True, True], [0, 255, 255]),
        ("int32", 0, 10, [0, 1, 10], [0, 26, 255]),  # 25.5 is rounded to the even neighbour
        (
            "float32",
            0,
            1,
            [-0.5, 1.5, 0.2],
            [0, 255, 51],
        ),  # what is outside of its own range is cut off
    ],
)
def test_values_are_spread_over_bytes(
    dtype: str, low: float, high: float, shown: list[Any], kept: list[int]
) -> None:
    layout = picture_layout(Box(low, high, (5, 6), np.dtype(dtype)))
    assert layout is not None
    picture = np.zeros((5, 6), np.dtype(dtype))
    picture[0, :3] = shown
    assert layout.to_bytes(picture)[0, :3, 0].tolist() == kept
    assert layout.to_bytes(picture).dtype == np.uint8


@pytest.mark.parametrize(
    ("kwargs", "preprocessing", "spec"),
    [
        (picture((84, 84, 12)), {}, StateSpec("image", (12, 84, 84))),
        (picture((3, 96, 96)), {"screen_size": 84}, StateSpec("image", (3, 84, 84))),
        (picture((84, 84, 12)), {"screen_size": 42}, StateSpec("image", (12, 42, 42))),
        (
            picture((96, 64, 3), dtype="float32", high=1),
            {"grayscale": True},
            StateSpec("image", (1, 96, 64)),
        ),
        (
            picture((10, 10, 4), dtype="bool", high=1),
            {"stack": 2},
            StateSpec("image", (4, 10, 10), 2),
        ),
        (
            picture((10, 10, 10), dtype="bool", high=1),
            {"channels_axis": "last"},
            StateSpec("image", (10, 10, 10)),
        ),
        (picture((128,)), {}, StateSpec("vector", (128,))),
        (picture((9,), dtype="int16", high=99), {}, StateSpec("vector", (9,))),
        (picture((), dtype="float32", high=1), {}, StateSpec("vector", (1,))),
        (picture((4, 4, 3)), {}, StateSpec("vector", (48,))),
        (picture((5, 4), dtype="float32", high=1), {"stack": 2}, StateSpec("vector", (20,), 2)),
        (picture((8, 8, 3), dtype="float32", high=1000), {}, StateSpec("vector", (192,))),
    ],
)
def test_pictures_and_vectors_of_every_kind(
    kwargs: dict[str, Any], preprocessing: dict[str, Any], spec: StateSpec
) -> None:
    with Lanes(task("Picture", kwargs, **preprocessing), 2) as lanes:
        assert lanes.spec == spec
        first = lanes.reset([1, 2])
        second = lanes.step(np.zeros(2, np.int64)).frames
        assert first.shape == second.shape == (2, *spec.frame_shape)
        if spec.kind == "image":
            assert (first.min(), first.max(), second.min(), second.max()) == (0, 0, 255, 255)


def test_a_tuple_is_flattened_with_a_word_about_it() -> None:
    with Lanes(task("Pair"), 1) as lanes:
        assert lanes.spec == StateSpec("vector", (4,))
        assert "Tuple(" in lanes.notes[0]
        assert "4 numbers" in lanes.notes[0]
        lanes.reset([0])
        assert lanes.step(np.zeros(1, np.int64)).frames.tolist() == [[1.0, 0.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("name", "kwargs", "preprocessing", "said"),
    [
        ("Sequences", {}, {}, "Sequence(Discrete(3)"),
        ("Mission", {}, {}, "mission"),
        ("Picture", picture((4, 84, 84, 3)), {}, "--stack"),
        ("Picture", picture((84, 84, 12)), {"grayscale": True}, "12 channels"),
        ("Counting", {}, {"screen_size": 84}, "shows no pictures"),
        ("Counting", {}, {"channels_axis": "first"}, "shows no pictures"),
        ("Picture", {"no_such": 1}, {}, "TypeError"),
        ("Picture", picture((0, 48, 3)), {}, "which is empty"),
    ],
)
def test_what_cannot_be_taken_is_named(
    name: str, kwargs: dict[str, Any], preprocessing: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        probe(task(name, kwargs, **preprocessing))
    assert said in str(caught.value)


def test_atari_ram_is_refused() -> None:
    with pytest.raises(UsageError, match="obs_type"):
        probe(parse_task("source", {"id": "ALE/Pong-v5", "kwargs": {"obs_type": "ram"}}, Path()))


@pytest.mark.parametrize(
    ("name", "raised"),
    [
        ("Quitting", "SystemExit"),
        ("Interrupting", "KeyboardInterrupt"),
        ("Panicking", "Panic"),
    ],
)
def test_an_environment_that_means_to_end_the_process_is_one_error(name: str, raised: str) -> None:
    with (
        Lanes(task(name), 1) as lanes,
        pytest.raises(CorrtoolError, match=f"{raised}; fix") as caught,
    ):
        lanes.reset([0])
        for _ in range(120):
            lanes.step(np.ones(1, np.int64))
    assert caught.value.exit_code == 1


def test_what_an_environment_prints_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with Lanes(task("Talking"), 2) as lanes:
        lanes.reset([0, 1])
    assert capsys.readouterr() == ("", "a new episode\nof mine\n" * 2)


def test_what_an_environment_does_when_it_is_closed_harms_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Lanes(task("Unnamed"), 1) as lanes:
        lanes.reset([0])
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "closing\n"
        "corrtool: the environment odd_environments:Unnamed-v0 raised RuntimeError: "
        "close fails when it was closed\n"
    )
    assert action_names(task("Unnamed")) == ["0", "1"]


def test_a_reward_that_is_too_large_is_an_error() -> None:
    with Lanes(task("Rich"), 1) as lanes, pytest.raises(CorrtoolError, match="too large"):
        lanes.reset([0])
        for _ in range(20):
            lanes.step(np.zeros(1, np.int64))


def test_where_one_of_several_cannot_be_made_none_is_left_open() -> None:
    for _ in range(2):
        with pytest.raises(
            UsageError,
            match="port 5005 is taken; if there can be only one of it at a time, give --lanes 1",
        ):
            Lanes(task("Alone"), 2)
    with Lanes(task("Alone"), 1):
        pass


def test_a_time_limit_for_what_has_none() -> None:
    with Lanes(task("Endless"), 2) as lanes:
        assert not lanes.has_time_limit
    with Lanes(task("Endless", max_episode_steps=7), 2) as lanes:
        assert lanes.has_time_limit
        lanes.reset([0, 1])
        ends = [lanes.step(np.zeros(2, np.int64)).truncated.tolist() for _ in range(8)]
    assert ends == [[False, False]] * 6 + [[True, True], [False, False]]


@pytest.mark.parametrize("through_gymnasium", [False, True])
def test_a_time_limit_in_steps_for_atari(through_gymnasium: bool) -> None:
    given = {"max_episode_steps": 6, "max_episode_frames": 400}
    pong = parse_task("source", {"id": "ALE/Pong-v5", "preprocessing": given}, Path())
    with Lanes(pong, 2, through_gymnasium=through_gymnasium) as lanes:
        lanes.reset([0, 1])
        assert [bool(lanes.step(np.zeros(2, np.int64)).truncated.all()) for _ in range(6)] == [
            False
        ] * 5 + [True]


def test_sticky_actions_repeat_the_last_action() -> None:
    """Of two actions drawn by turns, one is repeated where an action sticks.

    The reward tells which was taken.
    """

    def rewards(probability: float, seed: int) -> list[float]:
        with Lanes(task("Endless").with_sticky_actions(probability), 1) as lanes:
            lanes.reset([seed])
            return [float(lanes.step(np.array([step % 2])).rewards[0]) for step in range(4000)]

    assert rewards(0.0, 1) == [1.0, 0.0] * 2000
    assert rewards(1.0, 1) == [1.0] * 4000
    some = rewards(0.25, 1)
    assert some == rewards(0.25, 1) != rewards(0.25, 2)
    # An action is the one meant unless it stuck, with probability 1/4, to one that was the other:
    # p = 1/4 (1 - p), so p = 1/5.
    missed = np.mean([reward != (step % 2 == 0) for step, reward in enumerate(some)])
    assert abs(missed - 0.2) < 0.03


def test_tasks_that_say_nothing_new_are_still_the_same() -> None:
    """Artifacts of older projects name their task by this."""
    known: dict[str, dict[str, Any]] = {
        "e28f79c80cade6a093e8c2339f4c5984a54fa590038f1a87be2a28e3fd42ced3": {"id": "ALE/Pong-v5"},
        "91310ff872246dc5115d4a667932c86b8ba5aef77207a4d8af4088e435c4d710": {"id": "CartPole-v1"},
        "e61383d50f9a0a46823f7f1a240c262631e1ea35f9099af596a179b07afa4484": {
            "id": "ALE/Pong-v5", "views": ["rotate:90"],
            "preprocessing": {"repeat_action_probability": 0.25},
        },
    }  # fmt: skip
    assert {parse_task("source", table, Path()).sha256: table for table in known.values()} == known


def test_an_artifact_fits_a_task_that_differs_in_nothing_but_sticky_actions() -> None:
    pong: dict[str, Any] = {"id": "ALE/Pong-v5"}
    plain = parse_task("source", pong, Path())
    sticky = parse_task(
        "source", pong | {"preprocessing": {"repeat_action_probability": 0.25}}, Path()
    )
    by_keyword = parse_task(
        "source", pong | {"kwargs": {"repeat_action_probability": 0.25}}, Path()
    )
    others: list[dict[str, Any]] = [
        {"preprocessing": {"stack": 2}},
        {"views": ["rotate:90"]},
        {"kwargs": {"mode": 1}},
        {"id": "ALE/Breakout-v5"},
    ]
    for task in (plain, sticky, by_keyword):
        for made_on in (plain, sticky, by_keyword):
            assert task.is_compatible_with(made_on.sha256, made_on.to_json())
        assert not any(
            task.is_compatible_with(other.sha256, other.to_json())
            for other in (parse_task("source", pong | table, Path()) for table in others)
        )
    assert plain.is_compatible_with(plain.sha256, None)
    assert not plain.is_compatible_with(sticky.sha256, None)
