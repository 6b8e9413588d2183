"""The search for the start of a generator's spatial layer."""

from dataclasses import replace
from math import inf
from typing import Any, cast

import numpy as np
import pytest
import torch
from support.falling_ball import LargeBallFalls, ball_falls_turned

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.generators import rotation_angle_degrees
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.signal_starts import SignalStart
from corrtool.correspondence.spatial_starts import Start, candidate_starts, set_start
from corrtool.correspondence.start_search import (
    ANGLE_STARTS,
    StartSearch,
    model_loss_by_start,
)
from corrtool.correspondence.tones import Tone
from corrtool.environment_model.network import ScaledModel
from corrtool.errors import UsageError
from corrtool.layers import AffineLayer, RotationLayer, inverse_affine
from corrtool.settings.stages import LearnCorrSettings
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

SPEC = StateSpec("image", (1, 32, 32), 1)
NO_ACTION = torch.zeros(4, dtype=torch.int64)


class BallFalls(torch.nn.Module):
    """An exact environment model: everything moves down by two pixels, whatever the action."""

    def forward(self, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return torch.roll(states, 2, dims=2)


def falling_ball() -> tuple[torch.Tensor, torch.Tensor]:
    """Four states with a lopsided ball, left of the middle, and what follows them."""
    states = torch.zeros(4, 1, 32, 32, dtype=torch.uint8)
    for k in range(4):
        states[k, 0, 8 + 3 * k : 12 + 3 * k, 9:13] = 255
        states[k, 0, 8 + 3 * k, 13:16] = 128
    return states, torch.roll(states, 2, dims=2)


@pytest.mark.parametrize(
    ("kind", "framewise"),
    [("rotation", False), ("affine", False), ("affine-resnet", False), ("affine-resnet", True)],
)
def test_the_model_loss_is_least_where_the_turned_task_obeys_the_model(
    kind: str, framewise: bool
) -> None:
    states, following = falling_ball()
    turned, turned_following = (
        torch.rot90(x, 1, (2, 3)) for x in (states, following)
    )  # counter-clockwise
    scaling = StateScaling(SPEC)
    description = GeneratorDescription(kind, filters=2, blocks=1, framewise=framewise)
    correspondence = Correspondence(scaling, StateScaling(SPEC), description)
    model = ScaledModel(BallFalls(), scaling)
    starts = [start for start in candidate_starts(correspondence, 0.0, 12) if not start.mirrored]
    losses = model_loss_by_start(correspondence, model, turned, NO_ACTION, turned_following, starts)
    assert starts[losses.index(min(losses))].degrees == pytest.approx(-90)
    assert min(losses) == pytest.approx(0, abs=1e-5)

    set_start(correspondence, Start(-90.0))
    assert torch.allclose(correspondence.translate(turned), scaling.raw_to_model(states), atol=1e-4)
    back = correspondence.source_to_target(scaling.raw_to_model(states))
    assert torch.allclose(back, scaling.raw_to_model(turned), atol=1e-4)


def test_a_layer_after_a_resnet_is_searched_as_if_that_did_nothing() -> None:
    states, following = falling_ball()
    turned, turned_following = (torch.rot90(x, 1, (2, 3)) for x in (states, following))
    scaling = StateScaling(SPEC)
    correspondence = Correspondence(
        scaling, StateScaling(SPEC), GeneratorDescription("resnet-rotation", filters=2, blocks=1)
    )
    starts = candidate_starts(correspondence, 0.0, 12)
    losses = model_loss_by_start(
        correspondence,
        ScaledModel(BallFalls(), scaling),
        turned,
        NO_ACTION,
        turned_following,
        starts,
    )
    assert starts[losses.index(min(losses))].degrees == pytest.approx(-90)
    set_start(correspondence, Start(-90.0))
    angles = (
        rotation_angle_degrees(correspondence.target_to_source),
        rotation_angle_degrees(correspondence.source_to_target),
    )
    assert angles == pytest.approx((-90, 90))


class NewestFrameFalls(torch.nn.Module):
    """An exact environment model of two frames."""

    def forward(self, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        return torch.stack([states[:, 1], torch.roll(states[:, 1], 2, dims=1)], dim=1)


def test_a_framewise_generator_is_searched_frame_by_frame() -> None:
    """The target shows its newest frame first, the source last."""
    states, following = falling_ball()
    after = torch.roll(following, 2, dims=2)
    turned = [torch.rot90(x, 1, (2, 3)) for x in (states, following, after)]
    source = StateSpec("image", (1, 32, 32), 2)
    scalings = StateScaling(source), StateScaling(replace(source, stack_order=(1, 0)))
    kind = GeneratorDescription("resnet-rotation", filters=2, blocks=1, framewise=True)
    correspondence = Correspondence(*scalings, kind)
    losses = model_loss_by_start(
        correspondence,
        ScaledModel(NewestFrameFalls(), scalings[0]),
        torch.cat([turned[1], turned[0]], dim=1),
        NO_ACTION,
        torch.cat([turned[2], turned[1]], dim=1),
        starts := candidate_starts(correspondence, 0.0, 12),
    )
    assert starts[losses.index(min(losses))].degrees == pytest.approx(-90)
    assert min(losses) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("degrees", [94.0, -37.0])
@pytest.mark.parametrize("records", [4, 200])
def test_an_answer_between_the_starts_is_found(degrees: float, records: int) -> None:
    scaling = StateScaling(StateSpec("image", (1, 84, 84), 1))
    target = ball_falls_turned(degrees, records, scaling)
    correspondence = Correspondence(
        scaling, StateScaling(scaling.spec), GeneratorDescription("rotation")
    )
    starts = candidate_starts(correspondence, 0.0, ANGLE_STARTS)
    model = ScaledModel(LargeBallFalls(), scaling)
    advanced: list[int] = []
    search = StartSearch(
        correspondence, model, target, starts, np.random.default_rng(0), advanced.append
    )
    _, found = search.run()
    assert sum(advanced) == search.length
    assert len(found["model_losses"]) == len(starts) and len(found["finalist_model_losses"]) == 8
    assert found["start_degrees"] == pytest.approx(
        rotation_angle_degrees(correspondence.target_to_source), abs=1e-3
    )
    assert found["start_degrees"] == pytest.approx(-degrees, abs=1.5)


def test_the_hands_are_compared_where_each_fits_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pong upside down is nearly Pong.

    A mirrored start that lies nearer to its best angle has less loss than the right one.
    """

    def loss(start: Start) -> float:
        best, least = (-95.5, 0.60) if start.mirrored else (-85.0, 0.58)
        return least + 0.05 * min(abs(start.degrees - best), 10.0)

    monkeypatch.setattr(
        "corrtool.correspondence.start_search.model_loss_by_start",
        lambda *given: [loss(start) for start in given[-1]],
    )
    scaling = StateScaling(StateSpec("image", (1, 84, 84), 1))
    correspondence = Correspondence(
        scaling, StateScaling(scaling.spec), GeneratorDescription("affine")
    )
    starts = candidate_starts(correspondence, 0.0, ANGLE_STARTS)
    target = ball_falls_turned(85.0, 4, scaling)
    advanced: list[int] = []
    assert min(starts, key=loss) == Start(-96.0, mirrored=True)
    search = StartSearch(
        correspondence,
        ScaledModel(LargeBallFalls(), scaling),
        target,
        starts,
        np.random.default_rng(0),
        advanced.append,
    )
    best, found = search.run()
    assert best == Start(-85.0)
    # Three records: of 240 starts, of 8 finalists, and of both hands turned three ways.
    assert sum(advanced) == search.length == 3 * (240 + 8 + 6)
    assert (found["start_degrees"], found["start_mirrored"]) == (-85.0, False)


def test_finalists_of_one_hand_are_not_turned_but_all_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "corrtool.correspondence.start_search.model_loss_by_start",
        lambda *given: [float(start.mirrored) for start in given[-1]],
    )
    scaling = StateScaling(StateSpec("image", (1, 84, 84), 1))
    correspondence = Correspondence(
        scaling, StateScaling(scaling.spec), GeneratorDescription("affine")
    )
    starts = candidate_starts(correspondence, 0.0, 10)
    target = ball_falls_turned(85.0, 4, scaling)
    advanced: list[int] = []
    model = ScaledModel(LargeBallFalls(), scaling)
    search = StartSearch(
        correspondence, model, target, starts, np.random.default_rng(0), advanced.append
    )
    _, found = search.run()
    assert found["turned_model_losses"] == []
    assert sum(advanced) == search.length == 3 * (20 + 8 + 6)


@pytest.mark.parametrize(
    ("losses", "known", "expected"),
    [
        ((0.40, 0.41, 0.60), "mirrored", "exchanged"),  # two symmetries: the other one
        ((0.40, 0.41, 0.60), None, "mirrored"),
        ((0.40, 0.41, 0.60), "upright", "mirrored"),
        ((0.40, 0.45, 0.46), "mirrored", "mirrored"),  # no other is near
    ],
)
def test_another_symmetry_is_preferred_to_the_one_that_is_known(
    losses: tuple[float, ...], known: str | None, expected: str
) -> None:
    same, exchanged = ActionMap((0, 1), 2), ActionMap((1, 0), 2)
    starts = {
        "mirrored": Start(-90.0, mirrored=True, action_map=same),
        "exchanged": Start(-90.0, action_map=exchanged),
        "upright": Start(-89.0, action_map=same),
    }
    but_not = None if known is None else replace(starts[known], degrees=-91.0, action_map=None)
    search = StartSearch(*(cast(Any, None),) * 3, [], cast(Any, None), but_not=but_not)
    left, left_losses = search._others(list(starts.values()), list(losses))
    assert left[int(np.argmin(left_losses))] == starts[expected]


def test_where_the_time_is_over_none_is_preferred_unseen() -> None:
    known = Start(-90.0, mirrored=True)
    search = StartSearch(*(cast(Any, None),) * 3, [], cast(Any, None), but_not=known)
    starts, losses = [known, Start(0.0)], [0.4, inf]
    assert search._others(starts, losses) == (starts, losses)


def test_signals_resemble_each_other_by_channels_and_actions() -> None:
    tones = [Tone.plain(channels) for channels in ((0, 1), (1, 0))]
    start = SignalStart(1.3, 0.0, tones[0], ActionMap.identity(2))
    assert start.resembles(SignalStart(1.0, 0.5, tones[0]))
    assert not start.resembles(replace(start, tone=tones[1]))
    assert not start.resembles(replace(start, action_map=ActionMap((1, 0), 2)))


def test_many_transitions_are_compared_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def loss(*given: Any) -> list[float]:
        sizes.append(len(given[2]))
        return [abs(start.degrees) / 360 for start in given[-1]]

    monkeypatch.setattr("corrtool.correspondence.start_search.model_loss_by_start", loss)
    monkeypatch.setattr("corrtool.correspondence.start_search.BATCH", 10)
    scaling = StateScaling(StateSpec("image", (1, 84, 84), 1))
    correspondence = Correspondence(
        scaling, StateScaling(scaling.spec), GeneratorDescription("affine")
    )
    target, starts = ball_falls_turned(0.0, 32, scaling), candidate_starts(correspondence, 0.0, 2)
    model = ScaledModel(LargeBallFalls(), scaling)
    search = StartSearch(correspondence, model, target, starts, np.random.default_rng(0))
    _, found = search.run()
    assert found["angles_degrees"] == [start.degrees for start in starts]
    assert found["mirrored"] == [False, False, True, True]
    # 24 records; the 16 of the first comparison are two batches, all of them three.
    assert sizes == 4 * [8, 8] + 4 * [8, 8, 8] + 6 * [8, 8, 8]


def test_a_start_of_oblong_pictures_does_not_shear_them() -> None:
    scaling = StateScaling(StateSpec("image", (1, 32, 48), 1))
    correspondence = Correspondence(
        scaling, StateScaling(scaling.spec), GeneratorDescription("affine")
    )
    set_start(correspondence, Start(37.0))
    pictures = torch.rand(2, 1, 32, 48) * 2 - 1
    turned = correspondence.target_to_source(pictures)
    assert torch.allclose(turned, RotationLayer(37.0)(pictures), atol=1e-5)


def test_generators_without_a_spatial_layer_have_no_start() -> None:
    scaling = StateScaling(SPEC)
    generator = GeneratorDescription("resnet", filters=2, blocks=1)
    correspondence = Correspondence(scaling, StateScaling(SPEC), generator)
    with pytest.raises(ValueError, match="no spatial layer"):
        set_start(correspondence, Start(0.0))


def test_a_start_says_whether_it_is_mirrored() -> None:
    assert [str(Start(0.0)), str(Start(0.04, mirrored=True))] == ["0.0°", "0.0°, mirrored"]


def test_a_mirror_image_is_undone() -> None:
    states, _ = falling_ball()
    seen = torch.rot90(states.flip(3), 1, (2, 3))
    scaling = StateScaling(SPEC)
    correspondence = Correspondence(scaling, StateScaling(SPEC), GeneratorDescription("affine"))
    set_start(
        correspondence, Start(90.0, mirrored=True)
    )  # a mirror image turned back is one turned on
    assert torch.allclose(correspondence.translate(seen), scaling.raw_to_model(states), atol=1e-4)
    back = correspondence.source_to_target(scaling.raw_to_model(states))
    assert torch.allclose(back, scaling.raw_to_model(seen), atol=1e-4)


@pytest.mark.parametrize("degrees", [0.0, 37.0, 90.0, -120.0])
@pytest.mark.parametrize("width", [20, 32])
def test_an_affine_layer_without_a_mirror_is_a_rotation(degrees: float, width: int) -> None:
    pictures = torch.rand(2, 3, 20, width) * 2 - 1
    affine = AffineLayer(degrees, aspect=20 / width)
    assert torch.allclose(affine(pictures), RotationLayer(degrees)(pictures), atol=1e-5)


def test_the_inverse_of_an_affine_map_with_a_shift() -> None:
    matrix = torch.tensor([[0.5, 0.2, 0.1], [-0.3, 1.5, -0.4]])
    points = torch.tensor([[0.3], [-0.8]])
    there = matrix[:, :2] @ points + matrix[:, 2:]
    inverse = inverse_affine(matrix)
    assert torch.allclose(inverse[:, :2] @ there + inverse[:, 2:], points, atol=1e-6)


def test_starts_all_around() -> None:
    rotation, affine = (
        Correspondence(StateScaling(SPEC), StateScaling(SPEC), GeneratorDescription(k))
        for k in ("rotation", "affine")
    )
    assert [s.degrees for s in candidate_starts(rotation, 0, 4)] == pytest.approx([0, 90, 180, -90])
    assert [s.degrees for s in candidate_starts(rotation, 30, 2)] == pytest.approx([30, -150])
    assert candidate_starts(affine, 20, 1) == [Start(20.0)]
    assert [(s.degrees, s.mirrored) for s in candidate_starts(affine, 0, 2)] == [
        (0, False),
        (180, False),
        (0, True),
        (180, True),
    ]


@pytest.mark.parametrize(
    "given", [{"generator": "resnet"}, {"generator": "rotation", "lambda_m": 0.0}]
)
def test_a_search_that_cannot_be_made_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="--angle-starts"):
        LearnCorrSettings(angle_starts=ANGLE_STARTS, **given)
    LearnCorrSettings(angle_starts=1, **given)
