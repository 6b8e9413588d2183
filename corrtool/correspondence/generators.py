"""Generators: states of one task → states of the other, both in the model range."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn

from corrtool.folding import FOLD, fold_pixels, unfold_pixels
from corrtool.layers import (
    AffineLayer,
    Decoder,
    Encoder,
    FullResolutionResnet,
    Norm,
    ResidualBlock,
    RotationLayer,
    init_normal,
    mlp,
)
from corrtool.signal_layers import GainShiftLayer, SignalResnet
from corrtool.states import StateSpec


class ResnetGenerator(nn.Module):
    """``c7s1-f, d2f, d4f, blocks × R4f, u2f, uf, c7s1-C`` and tanh: the generator of [33].

    (B, C, H, W) in [-1, 1] → the same. The printed "c7s1-3" would give colour pictures; here the
    output has as many channels as the state. 11,384,452 parameters at f = 64, C = 4 and
    nine blocks.

    With ``skips`` the decoder also sees what the encoder knew at its resolution, as in the U-Net
    generators of pix2pix (Isola et al. 2017); the printed network has none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        filters: int = 64,
        blocks: int = 9,
        norm: Norm = "instance",
        skips: bool = False,
    ) -> None:
        super().__init__()
        self._skips = skips
        self.encoder = Encoder(in_channels, filters, norm)
        self.blocks = nn.Sequential(*(ResidualBlock(4 * filters, norm) for _ in range(blocks)))
        self.decoder = Decoder(4 * filters, filters, out_channels, norm, skips)

    def forward(self, states: Tensor) -> Tensor:
        size = (states.shape[-2], states.shape[-1])
        whole, half, encoded = self.encoder.stages(states)
        translated: Tensor = self.decoder(
            self.blocks(encoded), size, (whole, half) if self._skips else None
        )
        return translated

    @property
    def last(self) -> nn.Conv2d:
        """The convolution before the tanh."""
        last = self.decoder.out[1]
        assert isinstance(last, nn.Conv2d)
        return last


class FoldedGenerator(nn.Module):
    """The resnet of small pictures, on a large one with two by two pixels as channels (folding.py).

    (B, C, H, W) in [-1, 1] → the same. Half the time of :class:`ResnetGenerator`, whose work is at
    full resolution for the most part. Without normalisation and skips. Another function too: with 3
    blocks each pixel sees those from 16 before to 17 behind, so it moves nothing further than that.
    """

    def __init__(self, in_channels: int, out_channels: int, width: int, blocks: int) -> None:
        super().__init__()
        self.resnet = FullResolutionResnet(
            in_channels * FOLD**2, out_channels * FOLD**2, width, blocks
        )

    def forward(self, states: Tensor) -> Tensor:
        size = (states.shape[-2], states.shape[-1])
        return unfold_pixels(self.resnet(fold_pixels(states, FOLD)), FOLD, size)

    @property
    def last(self) -> nn.Conv2d:
        """The convolution before the tanh."""
        return self.resnet.last


PictureResnet: TypeAlias = ResnetGenerator | FoldedGenerator | FullResolutionResnet


class FramewiseGenerator(nn.Module):
    """One ``frame_generator`` that translates each of the K frames of a state by itself.

    (B, C, H, W) in [-1, 1] → the same. It cannot mix what was with what is, and learns from K
    pictures where the printed generator, which takes the frames as channels of one picture, learns
    from one.
    """

    def __init__(
        self, frame_generator: nn.Module, from_spec: StateSpec, to_spec: StateSpec
    ) -> None:
        super().__init__()
        self.frame_generator = frame_generator
        self.from_spec, self.to_spec = from_spec, to_spec

    def forward(self, states: Tensor) -> Tensor:
        (translated,) = self.sequences([self.from_spec.frames_of(states)])
        return self.to_spec.stack_frames(translated)

    def sequences(self, frames: list[Tensor]) -> list[Tensor]:
        """Translate frames (B, n, *frame_shape) in one pass; each of the list has any B and n."""
        translated = self.frame_generator(
            torch.cat([sequence.flatten(0, 1) for sequence in frames])
        )
        parts = translated.split([sequence.shape[0] * sequence.shape[1] for sequence in frames])
        return [
            part.unflatten(0, (sequence.shape[0], sequence.shape[1]))
            for part, sequence in zip(parts, frames, strict=True)
        ]


