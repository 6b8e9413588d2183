"""Kinds of generators, how they are built, and what a manifest says of the two of a correspondence.

A new kind is a class in generators.py, a line in ``GENERATORS`` and a name in the setting
``generator``. One name may stand for a generator of several kinds of states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from torch import nn

from corrtool.correspondence.generators import (
    AffineResnetGenerator,
    FoldedGenerator,
    FramewiseGenerator,
    GainShiftResnetGenerator,
    LinearGenerator,
    MlpGenerator,
    PictureResnet,
    ResnetGenerator,
    ResnetRotationGenerator,
)
from corrtool.correspondence.tone_layer import TonedGenerator, ToneLayer
from corrtool.folding import FOLD
from corrtool.layers import AffineLayer, FullResolutionResnet, Norm, RotationLayer, init_normal
from corrtool.settings.stages import LearnCorrSettings
from corrtool.signal_layers import GainShiftLayer, SignalResnet
from corrtool.states import IMAGE, SIGNAL, VECTOR, StateSpec

TonePlace = Literal["none", "before", "after"]


@dataclass(frozen=True)
class GeneratorDescription:
    """The architecture of both generators of a correspondence.

    It is the ``generator`` table of the manifest.

    ``filters`` and ``blocks`` are the units and the number of hidden layers for the 'mlp' kind;
    ``skips`` and ``framewise`` only matter to those with a resnet, which for small pictures keeps
    every pixel, and for signals always has skips, both without ``norm`` and ``skips``; ``folded``
    only to that of large pictures, which then has neither of them either;
    ``angle_init`` is in degrees counter-clockwise and only matters to those with a rotation or
    affine layer. ``tone`` says where that of G_T has its tone layer. Weights for large pictures and
    of 'linear' start from N(0, 0.02), those for small pictures, for signals and ``folded`` ones as
    torch has it.
    """

    kind: str
    filters: int = 64
    blocks: int = 9
    norm: Norm = "instance"
    skips: bool = False
    framewise: bool = False
    angle_init: float = 0.0
    tone: TonePlace = "none"
    folded: bool = False

    @classmethod
    def of(cls, settings: LearnCorrSettings, states: StateSpec) -> GeneratorDescription:
        """The description that the settings give for such states.

        It never says 'auto', which may come to mean another.
        """
        kind: str = settings.generator
        if kind == "auto":
            kind = "linear" if states.kind == VECTOR else "resnet"
        return cls(
            kind,
            settings.filters,
            settings.blocks,
            settings.norm,
            settings.skips,
            settings.framewise,
            settings.angle_init,
            "before" if settings.has_tone(states.kind) else "none",
            settings.folded and "resnet" in kind and states.settings_kind == IMAGE,
        )

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it: without a tone layer or folding as before there were any."""
        described = asdict(self)
        if self.tone == "none":
            del described["tone"]
        if not self.folded:
            del described["folded"]
        return described

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> GeneratorDescription:
        """The inverse of :meth:`to_json`. Raises TypeError where it has other fields."""
        return cls(**value)

    def reversed_direction(self) -> GeneratorDescription:
        """For the other direction: from the opposite angle, with the tone at the other end."""
        opposite: dict[TonePlace, TonePlace] = {"before": "after", "after": "before"}
        return replace(self, angle_init=-self.angle_init, tone=opposite.get(self.tone, self.tone))

    def build(self, from_spec: StateSpec, to_spec: StateSpec) -> nn.Module:
        """A new generator from states of ``from_spec`` to states of ``to_spec``.

        Raises:
            ValueError: the kind does not go with the states, or the tasks' pictures differ in size.
        """
        if from_spec.kind != to_spec.kind:
            raise ValueError(f"no generator maps {from_spec.kind} states to {to_spec.kind} states")
        fitting = GENERATORS[from_spec.kind]
        if self.kind not in fitting:
            raise ValueError(
                f"generator {self.kind!r} does not take {from_spec.kind} states; choose "
                f"{', '.join(fitting)}"
            )
        kind = fitting[self.kind]
        self._check_shapes(kind, from_spec, to_spec)
        if not (kind.has_resnet and self.framewise):
            return self._build(kind, from_spec, to_spec)
        from_frame, to_frame = (
            StateSpec(spec.kind, spec.frame_shape) for spec in (from_spec, to_spec)
        )
        frame_generator = self._build(kind, from_frame, to_frame)
        return FramewiseGenerator(frame_generator, from_spec, to_spec)

    def _build(self, kind: GeneratorKind, from_spec: StateSpec, to_spec: StateSpec) -> nn.Module:
        """A new generator of whole states or of frames, with its tone layer."""
        if self.tone == "none":
            return kind.build(from_spec, to_spec, self)
        tone = ToneLayer(from_spec.frame_shape[0], to_spec.frame_shape[0])
        tone_first = self.tone == "before"
        inside = to_spec if tone_first else from_spec  # the tone changes the number of channels
        return TonedGenerator(tone, kind.build(inside, inside, self), tone_first=tone_first)

    def _check_shapes(self, kind: GeneratorKind, from_spec: StateSpec, to_spec: StateSpec) -> None:
        """Raise ValueError where it cannot turn one task's states into the other's."""
        in_shape, out_shape = from_spec.state_shape, to_spec.state_shape
        if in_shape[1:] != out_shape[1:]:
            things = "pictures" if from_spec.kind == IMAGE else "signals"
            raise ValueError(
                f"{things} of {in_shape[1:]} cannot be translated to {out_shape[1:]}; give both "
                "tasks one size"
            )
        if kind.keeps_channels and in_shape != out_shape and self.tone == "none":
            raise ValueError(
                f"generator {self.kind!r} cannot turn {in_shape[0]} channels into {out_shape[0]}"
            )
        if self.tone != "none" and from_spec.stack != to_spec.stack:
            raise ValueError(
                f"a tone layer cannot turn {from_spec.stack} frames into {to_spec.stack}; give "
                "both tasks one stack of frames"
            )
        if kind.keeps_stack and from_spec.stack != to_spec.stack:
            raise ValueError(
                f"generator {self.kind!r} cannot turn {from_spec.stack} frames into "
                f"{to_spec.stack}; give both tasks one stack of frames"
            )
        if kind.has_resnet and self.framewise and from_spec.stack != to_spec.stack:
            raise ValueError(
                f"{from_spec.stack} frames cannot be translated one by one to {to_spec.stack}; "
                "use --no-framewise"
            )


