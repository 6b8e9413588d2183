"""The environment model F (appendix 6.1): state and action → next state, in the model range."""

from __future__ import annotations

from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corrtool.folding import FOLD, fold_pixels, unfold_pixels
from corrtool.layers import (
    Decoder,
    Encoder,
    FullResolutionResnet,
    Norm,
    ResidualBlock,
    clamp_straight_through,
    init_normal,
    mlp,
)
from corrtool.signal_layers import SignalResnet
from corrtool.state_scaling import StateScaling
from corrtool.states import FOLDED_SIDE, IMAGE, SIGNAL, VECTOR, StateSpec

Prediction = Literal["residual", "state"]


class ResnetModel(nn.Module):
    """The generator with the action in its fifth block.

    ``c7s1-64, d128, d256, 4 × R256, 5 × R262, u128, u64, c7s1-C``.

    The one-hot action is spread over the picture and appended to the input of residual block
    ``action_block`` (counted from 1), so that this block and those after it have 4f + A channels.
    (B, C, H, W) and (B,) int64 → (B, C, H, W) in [-1, 1].

    BatchNorm as printed: an action plane is constant over the picture, and InstanceNorm subtracts
    exactly that from every residual branch, so that with it the action only reaches the output past
    the blocks.

    Args:
        prediction: ``"state"`` as printed: all K frames of s_{t+1} come out of the network.
            ``"residual"``: K - 1 of them are frames of s_t, so they are taken from there, and the
            network says by how much the newest frame changes.
        skips: the decoder also sees what the encoder knew at its resolution; not as printed.
    """

    def __init__(
        self,
        spec: StateSpec,
        actions: int,
        filters: int = 64,
        blocks: int = 9,
        action_block: int = 5,
        norm: Norm = "batch",
        prediction: Prediction = "state",
        skips: bool = False,
    ) -> None:
        super().__init__()
        if not 1 <= action_block <= blocks:
            raise ValueError(f"the action cannot enter block {action_block} of {blocks}")
        self.actions, self._spec, self._residual, self._skips = (
            actions,
            spec,
            prediction == "residual",
            skips,
        )
        before, width, channels = action_block - 1, 4 * filters, spec.state_shape[0]
        self.encoder = Encoder(channels, filters, norm)
        self.blocks_before_action = nn.Sequential(
            *(ResidualBlock(width, norm) for _ in range(before))
        )
        self.blocks_with_action = nn.Sequential(
            *(ResidualBlock(width + actions, norm) for _ in range(blocks - before))
        )
        out_channels = spec.frame_shape[0] if self._residual else channels
        self.decoder = Decoder(width + actions, filters, out_channels, norm, skips)

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        whole, half, encoded = self.encoder.stages(states)
        features = self.blocks_before_action(encoded)
        planes = F.one_hot(actions, self.actions).to(features.dtype)[:, :, None, None]
        features = torch.cat([features, planes.expand(-1, -1, *features.shape[-2:])], dim=1)
        size = (states.shape[-2], states.shape[-1])
        decoded: Tensor = self.decoder(
            self.blocks_with_action(features), size, (whole, half) if self._skips else None
        )
        return _with_newest_changed(self._spec, states, decoded) if self._residual else decoded


class FoldedModel(nn.Module):
    """F that sees ``fold`` × ``fold`` pixels as channels: a resnet on fewer, wider positions.

    No layer works at full resolution, which is what the time of :class:`ResnetModel` goes into
    (folding.py). ``fold`` 1 keeps every pixel, as the resnet of small pictures does. The one-hot
    action is planes beside the folded state.

    (B, C, H, W) and (B,) int64 → (B, C, H, W) in [-1, 1]; ``prediction`` as in
    :class:`ResnetModel`.
    """

    def __init__(
        self,
        spec: StateSpec,
        actions: int,
        filters: int,
        blocks: int,
        prediction: Prediction,
        fold: int,
    ) -> None:
        super().__init__()
        self.actions, self._spec, self._residual = actions, spec, prediction == "residual"
        self._fold, channels = fold, spec.state_shape[0]
        out_channels = spec.frame_shape[0] if self._residual else channels
        self.resnet = FullResolutionResnet(
            channels * fold**2 + actions, out_channels * fold**2, 4 * filters // fold, blocks
        )
        if fold > 1 and self._residual:  # at first nothing moves, as in most of a large picture
            nn.init.zeros_(self.resnet.last.weight)
            nn.init.zeros_(cast(Tensor, self.resnet.last.bias))

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        height, width = states.shape[-2:]
        folded = fold_pixels(states, self._fold)
        planes = F.one_hot(actions, self.actions).to(states.dtype)[:, :, None, None]
        planes = planes.expand(-1, -1, *folded.shape[-2:])
        decoded = self.resnet(torch.cat([folded, planes], dim=1))
        decoded = unfold_pixels(decoded, self._fold, (height, width))
        return _with_newest_changed(self._spec, states, decoded) if self._residual else decoded


