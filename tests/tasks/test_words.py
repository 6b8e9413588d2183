"""The preprocessing of a task in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from corrtool.states import StateSpec
from corrtool.tasks import parse_task
from corrtool.tasks.words import preprocessing_in_words

PICTURES = StateSpec("image", (1, 84, 84), 4)
OTHER = {
    "frame_skip": 1,
    "max_pool": False,
    "noop_max": 0,
    "fire_reset": True,
    "terminal_on_life_loss": True,
    "repeat_action_probability": 0.25,
}


@pytest.mark.parametrize(
    "preprocessing, words",
    [
        (
            {},
            "an action lasts 4 frames; the maximum of the last two is shown; up to 30 no-ops at "
            "the start; FIRE is not pressed at the start; a lost life does not end an episode; no "
            "sticky actions",
        ),
        (
            OTHER,
            "an action lasts 1 frame; the last is shown; no no-ops at the start; FIRE is pressed "
            "at the start; a lost life ends an episode; sticky actions of 0.25",
        ),
    ],
    ids=["as by default", "all other"],
)
def test_atari(preprocessing: dict[str, object], words: str) -> None:
    task = parse_task("source", {"id": "ALE/Pong-v5", "preprocessing": preprocessing}, Path())
    begin = "states of 84 × 84 pixels, 1 channel, 4 stacked; grey; "
    assert preprocessing_in_words(task, PICTURES, 6) == f"{begin}{words}; 6 actions"


def test_vectors() -> None:
    table = {"id": "CartPole-v1", "views": ["permute:1,0,2,3", "scale:2,1,1,1"]}
    task = parse_task("target", table, Path())
    assert preprocessing_in_words(task, StateSpec("vector", (4,)), 2) == (
        "states of 4 numbers, 1 stacked; numbers as the environment has them, not normalised; no "
        "sticky actions; seen through permute:1,0,2,3, scale:2,1,1,1; 2 actions"
    )
