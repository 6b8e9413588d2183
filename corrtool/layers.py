"""Building blocks shared by the networks of appendix 6.1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["instance", "batch"]


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """BatchNorm as printed, or InstanceNorm as in the authors' code.

    They are equal at batch 1 in training mode, but for the affine part.
    """
    if channels < 1:
        raise ValueError(f"a layer of {channels} channels")
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(
        channels, channels, affine=False
    )  # that is InstanceNorm; torch's own is slower on a CPU


def init_normal(network: nn.Module) -> None:
    """Section 4.3: weights from N(0, 0.02); biases 0.

    A BatchNorm's gain starts from N(1, 0.02) as in [33].

    On the meta device there is nothing to draw, and torch would import its compiler for it.
    """
    for module in network.modules():
        if next(module.parameters(recurse=False), torch.empty(0)).is_meta:
            continue
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)


class ResidualBlock(nn.Module):
    """``Rf``: two 3×3 convolutions with reflection padding, added to their input.

    (B, f, H, W) → the same.
    """

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            norm_layer(norm, channels),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            norm_layer(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.layers(x)
        return x + residual


class FullResolutionResnet(nn.Module):
    """A resnet for small pictures: 3×3 convolutions of all pixels, residual ``blocks``, tanh.

    Without normalisation: an instance norm over a hundred pixels, most of them empty, would turn
    nothing into noise. (B, in_channels, H, W) → (B, out_channels, H, W) in [-1, 1].
    """

    def __init__(self, in_channels: int, out_channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1),
            )
            for _ in range(blocks)
        )
        self.last = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return torch.tanh(self.last(F.relu(x)))


class Encoder(nn.Module):
    """``c7s1-f, d2f, d4f``: (B, C, H, W) → (B, 4f, ⌈H/4⌉, ⌈W/4⌉)."""

    def __init__(self, in_channels: int, filters: int, norm: Norm) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            ConvFromOneChannel(filters, 7)
            if in_channels == 1
            else nn.Conv2d(in_channels, filters, 7),
            norm_layer(norm, filters),
            nn.ReLU(inplace=True),
        ]
        for width in (filters, 2 * filters):
            layers += [
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
                norm_layer(norm, 2 * width),
                nn.ReLU(inplace=True),
            ]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        encoded: Tensor = self.layers(x)
        return encoded

    def stages(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The outputs of the three convolutions.

        (B, f, H, W), (B, 2f, ⌈H/2⌉, ⌈W/2⌉) and the encoding.
        """
        whole = self.layers[:4](x)
        half = self.layers[4:7](whole)
        return whole, half, self.layers[7:](half)


class ConvToOneChannel(nn.Conv2d):
    """A k × k convolution to one channel: (B, C, H, W) → (B, 1, H - k + 1, W - k + 1).

    On a CPU by rows of its kernel: a row each to k channels, which are then shifted against each
    other and summed, the same sum in another order. Two to five times as fast as torch's kernels
    there, which are made for eight channels or more.
    """

    def __init__(self, in_channels: int, kernel: int) -> None:
        super().__init__(in_channels, 1, kernel)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        kernel = self.kernel_size[0]
        rows = F.conv2d(x, self.weight.transpose(0, 2))  # (1, C, k, k) → (k, C, 1, k)
        height = x.shape[-2] - kernel + 1
        assert self.bias is not None
        return (
            torch.stack([rows[:, row, row : row + height] for row in range(kernel)]).sum(dim=0)[
                :, None
            ]
            + self.bias
        )


