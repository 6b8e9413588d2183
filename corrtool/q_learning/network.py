"""Q-functions: states in the q range → one value per action, (B, A)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from corrtool.layers import init_normal, mlp
from corrtool.states import FOLDED_SIDE, IMAGE, SIGNAL, VECTOR, StateSpec


@dataclass(frozen=True)
class Convolutions:
    """The hyperparameters of a convolutional Q-function.

    Attributes:
        layers: kernel, stride and filters of each convolution.
        units: of the hidden fully connected layer.
        layer_norm: normalise before each ReLU, so that none can die before the first rewards come.
        halve: look at the picture at half its height and width.
    """

    layers: tuple[tuple[int, int, int], ...]
    units: int
    layer_norm: bool = False
    halve: bool = False

    def output_side(self, side: int) -> int:
        """Height or width after all layers; not positive where the picture is too small."""
        side = side // 2 if self.halve else side
        for kernel, stride, _ in self.layers:
            side = (side - kernel) // stride + 1
        return side


CONVOLUTIONS = {
    "nature": Convolutions(
        ((8, 4, 32), (4, 2, 64), (3, 1, 64)), 512
    ),  # Mnih et al. 2015, and the authors' code
    "paper": Convolutions(((8, 1, 32), (4, 2, 64), (3, 1, 64)), 512),  # as printed in appendix 6.1
    # On pictures of half the size, normalised as in Gallici et al. 2024 (arXiv 2407.04811): a third
    # of nature's work per update.
    "small": Convolutions(((4, 2, 16), (4, 2, 32), (3, 2, 32)), 256, layer_norm=True, halve=True),
    # For pictures of some 16 to 35 pixels a side, of which "grid" would keep so many positions that
    # an update takes two to four times as long, and learns less (docs/notebook.md).
    "medium": Convolutions(((4, 2, 32), (3, 2, 32)), 128),
    "grid": Convolutions(
        ((3, 1, 16),), 128
    ),  # for the 10×10 of MinAtar: Young & Tian 2019 (arXiv 1903.03176)
}


ARCHITECTURES = {  # of each kind of states; the first is what 'auto' takes, but for pictures
    IMAGE: tuple(CONVOLUTIONS),
    SIGNAL: ("conv1d",),
    VECTOR: ("mlp", "linear"),
}


class HalfSize(nn.Module):
    """The mean of each 2×2 pixels, (B, C, H, W) → (B, C, ⌊H/2⌋, ⌊W/2⌋).

    Of bytes, where W is a multiple of 4, it takes four at a time and scales what is left to [0, 1]:
    a sixth less time for a whole update than to scale first. Of [0, 1], four times as fast on a CPU
    as torch's pooling.
    """

    def forward(self, pictures: Tensor) -> Tensor:
        batch, channels, height, width = pictures.shape
        pictures = pictures[..., : height // 2 * 2, : width // 2 * 2]
        if pictures.dtype == torch.uint8:
            return _halved_bytes(pictures.contiguous())
        rows = pictures.reshape(batch, channels, height // 2, 2, width // 2 * 2)
        rows = rows[:, :, :, 0] + rows[:, :, :, 1]
        return (rows[..., ::2] + rows[..., 1::2]) * 0.25


_EVERY_OTHER_BYTE = 0x00FF00FF


def _halved_bytes(pictures: Tensor) -> Tensor:
    """Bytes (B, C, 2h, 4w) → the mean of each 2×2 pixels in [0, 1], (B, C, h, 2w)."""
    batch, channels, height, width = pictures.shape
    words = pictures.view(torch.int32).view(batch, channels, height // 2, 2, width // 4)
    odd = words.bitwise_right_shift(8).bitwise_and_(_EVERY_OTHER_BYTE)
    pairs = (words & _EVERY_OTHER_BYTE).add_(odd)  # two sums of neighbours in each word
    sums = (pairs[:, :, :, 0] + pairs[:, :, :, 1]).view(torch.int16)
    return sums * (1 / (4 * 255))


class ConvOfPictures(nn.Conv2d):
    """A first layer that brings pictures into the memory layout of its weights.

    Otherwise torch would do so, and in the backward pass again.
    """

    def forward(self, pictures: Tensor) -> Tensor:
        if self.weight.is_contiguous(memory_format=torch.channels_last):
            pictures = pictures.contiguous(memory_format=torch.channels_last)
        convolved: Tensor = super().forward(pictures)
        return convolved


class ConvolutionalQ(nn.Module):
    """Convolutions and two fully connected layers; (B, C, H, W) in [0, 1] → (B, A).

    The last layer is linear although the printed f-6 is called Fully connected-ReLU: Q-values in
    Pong are negative.

    Attributes:
        takes_bytes: raw pictures, uint8, may be given too: the first layer scales them.
    """

    def __init__(
        self, state_shape: tuple[int, ...], actions: int, convolutions: Convolutions
    ) -> None:
        super().__init__()
        channels, height, width = state_shape
        self.takes_bytes = convolutions.halve and width % 4 == 0
        layers: list[nn.Module] = [HalfSize()] if convolutions.halve else []
        convolution: type[nn.Conv2d] = ConvOfPictures
        for kernel, stride, filters in convolutions.layers:
            layers.append(convolution(channels, filters, kernel, stride=stride))
            convolution = nn.Conv2d
            if convolutions.layer_norm:
                layers.append(
                    nn.GroupNorm(1, filters)
                )  # over channels and picture: LayerNorm for any picture size
            layers.append(nn.ReLU())
            channels = filters
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        features = channels * convolutions.output_side(height) * convolutions.output_side(width)
        units = convolutions.units
        norm = [nn.LayerNorm(units)] if convolutions.layer_norm else []
        self.head = nn.Sequential(
            nn.Linear(features, units), *norm, nn.ReLU(), nn.Linear(units, actions)
        )

    def forward(self, states: Tensor) -> Tensor:
        q_values: Tensor = self.head(self.convolutions(states))
        return q_values


class SignalQ(nn.Module):
    """Three convolutions along time and two fully connected layers; (B, C, L) → (B, A).

    Without normalisation, which would take away how loud a sound is.
    """

    def __init__(self, state_shape: tuple[int, ...], actions: int, units: int = 256) -> None:
        super().__init__()
        channels, length = state_shape
        layers: list[nn.Module] = []
        for kernel, stride, filters in ((8, 4, 32), (8, 4, 64), (3, 2, 64)):
            layers += [nn.Conv1d(channels, filters, kernel, stride, kernel // 2), nn.ReLU()]
            channels, length = filters, (length + 2 * (kernel // 2) - kernel) // stride + 1
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.head = mlp(channels * length, [units], actions)

    def forward(self, states: Tensor) -> Tensor:
        q_values: Tensor = self.head(self.convolutions(states))
        return q_values


class VectorQ(nn.Module):
    """Fully connected Q-function, (B, n) → (B, A); a hidden layer of each of the ``widths``."""

    def __init__(self, size: int, actions: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = mlp(size, widths, actions)

    def forward(self, states: Tensor) -> Tensor:
        q_values: Tensor = self.layers(states)
        return q_values


class LinearQ(nn.Module):
    """Q(s, a) = w_a · s, starting at zero. Over one-hot states it is the table of Algorithm 1."""

    def __init__(self, size: int, actions: int) -> None:
        super().__init__()
        self.table = nn.Linear(size, actions, bias=False)
        nn.init.zeros_(self.table.weight)

    def forward(self, states: Tensor) -> Tensor:
        q_values: Tensor = self.table(states)
        return q_values


def resolve_architecture(spec: StateSpec, architecture: str) -> str:
    """``architecture``, or what 'auto' stands for with states of ``spec``."""
    if architecture != "auto":
        return architecture
    if spec.kind != IMAGE:
        return ARCHITECTURES[spec.kind][0]
    side = min(spec.state_shape[1:])
    if CONVOLUTIONS["small"].output_side(side) > 0:
        return "small"
    return "medium" if side >= FOLDED_SIDE else "grid"


def build_q_function(
    spec: StateSpec,
    actions: int,
    architecture: str = "auto",
    width: int = 256,
    init: Literal["default", "normal"] = "default",
    widths: Sequence[int] | None = None,
) -> nn.Module:
    """A Q-function for states of ``spec``.

    Images take 'nature', 'paper', 'small', 'medium' or 'grid', signals 'conv1d', vectors 'mlp' or
    'linear'. An 'mlp' has two hidden layers of ``width`` units, or those that ``widths`` says.

    Raises:
        ValueError: the architecture does not go with the states, or is too deep for the picture.
    """
    architecture = resolve_architecture(spec, architecture)
    fitting = ARCHITECTURES[spec.kind]
    if architecture not in fitting:
        raise ValueError(
            f"Q-function {architecture!r} does not take {spec.kind} states; choose "
            f"{', '.join(fitting)}"
        )
    network: nn.Module
    if spec.kind == IMAGE:
        convolutions = CONVOLUTIONS[architecture]
        if convolutions.output_side(min(spec.state_shape[1:])) < 1:
            height, width = spec.state_shape[1:]
            raise ValueError(
                f"pictures of {height} × {width} pixels are too small for Q-function "
                f"{architecture!r}; choose grid"
            )
        network = ConvolutionalQ(spec.state_shape, actions, convolutions)
    elif architecture == "conv1d":
        network = SignalQ(spec.state_shape, actions)
    elif architecture == "mlp":
        network = VectorQ(
            spec.state_shape[0], actions, (width, width) if widths is None else widths
        )
    else:
        return LinearQ(spec.state_shape[0], actions)
    if init == "normal":
        init_normal(network)
    return network


def take_actions(q_function: nn.Module, actions: Sequence[int]) -> None:
    """Make the i-th value of a Q-function what its ``actions[i]``-th was.

    Its last linear layer, which has a row for each action in every architecture, gets those rows,
    one of them several times where several actions are the same.
    """
    last = [layer for layer in q_function.modules() if isinstance(layer, nn.Linear)][-1]
    index = torch.tensor(actions, device=last.weight.device)
    last.weight = nn.Parameter(last.weight.detach()[index])
    if last.bias is not None:
        last.bias = nn.Parameter(last.bias.detach()[index])
    last.out_features = len(actions)
