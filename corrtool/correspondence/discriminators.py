"""Discriminators: states in the model range → scores (logits), high for real states of the task."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from corrtool.layers import Norm, init_normal, norm_layer
from corrtool.states import GRID, IMAGE, SIGNAL, VECTOR, StateSpec


class PatchDiscriminator(nn.Module):
    """70×70 PatchGAN [15]: ``C64, C128, C256, C512``, a convolution to one channel, LeakyReLU 0.2.

    (B, C, H, W) in [-1, 1] → (B, 1, h, w), one score per 70×70 patch. The appendix prints stride 2
    throughout; the 70×70 of [15] needs stride 1 in C512 and in the last convolution, and no
    normalisation in C64, which is what [33] and the authors' code have. With 64 filters and 4
    channels: 2,765,761 parameters.
    """

    def __init__(self, in_channels: int, filters: int = 64, norm: Norm = "instance") -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(in_channels, filters, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for width, stride in ((filters, 2), (2 * filters, 2), (4 * filters, 1)):
            layers += [
                nn.Conv2d(width, 2 * width, 4, stride=stride, padding=1),
                norm_layer(norm, 2 * width),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * filters, 1, 4, stride=1, padding=1))
        init_normal(self)

    def forward(self, states: Tensor) -> Tensor:
        scores: Tensor = self.layers(states)
        return scores


class GridDiscriminator(nn.Module):
    """``C64, C128`` and a convolution to one channel, all 3×3 with stride 1.

    One score per 7×7 patch of a small picture. Without normalisation: on an almost empty grid it
    would amplify nothing into noise. (B, C, H, W) in [-1, 1] → (B, 1, H, W).
    """

    def __init__(self, in_channels: int, filters: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, filters, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(filters, 2 * filters, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * filters, 1, 3, padding=1),
        )

    def forward(self, states: Tensor) -> Tensor:
        scores: Tensor = self.layers(states)
        return scores


class SignalDiscriminator(nn.Module):
    """``C64, C128``, of 8 samples with stride 4, and a convolution to one channel, LeakyReLU 0.2.

    One score per 68 samples of a signal. Without normalisation, which would hide how loud it is.
    (B, C, L) in the model range → (B, 1, ⌊L/16⌋).
    """

    def __init__(self, in_channels: int, filters: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(in_channels, filters, 8, stride=4, padding=2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv1d(filters, 2 * filters, 8, stride=4, padding=2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv1d(2 * filters, 1, 3, padding=1),
        )

    def forward(self, states: Tensor) -> Tensor:
        scores: Tensor = self.layers(states)
        return scores


class VectorDiscriminator(nn.Module):
    """Fully connected discriminator, (B, n) → (B, 1); two hidden layers, LeakyReLU 0.2."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(size, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 1),
        )

    def forward(self, states: Tensor) -> Tensor:
        scores: Tensor = self.layers(states)
        return scores


Kind = Callable[
    [int, int, Norm], nn.Module
]  # channels or numbers of a state, filters or units, normalisation

DISCRIMINATORS: dict[str, Kind] = {  # by the settings_kind of the states
    IMAGE: PatchDiscriminator,
    GRID: lambda channels, filters, norm: GridDiscriminator(channels, filters),
    SIGNAL: lambda channels, filters, norm: SignalDiscriminator(channels, filters),
    VECTOR: lambda size, units, norm: VectorDiscriminator(size, units),
}


def build_discriminator(spec: StateSpec, filters: int = 64, norm: Norm = "instance") -> nn.Module:
    """A discriminator for states of ``spec``.

    70×70 PatchGAN for images, patches of 7×7 for small ones and of 68 samples for signals, fully
    connected for vectors.
    """
    return DISCRIMINATORS[spec.settings_kind](spec.state_shape[0], filters, norm)
