"""Layers and networks of signals, (B, C, L): C channels of L samples in time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STRIDE = 4  # of each of the two convolutions that shorten a signal
_KERNEL = 2 * _STRIDE


class GainShiftLayer(nn.Module):
    """Mixes the channels of each frame with gains, and moves and stretches time: an affine map.

    ``y_o(i) = Σ_c M_oc x_c(scale · i + shift · L) + b_o``, the same for all frames of a state.
    (B, K·in_channels, L) → (B, K·out_channels, L), in the model range.

    ``scale`` is a pitch: 2 sounds an octave higher and twice as fast; ``shift`` is a share of the
    length, by which all is earlier. Between samples x is interpolated linearly, outside it is 0,
    the mean. Starts as the identity, where the numbers of channels differ with what there is.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(out_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.scale = nn.Parameter(torch.ones(()))
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        frames = x.reshape(x.shape[0], -1, self.matrix.shape[1], x.shape[-1])
        moved = resampled(frames, self.scale, self.shift)
        mixed = torch.einsum("oc,bkcl->bkol", self.matrix, moved) + self.bias[:, None]
        return mixed.flatten(1, 2)

    @torch.no_grad()
    def set_to_inverse_of(self, other: GainShiftLayer) -> None:
        """Undo what another layer does; with different numbers of channels by the pseudo-inverse.

        What it moved out of hearing stays lost.
        """
        back = torch.linalg.pinv(other.matrix)
        self.matrix.copy_(back)
        self.bias.copy_(-back @ other.bias)
        self.scale.copy_(1.0 / other.scale)
        self.shift.copy_(-other.shift / other.scale)


def resampled(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Signals (…, L) at ``scale · i + shift · L`` for i from 0 to L - 1; 0 outside.

    Differentiable by ``scale`` and ``shift``, as a spatial transformer [16] of one axis.
    """
    length = x.shape[-1]
    at = scale * torch.arange(length, device=x.device) + shift * length
    at = at.clamp(-1, length)  # where it is silent
    before = at.detach().floor()
    share, index = at - before, before.long() + 1
    padded = F.pad(x, (1, 2))
    here, following = padded.index_select(-1, index), padded.index_select(-1, index + 1)
    return here * (1.0 - share) + following * share


class SignalResnet(nn.Module):
    """A resnet of signals whose last layers also see what the first ones knew, as in a U-Net.

    Two convolutions shorten the signal to a sixteenth, residual ``blocks`` see far of what is left,
    and two transposed ones bring it back. Without normalisation, which would take away how loud it
    is, and linear at the end. (B, in_channels, L) → (B, out_channels, L).
    """

    def __init__(self, in_channels: int, out_channels: int, filters: int, blocks: int) -> None:
        super().__init__()
        f, around = filters, (_KERNEL - _STRIDE) // 2
        self.whole = nn.Conv1d(in_channels, f, 7, padding=3)
        self.quarter = nn.Conv1d(f, 2 * f, _KERNEL, _STRIDE, around)
        self.sixteenth = nn.Conv1d(2 * f, 4 * f, _KERNEL, _STRIDE, around)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                nn.Conv1d(4 * f, 4 * f, 3, padding=1),
                nn.ReLU(),
                nn.Conv1d(4 * f, 4 * f, 3, padding=1),
            )
            for _ in range(blocks)
        )
        self.up_1 = nn.ConvTranspose1d(4 * f, 2 * f, _KERNEL, _STRIDE, around)
        self.up_2 = nn.ConvTranspose1d(4 * f, f, _KERNEL, _STRIDE, around)
        self.last = nn.Conv1d(2 * f, out_channels, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[-1]
        whole = F.relu(self.whole(F.pad(x, (0, -length % _STRIDE**2))))
        quarter = F.relu(self.quarter(whole))
        x = self.sixteenth(quarter)
        for block in self.blocks:
            x = x + block(x)
        x = torch.cat([F.relu(self.up_1(F.relu(x))), quarter], dim=1)
        x = torch.cat([F.relu(self.up_2(x)), whole], dim=1)
        out: Tensor = self.last(x)
        return out[..., :length]
