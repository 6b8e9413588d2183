"""The layers of signals, on numbers small enough to write down, and their networks' shapes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corrtool.correspondence.description import GENERATORS, GeneratorDescription
from corrtool.correspondence.discriminators import build_discriminator
from corrtool.environment_model.network import Prediction, build_environment_model
from corrtool.q_learning.network import build_q_function
from corrtool.signal_layers import GainShiftLayer, resampled
from corrtool.state_scaling import StateScaling
from corrtool.states import SIGNAL, StateSpec
from corrtool.tasks.views.signals import Pitch

STEREO = StateSpec(SIGNAL, (2, 40), 3)
pytestmark = pytest.mark.usefixtures("seeded")


def at(x: torch.Tensor, scale: float, shift: float) -> list[float]:
    found: list[float] = resampled(x, torch.tensor(scale), torch.tensor(shift)).tolist()
    return found


def test_time_is_read_at_scale_times_i_plus_the_shift() -> None:
    x = torch.tensor([1.0, 2.0, 4.0, 8.0])
    assert at(x, 1.0, 0.0) == [1, 2, 4, 8]
    assert at(x, 2.0, 0.0) == [1, 4, 0, 0]
    assert at(x, 0.5, 0.0) == [1, 1.5, 2, 3]
    assert at(x, 1.0, 0.25) == [2, 4, 8, 0]
    assert at(x, 1.0, -0.5) == [0, 0, 1, 2]
    assert at(x, 1.0, -0.125) == [0.5, 1.5, 3, 6]  # half a sample later; before the first is 0
    assert at(x, 3.5, 0.0) == [1, 4, 0, 0]  # half a sample after the last


@settings(deadline=None)
@given(st.floats(0.1, 8))
def test_the_layer_and_the_view_agree_on_what_pitch_is(factor: float) -> None:
    x = torch.linspace(-1, 1, 40).sin().expand(1, 1, 40)
    seen = torch.from_numpy(Pitch(factor).frames(x.numpy()))
    assert torch.allclose(
        resampled(x, torch.tensor(factor), torch.tensor(0.0)), seen, atol=2e-4 * factor
    )


def test_scale_and_shift_learn() -> None:
    """A sine heard too low is tuned by descent."""
    time = torch.arange(64) / 64
    wanted, heard = (torch.sin(2 * torch.pi * cycles * time)[None, None] for cycles in (4.0, 3.8))
    layer = GainShiftLayer(1, 1)
    optimizer = torch.optim.Adam(layer.parameters(), 2e-3)
    for _ in range(200):
        optimizer.zero_grad()
        (layer(heard)[..., :56] - wanted[..., :56]).abs().mean().backward()
        optimizer.step()
    assert layer.scale.item() == pytest.approx(4.0 / 3.8, abs=5e-3)


def test_channels_are_mixed_in_every_frame() -> None:
    layer = GainShiftLayer(2, 1)
    with torch.no_grad():
        layer.matrix.copy_(torch.tensor([[2.0, -1.0]]))
        layer.bias.fill_(0.5)
    x = torch.randn(5, 3 * 2, 40)
    mixed = layer(x)
    assert mixed.shape == (5, 3, 40)
    for frame in range(3):
        expected = 2 * x[:, 2 * frame] - x[:, 2 * frame + 1] + 0.5
        assert torch.allclose(mixed[:, frame], expected, atol=1e-6)


def test_an_inverse_undoes_what_stays_in_hearing() -> None:
    there, back = GainShiftLayer(2, 2), GainShiftLayer(2, 2)
    with torch.no_grad():
        there.matrix.copy_(torch.tensor([[0.0, 2.0], [-1.0, 0.5]]))
        there.bias.copy_(torch.tensor([0.1, -0.2]))
        there.scale.fill_(1.25)
        there.shift.fill_(-0.1)
    back.set_to_inverse_of(there)
    x = torch.stack([torch.linspace(0, 1, 40), torch.linspace(1, -1, 40)])[None]
    returned = back(there(x))
    assert torch.allclose(returned[..., 2:35], x[..., 2:35], atol=1e-5)  # linear, so exact


@pytest.mark.parametrize("spec", [STEREO, StateSpec(SIGNAL, (1, 32)), StateSpec(SIGNAL, (3, 101))])
def test_there_is_a_network_of_every_kind(spec: StateSpec) -> None:
    x = torch.randn(2, *spec.state_shape)
    assert build_q_function(spec, 4)(x).shape == (2, 4)
    assert build_discriminator(spec, 8)(x).shape[:2] == (2, 1)
    predictions: tuple[Prediction, ...] = ("residual", "state")
    for prediction in predictions:
        model = build_environment_model(spec, 4, filters=2, blocks=1, prediction=prediction)
        assert model(x, torch.tensor([0, 3])).shape == x.shape
    for kind in GENERATORS[SIGNAL]:
        for framewise in (False, True):
            description = GeneratorDescription(kind, filters=2, blocks=1, framewise=framewise)
            translated = description.build(spec, spec)(x)
            assert translated.shape == x.shape
            translated.square().sum().backward()


def test_generators_with_a_gain_shift_layer_start_as_the_identity() -> None:
    x = torch.randn(2, *STEREO.state_shape)
    for kind in ("gain-shift", "gain-shift-resnet"):
        generator = GeneratorDescription(kind, filters=2, blocks=1).build(STEREO, STEREO)
        assert torch.allclose(generator(x), x)


def test_one_channel_may_become_two_and_one_length_not_another() -> None:
    mono, other = StateSpec(SIGNAL, (1, 40), 3), StateSpec(SIGNAL, (2, 48), 3)
    for kind in GENERATORS[SIGNAL]:
        description = GeneratorDescription(kind, filters=2, blocks=1, framewise=True)
        assert description.build(mono, STEREO)(torch.randn(2, 3, 40)).shape == (2, 6, 40)
        with pytest.raises(ValueError, match="signals of"):
            description.build(STEREO, other)
    with pytest.raises(ValueError, match="one stack"):
        GeneratorDescription("gain-shift").build(STEREO, StateSpec(SIGNAL, (2, 40), 2))
    with pytest.raises(ValueError, match="choose resnet, gain-shift, gain-shift-resnet"):
        GeneratorDescription("affine").build(STEREO, STEREO)


def test_f_knows_the_action_and_keeps_what_is_no_news() -> None:
    model = build_environment_model(STEREO, 3, filters=4, blocks=1, prediction="residual")
    x = torch.randn(2, *STEREO.state_shape)
    one, other = (model(x, torch.full((2,), action)) for action in (0, 1))
    assert torch.equal(one[:, :4], x[:, 2:])
    assert not torch.allclose(one[:, 4:], other[:, 4:])


def test_signals_are_standardised_channel_by_channel() -> None:
    states = torch.randn(50, *STEREO.state_shape) * 3 + 2
    states[:, 1::2] *= 10
    scaling = StateScaling.from_states(STEREO, states)
    assert scaling.mean.shape == scaling.deviation.shape == (2, 1)
    model = scaling.raw_to_model(states)
    frames = STEREO.frames_of(model)
    assert torch.allclose(frames.mean((0, 1, 3)), torch.zeros(2), atol=1e-4)
    assert torch.allclose(frames.std((0, 1, 3)), torch.ones(2), atol=1e-3)
    assert torch.allclose(scaling.model_to_raw(model), states, atol=1e-4)
    assert torch.equal(scaling.raw_to_q(states), states)
    one_frame = scaling.raw_to_model(STEREO.frames_of(states)[:, -1:])
    assert torch.equal(one_frame, frames[:, -1:])
    assert not StateScaling.from_states(STEREO, states * 0).raw_to_model(states * 0).any()