def translate_together(
    generator: nn.Module,
    states: Tensor,
    next_states: Tensor | None = None,
    others: Tensor | None = None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """G(s_t), G(s_{t+1}) and G of other states in one pass through the network.

    (B, C, H, W) each, None where not given. ``next_states`` follow ``states``: all their frames but
    the newest are in ``states`` too, so that a framewise generator has K + 1 pictures to translate,
    not 2K. Equal to separate passes but for the order of sums, except where a BatchNorm looks at
    all of a batch.
    """
    batches = [states] + [batch for batch in (next_states, others) if batch is not None]
    if isinstance(generator, FramewiseGenerator):
        translated = generator.sequences(
            [
                generator.from_spec.frames_of(batch)[:, -1:]
                if batch is next_states
                else generator.from_spec.frames_of(batch)
                for batch in batches
            ]
        )
        if next_states is not None:
            translated[1] = torch.cat([translated[0][:, 1:], translated[1]], dim=1)
        results = [generator.to_spec.stack_frames(frames) for frames in translated]
    else:
        results = list(generator(torch.cat(batches)).split([len(batch) for batch in batches]))
    return (
        results[0],
        results[1] if next_states is not None else None,
        results[-1] if others is not None else None,
    )


class ResnetRotationGenerator(nn.Module):
    """The paper's second experiment: the resnet, followed by the rotation layer."""

    def __init__(self, resnet: PictureResnet, angle_init: float) -> None:
        super().__init__()
        self.resnet = resnet
        self.rotation = RotationLayer(angle_init)

    def forward(self, states: Tensor) -> Tensor:
        translated: Tensor = self.rotation(self.resnet(states))
        return translated


class AffineResnetGenerator(nn.Module):
    """An affine layer that puts everything in its place, and a resnet that changes what is there.

    warp(s) + 2 resnet(warp(s)), cut off at -1 and 1; (B, C, H, W) in [-1, 1] → the same.

    The resnet's last convolution starts at zero, so that the generator starts as its affine layer.
    Twice, because black to white is a change of 2.
    """

    def __init__(self, resnet: PictureResnet, warp: AffineLayer) -> None:
        super().__init__()
        self.warp = warp
        self.resnet = resnet
        nn.init.zeros_(resnet.last.weight)
        if resnet.last.bias is not None:
            nn.init.zeros_(resnet.last.bias)

    def forward(self, states: Tensor) -> Tensor:
        warped: Tensor = self.warp(states)
        change: Tensor = self.resnet(warped)
        return (warped + 2.0 * change).clamp(-1.0, 1.0)


class GainShiftResnetGenerator(nn.Module):
    """A gain-and-shift layer, and a resnet that changes what comes out of it: t(s) + resnet(t(s)).

    (B, C, L) → the same, in the model range. The signals' twin of :class:`AffineResnetGenerator`:
    the resnet's last convolution starts at zero too.
    """

    def __init__(self, resnet: SignalResnet, gain_shift: GainShiftLayer) -> None:
        super().__init__()
        self.gain_shift = gain_shift
        self.resnet = resnet
        nn.init.zeros_(resnet.last.weight)
        assert resnet.last.bias is not None
        nn.init.zeros_(resnet.last.bias)

    def forward(self, states: Tensor) -> Tensor:
        moved: Tensor = self.gain_shift(states)
        change: Tensor = self.resnet(moved)
        return moved + change


class LinearGenerator(nn.Module):
    """s ↦ W s + b, a rotation generator for vectors: (B, n) → (B, m) in the model range.

    Entries of W that are 0 stay so: one that starts as a signed permutation does not come to mix
    coordinates where the memories alone cannot tell that it should not.
    """

    def __init__(self, in_size: int, out_size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_size, out_size)
        init_normal(self.layer)
        self.layer.weight.register_hook(self._keep_zeros)  # type: ignore[no-untyped-call]

    def _keep_zeros(self, gradient: Tensor) -> Tensor:
        return gradient * (self.layer.weight.detach() != 0)

    def forward(self, states: Tensor) -> Tensor:
        translated: Tensor = self.layer(states)
        return translated


class MlpGenerator(nn.Module):
    """Fully connected generator, (B, n) → (B, m): the vector twin of the resnet generator."""

    def __init__(self, in_size: int, out_size: int, width: int, hidden_layers: int) -> None:
        super().__init__()
        self.layers = mlp(in_size, [width] * hidden_layers, out_size)
        self.skip = nn.Linear(in_size, out_size, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        translated: Tensor = self.layers(states) + self.skip(states)
        return translated


def is_mirrored(generator: nn.Module) -> bool:
    """True if a generator has an affine layer that makes mirror images."""
    matrices = (m.matrix.detach() for m in generator.modules() if isinstance(m, AffineLayer))
    return any(torch.linalg.det(matrix[:, :2]).item() < 0 for matrix in matrices)


def rotation_angle_degrees(generator: nn.Module) -> float | None:
    """The angle of a rotation or affine layer inside ``generator``; None without one.

    In degrees counter-clockwise, in (-180, 180]. For an affine layer, the angle of the rotation
    nearest to its matrix, after undoing a mirror image.
    """
    for module in generator.modules():
        if isinstance(module, RotationLayer):
            degrees = torch.rad2deg(module.angle.detach()).item()
        elif isinstance(module, AffineLayer):
            matrix = module.matrix.detach()[:, :2].clone()
            if torch.linalg.det(matrix) < 0:
                matrix[0] *= -1.0
            sine = (
                matrix[1, 0] * module.aspect - matrix[0, 1] / module.aspect
            )  # of a picture's sides in one unit
            degrees = torch.rad2deg(torch.atan2(sine, matrix[0, 0] + matrix[1, 1])).item()
        else:
            continue
        return 180.0 - (180.0 - degrees) % 360.0
    return None