class SignalModel(nn.Module):
    """F of signals: the one-hot action is signals beside the state's channels, as long as they.

    (B, C, L) and (B,) int64 → (B, C, L); ``prediction`` as in :class:`ResnetModel`, without bounds.
    """

    def __init__(
        self, spec: StateSpec, actions: int, filters: int, blocks: int, prediction: Prediction
    ) -> None:
        super().__init__()
        self.actions, self._spec, self._residual = actions, spec, prediction == "residual"
        channels = spec.state_shape[0]
        out_channels = spec.frame_shape[0] if self._residual else channels
        self.resnet = SignalResnet(channels + actions, out_channels, filters, blocks)

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        one_hot = F.one_hot(actions, self.actions).to(states.dtype)[:, :, None]
        one_hot = one_hot.expand(-1, -1, states.shape[-1])
        decoded: Tensor = self.resnet(torch.cat([states, one_hot], dim=1))
        if not self._residual:
            return decoded
        frames = self._spec.frames_of(states)
        newest = frames[:, -1:] + decoded[:, None]
        return self._spec.stack_frames(torch.cat([frames[:, 1:], newest], dim=1))


def _with_newest_changed(spec: StateSpec, states: Tensor, change: Tensor) -> Tensor:
    """s_{t+1} from s_t and the change of its newest frame.

    The older frames are those of s_t; the newest is that of s_t plus twice ``change``, in [-1, 1].
    On a black background every negative change is cut off; a gradient that ended there could not
    teach that something appears.
    """
    frames = spec.frames_of(states)
    changed = frames[:, -1] + 2.0 * change  # tanh is in [-1, 1]; black to white is a change of 2
    newest = clamp_straight_through(changed, -1.0, 1.0)
    return spec.stack_frames(torch.cat([frames[:, 1:], newest[:, None]], dim=1))


class VectorModel(nn.Module):
    """Fully connected F, (B, n) and (B,) int64 → (B, n): the state plus a change.

    The change depends on state and action.
    """

    def __init__(self, size: int, actions: int, width: int = 128, hidden_layers: int = 2) -> None:
        super().__init__()
        self.actions = actions
        self.layers = mlp(size + actions, [width] * hidden_layers, size)

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        one_hot = F.one_hot(actions, self.actions).to(states.dtype)
        change: Tensor = self.layers(torch.cat([states, one_hot], dim=1))
        return states + change


ARCHITECTURES = {IMAGE: ("resnet", "folded"), SIGNAL: ("resnet",), VECTOR: ("mlp",)}


def resolve_architecture(spec: StateSpec, architecture: str) -> str:
    """``architecture``, or what 'auto' stands for with states of ``spec``.

    Of 24 × 24 pixels the folded F takes an eighth of the time of the resnet, which keeps every
    pixel, and errs as little (docs/notebook.md).
    """
    if architecture != "auto":
        return architecture
    if spec.is_grid and min(spec.state_shape[1:]) >= FOLDED_SIDE:
        return "folded"
    return ARCHITECTURES[spec.kind][0]


def build_environment_model(
    spec: StateSpec,
    actions: int,
    architecture: str = "auto",
    *,
    filters: int = 64,
    blocks: int = 9,
    action_block: int = 0,
    norm: Norm = "batch",
    prediction: Prediction = "state",
    skips: bool = False,
) -> nn.Module:
    """F for states of ``spec``.

    'resnet' (the paper's) or 'folded' for images, 'resnet' for signals, 'mlp' for vectors. The
    resnet of small pictures keeps every pixel, and so 'auto' does here, whatever their size.

    ``action_block`` 0 takes the middle block, which is the paper's fifth of nine. ``norm``,
    ``action_block`` and ``skips`` are for the resnet of images, ``prediction`` for all but vectors,
    whose model always predicts the change.

    Raises:
        ValueError: the architecture does not go with the states, or there is no such action block.
    """
    fitting = ARCHITECTURES[spec.kind]
    if architecture not in ("auto", *fitting):
        raise ValueError(
            f"environment model {architecture!r} does not take {spec.kind} states; "
            f"choose {' or '.join(fitting)}"
        )
    if spec.kind == VECTOR:
        return VectorModel(spec.state_shape[0], actions, filters, blocks)
    if spec.kind == SIGNAL:
        return SignalModel(spec, actions, filters, blocks, prediction)
    if spec.is_grid or architecture == "folded":
        fold = FOLD if architecture == "folded" else 1
        return FoldedModel(spec, actions, filters, blocks, prediction, fold)
    action_block = action_block or (blocks + 1) // 2
    network = ResnetModel(spec, actions, filters, blocks, action_block, norm, prediction, skips)
    init_normal(network)
    return network


class ScaledModel(nn.Module):
    """The environment model F together with the scaling of the states that it was trained on.

    Both of its call sites, training and the model loss (11), thus give it the same range.
    """

    def __init__(self, network: nn.Module, scaling: StateScaling) -> None:
        super().__init__()
        self.network = network
        self.scaling = scaling

    @property
    def actions(self) -> int:
        """A_S, how many actions the source has."""
        return cast(int, self.network.actions)

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        """Model range in, model range out: (B, …), (B,) → (B, …)."""
        predicted: Tensor = self.network(states, actions)
        return predicted
