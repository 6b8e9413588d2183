"""The tone of a picture: a layer on the values and channels of each frame, wherever they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from corrtool.layers import clamp_straight_through


class ToneLayer(nn.Module):
    """A 1×1 convolution that every frame of a state shares: v ↦ M v + b, cut off at -1 and 1.

    (B, K·in_channels, H, W) in [-1, 1] → (B, K·out_channels, H, W) in [-1, 1]. ``matrix``
    (out_channels, in_channels) and ``bias`` (out_channels,) start as the identity; a channel that
    has none to be starts black. Unlike a resnet it cannot change one place only, so that a few
    pictures teach it.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(out_channels, in_channels))
        bias = torch.zeros(out_channels)
        bias[in_channels:] = -1.0
        self.bias = nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        frames = x.reshape(x.shape[0], -1, self.matrix.shape[1], height, width)
        toned = torch.einsum("oc,bkchw->bkohw", self.matrix, frames) + self.bias[:, None, None]
        return clamp_straight_through(toned.flatten(1, 2), -1.0, 1.0)


class TonedGenerator(nn.Module):
    """A generator with a tone layer in front of it, or after it.

    In front where its spatial layer works on the tones that come out, whose black is then what is
    outside the picture: so G_T does. G_S, which goes the other way, has it after.
    (B, C, H, W) in [-1, 1] → the same kind, of perhaps another number of channels.
    """

    def __init__(self, tone: ToneLayer, generator: nn.Module, *, tone_first: bool) -> None:
        super().__init__()
        self.tone, self.generator, self._tone_first = tone, generator, tone_first

    def forward(self, states: Tensor) -> Tensor:
        order = (self.tone, self.generator)
        for layer in order if self._tone_first else reversed(order):
            states = layer(states)
        return states


def tone_layer(generator: nn.Module) -> ToneLayer | None:
    """The tone layer that is part of a generator; None without one."""
    return next((layer for layer in generator.modules() if isinstance(layer, ToneLayer)), None)


def inverse_tone(matrix: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Matrix and bias of the opposite tone; of different numbers of channels the pseudo-inverse.

    A channel that nothing came of is black on the way back.

    Args:
        matrix: (out_channels, in_channels).
        bias: (out_channels,).

    Returns:
        (in_channels, out_channels) and (in_channels,).
    """
    if matrix.shape[0] == matrix.shape[1]:
        inverse = torch.linalg.inv(matrix)
        return inverse, -inverse @ bias
    inverse = torch.linalg.pinv(matrix)
    nothing = inverse.abs().amax(1) < 1e-6
    return inverse, torch.where(nothing, -1.0, -inverse @ bias)