class ConvFromOneChannel(nn.Conv2d):
    """A k × k convolution of one channel: (B, 1, H, W) → (B, C, H - k + 1, W - k + 1).

    On a CPU by rows, as :class:`ConvToOneChannel`: k shifted copies of the picture are channels.
    """

    def __init__(self, out_channels: int, kernel: int) -> None:
        super().__init__(1, out_channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        kernel = self.kernel_size[0]
        height = x.shape[-2] - kernel + 1
        rows = torch.cat([x[:, :, row : row + height] for row in range(kernel)], dim=1)
        return F.conv2d(rows, self.weight.view(-1, kernel, 1, kernel), self.bias)


class Decoder(nn.Module):
    """``u2f, uf, c7s1-C`` and tanh: (B, in_channels, h, w) → (B, C, *size) in [-1, 1].

    ``in_channels`` is 4f for a generator and 4f + A for F. With ``skips`` layers two and three also
    see what the encoder knew at their resolution (U-Net, Ronneberger et al. 2015).
    """

    def __init__(
        self, in_channels: int, filters: int, out_channels: int, norm: Norm, skips: bool = False
    ) -> None:
        super().__init__()
        multiplier = 2 if skips else 1
        self.up_1 = nn.ConvTranspose2d(in_channels, 2 * filters, 3, stride=2, padding=1)
        self.norm_1 = norm_layer(norm, 2 * filters)
        self.up_2 = nn.ConvTranspose2d(multiplier * 2 * filters, filters, 3, stride=2, padding=1)
        self.norm_2 = norm_layer(norm, filters)
        channels = multiplier * filters
        last = (
            ConvToOneChannel(channels, 7)
            if out_channels == 1
            else nn.Conv2d(channels, out_channels, 7)
        )
        self.out = nn.Sequential(nn.ReflectionPad2d(3), last, nn.Tanh())

    def forward(
        self, x: Tensor, size: tuple[int, int], skips: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """``skips``: the encoder's features at full and at half resolution."""
        half = [math.ceil(size[0] / 2), math.ceil(size[1] / 2)]
        x = F.relu(self.norm_1(self.up_1(x, output_size=half)))
        x = x if skips is None else torch.cat([x, skips[1]], dim=1)
        x = F.relu(self.norm_2(self.up_2(x, output_size=list(size))))
        x = x if skips is None else torch.cat([x, skips[0]], dim=1)
        out: Tensor = self.out(x)
        return out


class RotationLayer(nn.Module):
    """A spatial transformer [16] with one parameter, the angle.

    ``angle`` radians counter-clockwise about the centre.

    (B, C, H, W) in [-1, 1] → the same shape. Bilinear sampling with ``align_corners=False``; what
    comes from outside the picture is black (-1). Quarter turns of square pictures agree with
    :func:`torch.rot90`. The shape stays, so a quarter turn of an oblong picture cuts it off.
    """

    def __init__(self, degrees: float = 0.0) -> None:
        super().__init__()
        self.angle = nn.Parameter(torch.tensor(math.radians(degrees)))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        cos, sin, zero = torch.cos(self.angle), torch.sin(self.angle), torch.zeros_like(self.angle)
        # For each output pixel, where in the input it comes from: the inverse rotation, with the
        # aspect ratio because coordinates run from -1 to 1 along either side.
        inverse = torch.stack(
            [
                torch.stack([cos, -sin * height / width, zero]),
                torch.stack([sin * width / height, cos, zero]),
            ]
        )
        return _warp(x, inverse)


class AffineLayer(nn.Module):
    """A spatial transformer [16] with six parameters: a linear map of the picture's plane, a shift.

    ``matrix`` (2, 3) says for each output pixel, in coordinates from -1 to 1, where in the input it
    comes from. Starts as a rotation by ``degrees`` counter-clockwise, of the mirror image (left and
    right exchanged) if ``mirrored``, of pictures whose height is ``aspect`` times their width.
    (B, C, H, W) in [-1, 1] → the same shape; bilinear, ``align_corners=False``, black outside.
    """

    def __init__(self, degrees: float = 0.0, mirrored: bool = False, aspect: float = 1.0) -> None:
        super().__init__()
        self.aspect = aspect
        self.matrix = nn.Parameter(affine_matrix(degrees, mirrored, aspect))

    def forward(self, x: Tensor) -> Tensor:
        return _warp(x, self.matrix)


def _warp(x: Tensor, matrix: Tensor) -> Tensor:
    """Pictures (B, C, H, W) in [-1, 1], black outside, seen where ``matrix`` (2, 3) says.

    One grid serves all of them.

    As :func:`torch.nn.functional.affine_grid` with ``align_corners=False``, but without its matrix
    product: with ``--precision bf16`` that would put a pixel of 84 up to a quarter of one off.
    """
    height, width = x.shape[-2:]
    rows, columns = ((2 * torch.arange(n, device=x.device) + 1) / n - 1 for n in (height, width))
    grid = columns[:, None] * matrix[:, 0] + rows[:, None, None] * matrix[:, 1] + matrix[:, 2]
    grid = grid.expand(
        x.shape[0], -1, -1, -1
    )  # len(x) would be a constant in what is traced or exported
    return (
        F.grid_sample(x + 1.0, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        - 1.0
    )


def clamp_straight_through(x: Tensor, low: float, high: float) -> Tensor:
    """``x`` cut off at ``low`` and ``high``, with a gradient of 1 everywhere.

    What is beyond can come back (Bengio et al. 2013).
    """
    return x.detach().clamp(low, high) + (x - x.detach())


def affine_matrix(degrees: float, mirrored: bool, aspect: float) -> Tensor:
    """The (2, 3) matrix of an :class:`AffineLayer` that rotates a picture, ``mirrored`` or not.

    ``aspect`` is the picture's height by its width: coordinates run from -1 to 1 along either side.
    """
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    inverse_rotation = torch.tensor([[cos, -sin * aspect, 0.0], [sin / aspect, cos, 0.0]])
    if mirrored:
        inverse_rotation[0] *= -1.0
    return inverse_rotation


def inverse_affine(matrix: Tensor) -> Tensor:
    """The (2, 3) matrix of the opposite map.

    What turns the output of an :class:`AffineLayer` back into its input.
    """
    inverse = torch.linalg.inv(matrix[:, :2])
    return torch.cat([inverse, -inverse @ matrix[:, 2:]], dim=1)


def mlp(
    in_size: int,
    widths: Sequence[int],
    out_size: int,
    activation: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Fully connected layers: in_size → each of ``widths`` → out_size, linear at the end."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(in_size, width), activation()]
        in_size = width
    return nn.Sequential(*layers, nn.Linear(in_size, out_size))


def freeze(network: nn.Module) -> nn.Module:
    """Evaluation mode and no gradients into the weights; gradients still flow through it."""
    return network.eval().requires_grad_(False)


def copy_of_weights(network: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's weights, detached from further training."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Put an optimizer's saved state back, each tensor in the memory layout of its parameter.

    Files hold contiguous tensors. torch's fused Adam reads them as if their elements were in the
    order of a channels_last parameter, and silently ruins the network (seen in torch 2.13, CPU).
    """
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
