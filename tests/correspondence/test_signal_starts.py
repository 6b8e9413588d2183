"""The search for the start of a gain-and-shift layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.model import Correspondence
from corrtool.correspondence.signal_starts import (
    SignalStart,
    candidate_signal_starts,
    gain_shift_layer,
)
from corrtool.correspondence.start_search import SignalStartSearch
from corrtool.correspondence.tones import Tone
from corrtool.environment_model.network import ScaledModel
from corrtool.memory import MemoryRows, ReplayMemory
from corrtool.memory.rows import FIELDS
from corrtool.state_scaling import StateScaling
from corrtool.states import SIGNAL, StateSpec
from corrtool.tasks.views.signals import Gain, Pitch

SPEC = StateSpec(SIGNAL, (2, 96))
PLACES = 5
PITCH = 1.5


def sounds() -> np.ndarray:
    """A call from each of five places between left and right, (5, 2, 96)."""
    time = np.arange(96) / 96
    call = np.exp(-3 * time) * np.sin(2 * np.pi * 5 * time)
    share = np.linspace(0.1, 0.9, PLACES)
    calls: np.ndarray = np.stack([1 - share, share], 1)[:, :, None] * call
    return calls.astype(np.float32)


class Walks(torch.nn.Module):
    """An exact environment model: action 1 moves the call a place to the right, 0 to the left.

    It knows the calls by the nearest of them.
    """

    def __init__(self, scaling: StateScaling) -> None:
        super().__init__()
        self.actions = 2
        self.known = scaling.raw_to_model(torch.from_numpy(sounds()))

    def forward(self, states: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        apart = (states[:, None] - self.known).abs().mean((2, 3))
        moved = (apart.argmin(1) + 2 * actions - 1).clamp(0, PLACES - 1)
        # What sounds like none of them stays as unlike as it is.
        return self.known[moved] + apart.min(1).values[:, None, None]


def memory(calls: np.ndarray, moves: tuple[int, int] = (-1, 1)) -> ReplayMemory:
    """A walk of 400 steps, with two actions of which each moves so far."""
    random = np.random.default_rng(0)
    places, actions = np.zeros(400, int), random.integers(0, 2, 400)
    for step in range(399):
        places[step + 1] = np.clip(places[step] + moves[actions[step]], 0, PLACES - 1)
    fields: dict[str, np.ndarray] = {name: np.zeros(400, dtype) for name, dtype in FIELDS.items()}
    fields["valid"][:-1], fields["actions"][:] = True, actions
    fields["episode_steps"][:] = np.arange(400)
    rows = MemoryRows(SPEC, 1, calls[places], fields)
    return ReplayMemory.from_rows(rows, torch.device("cpu"))


def scaling_of(m: ReplayMemory) -> StateScaling:
    return m.scaling(m.transition_rows())


@pytest.mark.parametrize("moves", [(-1, 1), (1, -1)], ids=["same actions", "exchanged actions"])
def test_swapped_channels_at_another_pitch_are_found(moves: tuple[int, int]) -> None:
    source = memory(sounds())
    target = memory(Pitch(PITCH).frames(sounds()[:, ::-1]), moves)
    scalings = scaling_of(source), scaling_of(target)
    correspondence = Correspondence(
        *scalings, GeneratorDescription("gain-shift"), ActionMap.identity(2)
    )
    frames = [
        scaling.raw_to_model(m.states(m.transition_rows()))
        for scaling, m in zip(scalings, (source, target), strict=True)
    ]
    starts = candidate_signal_starts(frames[0], frames[1], 40)
    assert len(starts) == 40 * 8  # two orders, either sign of each channel
    advanced: list[int] = []
    search = SignalStartSearch(
        correspondence,
        ScaledModel(Walks(scalings[0]), scalings[0]),
        target,
        starts,
        np.random.default_rng(0),
        advanced.append,
        find_actions=moves == (1, -1),
    )
    start, compared = search.run()
    assert sum(advanced) == search.length
    assert start.pitch == pytest.approx(1 / PITCH, rel=0.03)
    assert start.earlier == pytest.approx(0, abs=0.02)
    # Right and left are the same task with the actions exchanged too: one of both is found.
    assert start.tone is not None
    actions = (0, 1) if start.action_map is None else start.action_map.source_of
    swapped = start.tone.channels == (1, 0)
    assert swapped == ((actions == (0, 1)) == (moves == (-1, 1)))
    assert min(start.tone.gains) > 0
    assert compared["start_pitch"] == start.pitch
    assert len(compared["pitches"]) == len(compared["model_losses"]) == len(starts)
    layer, back = (
        gain_shift_layer(g)
        for g in (correspondence.target_to_source, correspondence.source_to_target)
    )
    assert layer is not None and back is not None
    assert layer.scale.item() == pytest.approx(start.pitch)
    assert back.scale.item() == pytest.approx(1 / start.pitch)


def test_a_channel_of_the_other_sign_is_found() -> None:
    """The view ``gain:0.5,-1``: F knows calls that are positive first, and no others."""
    source, target = memory(sounds()), memory(Gain((0.5, -1.0)).frames(sounds()))
    scalings = scaling_of(source), scaling_of(target)
    kind = GeneratorDescription("gain-shift")
    frames = [
        scaling.raw_to_model(m.states(m.transition_rows()))
        for scaling, m in zip(scalings, (source, target), strict=True)
    ]
    search = SignalStartSearch(
        Correspondence(*scalings, kind, ActionMap.identity(2)),
        ScaledModel(Walks(scalings[0]), scalings[0]),
        target,
        candidate_signal_starts(frames[0], frames[1], 40),
        np.random.default_rng(0),
    )
    start, _ = search.run()
    assert start.pitch == pytest.approx(1, abs=0.02)
    assert start.tone is not None and start.tone.channels == (0, 1)
    assert start.tone.gains[0] > 0 > start.tone.gains[1]


def test_candidates_begin_with_the_identity_and_have_one_deviation() -> None:
    source, target = torch.randn(30, 2, 64), 3 * torch.randn(30, 2, 64) + 1
    starts = candidate_signal_starts(source, target, 5)
    assert (starts[0].pitch, starts[0].earlier) == (1, 0)
    assert len(starts) == 40
    for start in starts:
        assert start.tone is not None
        assert sorted(start.tone.channels) == [0, 1]
    first = starts[0].tone
    assert first is not None
    for channel in (0, 1):
        toned = first.gains[channel] * target[:, channel] + first.offsets[channel]
        assert toned.std().item() == pytest.approx(source[:, channel].std().item(), rel=1e-3)
        assert toned.mean().item() == pytest.approx(source[:, channel].mean().item(), abs=1e-3)


def test_one_channel_is_each_of_two() -> None:
    starts = candidate_signal_starts(torch.randn(9, 1, 64), torch.randn(9, 2, 64), 1)
    assert {start.tone.channels for start in starts if start.tone} == {(0,), (1,)}
    starts = candidate_signal_starts(torch.randn(9, 2, 64), torch.randn(9, 1, 64), 1)
    assert {start.tone.channels for start in starts if start.tone} == {(0, 0)}


def test_a_start_says_what_is_unusual_about_it() -> None:
    assert str(SignalStart()) == "pitch × 1.000"
    start = SignalStart(0.5, -0.25, Tone.plain((1, 0)), ActionMap((1, 0), 2))
    assert str(start) == (
        "pitch × 0.500, 25.0% later, channels 1,0, target actions are [1, 0] of the source"
    )


def test_without_the_layer_there_is_nothing_to_start() -> None:
    scaling = StateScaling(SPEC)
    kind = GeneratorDescription("resnet", filters=2, blocks=1)
    correspondence = Correspondence(scaling, StateScaling(SPEC), kind)
    assert gain_shift_layer(correspondence.target_to_source) is None
    with pytest.raises(ValueError, match="no gain-and-shift layer"):
        SignalStart().set(correspondence)
