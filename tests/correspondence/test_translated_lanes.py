"""The target task as the source agent sees it, and its Q-values there: eq. (6) and (13)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.play import TransferredQValues, TranslatedLanes
from corrtool.memory import StateStacker
from corrtool.q_learning.network import build_q_function
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec
from corrtool.tasks import LaneStep

CPU = torch.device("cpu")
IMAGES = StateSpec("image", (1, 20, 20), 3)
SOURCE_VECTORS, TARGET_VECTORS = StateSpec("vector", (3,), 2), StateSpec("vector", (2,), 2)
RESNET = GeneratorDescription("resnet", filters=4, blocks=1)


def images(framewise: bool) -> Correspondence:
    torch.manual_seed(0)
    description = replace(RESNET, framewise=framewise)
    return Correspondence(StateScaling(IMAGES), StateScaling(IMAGES), description).eval()


def vectors() -> Correspondence:
    torch.manual_seed(0)
    source = StateScaling(SOURCE_VECTORS, torch.arange(6.0), torch.arange(1.0, 7.0))
    target = StateScaling(TARGET_VECTORS, torch.full((4,), 2.0), torch.full((4,), 5.0))
    return Correspondence(source, target, GeneratorDescription("linear")).eval()


class Played:
    """Two lanes with random frames, the second of which begins a new episode at the third step."""

    actions, count, frames_per_step, has_time_limit = 5, 2, 4, False
    reward_threshold: float | None = 200.0

    def __init__(self, spec: StateSpec) -> None:
        self.spec = spec
        self.entered = 0
        self.seeds: list[int] = []
        self.sent: list[list[int]] = []
        self._random = np.random.default_rng(0)
        self._steps = np.zeros(2, np.int64)
        self.frames: list[NDArray[Any]] = []

    def __enter__(self) -> Played:
        self.entered += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.entered -= 1

    def reset(self, seeds: list[int]) -> NDArray[Any]:
        self.seeds = seeds
        return self._see()

    def restart(self, lanes: list[int], seeds: list[int]) -> NDArray[Any]:
        self.seeds, self._steps[lanes] = seeds, 0
        return self._see()[lanes]

    def send(self, actions: NDArray[np.int64]) -> None:
        self.sent.append(actions.tolist())

    def receive(self) -> LaneStep:
        self._steps = self._steps + 1
        if len(self.frames) == 3:
            self._steps[1] = 0
        some = np.array([True, False])
        return LaneStep(
            self._see(), np.array([1.5, -2.0], np.float32), some, ~some, some, self._steps.copy()
        )

    def _see(self) -> NDArray[Any]:
        shape = (2, *self.spec.frame_shape)
        if self.spec.kind == "image":
            self.frames.append(self._random.integers(0, 256, shape).astype(np.uint8))
        else:
            self.frames.append(self._random.normal(size=shape).astype(np.float32))
        return self.frames[-1]


@pytest.mark.parametrize("made", [lambda: images(True), lambda: images(False), vectors])
def test_each_frame_is_the_translated_state(made: Any) -> None:
    correspondence: Correspondence = made()
    lanes = Played(correspondence.target_scaling.spec)
    source = correspondence.source_scaling
    stacker = StateStacker(lanes.spec, 2, CPU)
    with TranslatedLanes(lanes, correspondence, CPU) as translated:
        assert lanes.entered == 1
        frames, steps = [translated.reset([3, 4])], [np.zeros(2, np.int64)]
        for actions in ([0, 4], [1, 3], [2, 2], [3, 1]):
            translated.send(np.array(actions))
            step = translated.receive()
            frames.append(step.frames)
            steps.append(step.episode_steps)
            assert step.rewards.tolist() == [1.5, -2.0] and step.valid.tolist() == [True, False]
            assert step.terminated.tolist() == [True, False] == (~step.truncated).tolist()
    assert lanes.entered == 0 and lanes.seeds == [3, 4]
    assert lanes.sent == [[0, 4], [1, 3], [2, 2], [3, 1]]
    for seen, shown, episode_steps in zip(lanes.frames, frames, steps, strict=True):
        with torch.inference_mode():
            expected = source.model_to_raw(
                correspondence.translate(stacker.push(seen, episode_steps))
            )
        assert shown.dtype == expected.numpy().dtype
        # framewise, a picture is translated in another batch: its rounding may go the other way
        np.testing.assert_allclose(
            shown.astype(float),
            expected.numpy().astype(float),
            rtol=1e-4,
            atol=1.0 if shown.dtype == np.uint8 else 1e-5,
        )
    spec = translated.spec
    assert (spec.kind, spec.frame_shape, spec.stack) == (
        source.spec.kind,
        source.spec.state_shape,
        1,
    )
    assert (translated.actions, translated.count) == (5, 2)
    assert (translated.frames_per_step, translated.has_time_limit) == (4, False)
    assert translated.reward_threshold == 200.0


@pytest.mark.parametrize("made", [lambda: images(True), lambda: images(False), vectors])
def test_a_lane_that_begins_anew_is_translated_with_nothing_before(made: Any) -> None:
    correspondence: Correspondence = made()
    lanes = Played(correspondence.target_scaling.spec)
    with TranslatedLanes(lanes, correspondence, CPU) as translated:
        translated.reset([3, 4])
        translated.send(np.array([0, 1]))
        translated.receive()
        shown = translated.restart([1], [7])
    assert lanes.seeds == [7]
    stacker = StateStacker(lanes.spec, 1, CPU)
    with torch.inference_mode():
        states = correspondence.translate(stacker.push(lanes.frames[-1][1:]))
        expected = correspondence.source_scaling.model_to_raw(states).numpy()
    assert shown.shape == (1, *translated.spec.frame_shape) and shown.dtype == expected.dtype
    np.testing.assert_allclose(
        shown.astype(float), expected.reshape(shown.shape).astype(float), rtol=1e-4,
        atol=1.0 if shown.dtype == np.uint8 else 1e-5,
    )  # fmt: skip


def test_q_values_are_those_of_the_translated_state_in_the_source_tasks_units() -> None:
    correspondence = vectors()
    q_function = build_q_function(SOURCE_VECTORS, 3)
    raw = torch.randn(4, 4)
    with torch.no_grad():
        found = TransferredQValues(q_function, correspondence)(raw)
        # (x - 2) / 5, through G_T, times σ plus μ of the source
        model = correspondence.target_to_source((raw - 2.0) / 5.0)
        expected = q_function(model * torch.arange(1.0, 7.0) + torch.arange(6.0))
    torch.testing.assert_close(found, expected)


def test_games_that_are_over_are_left_out_of_the_q_values() -> None:
    correspondence, q_function = (
        images(True),
        build_q_function(StateSpec("image", (1, 20, 20), 3), 2),
    )
    random = torch.Generator().manual_seed(0)
    states = torch.randint(0, 256, (2, 3, 3, 20, 20), dtype=torch.uint8, generator=random)
    with torch.no_grad():
        q_values = TransferredQValues(q_function, correspondence)
        q_values(states[0], np.arange(3))
        found = q_values(states[1, [0, 2]], np.array([0, 2]))
        expected = q_function((correspondence.translate(states[1, [0, 2]]) + 1) / 2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