@dataclass(frozen=True)
class GeneratorKind:
    """A kind of generator.

    Attributes:
        build: makes one between two specs of states, or of single frames.
        keeps_channels: whether it gives as many channels as it takes.
        keeps_stack: whether it gives as many frames as it takes.
        has_resnet: whether it may translate each frame by itself.
    """

    build: Callable[[StateSpec, StateSpec, GeneratorDescription], nn.Module]
    keeps_channels: bool = False
    keeps_stack: bool = False
    has_resnet: bool = False


def _resnet(from_spec: StateSpec, to_spec: StateSpec, d: GeneratorDescription) -> PictureResnet:
    in_channels, out_channels = from_spec.state_shape[0], to_spec.state_shape[0]
    if from_spec.is_grid:
        return FullResolutionResnet(in_channels, out_channels, 4 * d.filters, d.blocks)
    if d.folded:
        return FoldedGenerator(in_channels, out_channels, 4 * d.filters // FOLD, d.blocks)
    resnet = ResnetGenerator(in_channels, out_channels, d.filters, d.blocks, d.norm, d.skips)
    init_normal(resnet)
    return resnet


def _resnet_rotation(
    from_spec: StateSpec, to_spec: StateSpec, d: GeneratorDescription
) -> nn.Module:
    return ResnetRotationGenerator(_resnet(from_spec, to_spec, d), d.angle_init)


def _affine_resnet(from_spec: StateSpec, to_spec: StateSpec, d: GeneratorDescription) -> nn.Module:
    return AffineResnetGenerator(_resnet(from_spec, to_spec, d), _affine(from_spec, to_spec, d))


def _rotation(from_spec: StateSpec, to_spec: StateSpec, d: GeneratorDescription) -> nn.Module:
    return RotationLayer(d.angle_init)


def _affine(from_spec: StateSpec, to_spec: StateSpec, d: GeneratorDescription) -> AffineLayer:
    _, height, width = from_spec.state_shape
    return AffineLayer(d.angle_init, aspect=height / width)


def _linear(from_spec: StateSpec, to_spec: StateSpec, d: GeneratorDescription) -> nn.Module:
    return LinearGenerator(from_spec.state_shape[0], to_spec.state_shape[0])


def _mlp(from_spec: StateSpec, to_spec: StateSpec, d: GeneratorDescription) -> nn.Module:
    return MlpGenerator(from_spec.state_shape[0], to_spec.state_shape[0], d.filters, d.blocks)


def _gain_shift(
    from_spec: StateSpec, to_spec: StateSpec, d: GeneratorDescription
) -> GainShiftLayer:
    return GainShiftLayer(from_spec.frame_shape[0], to_spec.frame_shape[0])


def _signal_resnet(
    from_spec: StateSpec, to_spec: StateSpec, d: GeneratorDescription
) -> SignalResnet:
    return SignalResnet(from_spec.state_shape[0], to_spec.state_shape[0], d.filters, d.blocks)


def _gain_shift_resnet(
    from_spec: StateSpec, to_spec: StateSpec, d: GeneratorDescription
) -> nn.Module:
    resnet = _signal_resnet(to_spec, to_spec, d)
    return GainShiftResnetGenerator(resnet, _gain_shift(from_spec, to_spec, d))


GENERATORS: dict[str, dict[str, GeneratorKind]] = {  # by the kind of states that it takes and gives
    IMAGE: {
        "resnet": GeneratorKind(_resnet, has_resnet=True),
        "rotation": GeneratorKind(_rotation, keeps_channels=True),
        "resnet-rotation": GeneratorKind(_resnet_rotation, has_resnet=True),
        "affine": GeneratorKind(_affine, keeps_channels=True),
        "affine-resnet": GeneratorKind(_affine_resnet, keeps_channels=True, has_resnet=True),
    },
    SIGNAL: {
        "resnet": GeneratorKind(_signal_resnet, has_resnet=True),
        "gain-shift": GeneratorKind(_gain_shift, keeps_stack=True),
        "gain-shift-resnet": GeneratorKind(_gain_shift_resnet, keeps_stack=True, has_resnet=True),
    },
    VECTOR: {"linear": GeneratorKind(_linear), "mlp": GeneratorKind(_mlp)},
}
