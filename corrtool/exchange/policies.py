"""Policies of other libraries as chains of layers: each layer with its weights, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from corrtool.exchange.foreign import ForeignFile
from corrtool.q_learning.chain import Chain, Layer, Shape
from corrtool.q_learning.saved import CHAIN, QDescription
from corrtool.states import StateSpec

NATURE_CONVOLUTIONS = {0: (8, 4), 2: (4, 2), 4: (3, 1)}  # kernel and stride, by place


@dataclass
class LayerList:
    """The layers of one part of a policy so far, and their weights under corrtool's names.

    Args:
        file: that it is read from, for errors.
        name: of the part.
    """

    file: ForeignFile
    name: str
    layers: list[Layer] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)

    def add(self, layer: Layer, **weights: Tensor | None) -> None:
        """Add a layer, and its ``weight`` and ``bias`` where it has them."""
        place = f"{self.name}.{len(self.layers)}"
        self.layers.append(layer)
        self.weights |= {f"{place}.{n}": w for n, w in weights.items() if w is not None}

    def add_activation(self, kind: str) -> None:
        """Add an activation with the numbers that torch takes without being told."""
        numbers = {"elu": {"alpha": 1.0}, "leaky_relu": {"slope": 0.01}}
        self.add(Layer.of(kind, **numbers.get(kind, {})))

    def add_linear(self, weight: Tensor, bias: Tensor | None) -> None:
        """Add a fully connected layer. Raises :class:`ArtifactError`."""
        self._check(weight, bias, 2, "a fully connected layer")
        self._add_sized(
            "linear", {"inputs": weight.shape[1], "outputs": weight.shape[0]}, weight, bias
        )

    def add_convolution(
        self, weight: Tensor, bias: Tensor | None, stride: int, padding: int = 0
    ) -> None:
        """Add a convolution of pictures with square filters. Raises :class:`ArtifactError`."""
        self._check(weight, bias, 4, "a convolution")
        if weight.shape[2] != weight.shape[3]:
            raise self.file.refused(f"has filters of {weight.shape[2]} × {weight.shape[3]}")
        numbers = {"inputs": weight.shape[1], "outputs": weight.shape[0]}
        numbers |= {"kernel": weight.shape[2], "stride": stride, "padding": padding}
        self._add_sized("conv2d", numbers, weight, bias)

    def add_nature(self, named: Mapping[str, Tensor], prefix: str) -> None:
        """Add the convolutions of Mnih et al. 2015, ``prefix.{0,2,4}``, each with ReLU.

        Raises :class:`ArtifactError` where they are others.
        """
        for place, (kernel, stride) in NATURE_CONVOLUTIONS.items():
            weight = required(self.file, named, f"{prefix}.{place}.weight")
            self.add_convolution(
                weight, required(self.file, named, f"{prefix}.{place}.bias"), stride
            )
            if weight.shape[2] != kernel:
                raise self.file.refused(
                    f"has filters of {weight.shape[2]} × {weight.shape[3]} where those of Mnih et "
                    f"al. 2015 have {kernel} × {kernel}, so their strides are not known"
                )
            self.add_activation("relu")
        self.add(Layer.of("flatten"))

    def _check(self, weight: Tensor, bias: Tensor | None, axes: int, what: str) -> None:
        if weight.ndim != axes or 0 in weight.shape:
            raise self.file.refused(f"holds {what} of the shape {tuple(weight.shape)[:8]}")
        if bias is not None and bias.shape != weight.shape[:1]:
            raise self.file.refused(
                f"holds {what} of {weight.shape[0]:,} outputs with {bias.numel():,} biases"
            )

    def _add_sized(
        self, kind: str, numbers: dict[str, int], weight: Tensor, bias: Tensor | None
    ) -> None:
        try:
            layer = Layer.of(kind, **numbers, bias=bias is not None)
        except ValueError as error:
            raise self.file.refused(f"cannot be built: {error}") from None
        self.add(layer, weight=weight, bias=bias)


def required(file: ForeignFile, named: Mapping[str, Tensor], name: str) -> Tensor:
    """The weight of this name. Raises :class:`ArtifactError`."""
    if name not in named:
        raise file.refused(f"lacks the weight {name}, so it is no policy of its kind")
    return named[name]


def chain_of(features: LayerList, logits: LayerList, critic: LayerList | None) -> Chain:
    """The description of these parts together."""
    values = None if critic is None else tuple(critic.layers)
    return Chain(tuple(features.layers), tuple(logits.layers), values)


def policy_description(
    file: ForeignFile, chain: Chain, spec: StateSpec, actions: int
) -> QDescription:
    """The policy for states of ``spec``. Raises :class:`ArtifactError` where it does not fit."""
    first = [layer for layer in (*chain.features, *chain.logits) if _sizes(layer)]
    if first and (told := _differences(first, spec.state_shape, actions)):
        raise file.refused(f"does not fit the task: {told}")
    try:
        chain.check(spec.state_shape, actions)
    except ValueError as error:
        raise file.refused(f"does not fit the task ({spec}): {error}") from None
    return QDescription(spec, actions, CHAIN, values="logits", chain=chain)


def _sizes(layer: Layer) -> tuple[int, int] | None:
    numbers = dict(layer.numbers)
    sized = layer.kind in ("conv2d", "linear")
    return (int(numbers["in"]), int(numbers["out"])) if sized else None  # type: ignore[arg-type]


def _differences(layers: list[Layer], shape: Shape, actions: int) -> str:
    """In what the ends of a chain are not those that the task needs, in words."""
    ends, told = [_sizes(layer) for layer in (layers[0], layers[-1])], []
    assert ends[0] is not None and ends[1] is not None
    if layers[0].kind == "conv2d" and len(shape) == 3 and ends[0][0] != shape[0]:
        what = "channels in a state (frames times colours)"
        told.append(f"it has {ends[0][0]:,} {what}, the task {shape[0]:,}")
    if layers[0].kind == "linear" and len(shape) == 1 and ends[0][0] != shape[0]:
        told.append(f"it has {ends[0][0]:,} numbers in a state, the task {shape[0]:,}")
    if ends[1][1] != actions:
        told.append(f"it has {ends[1][1]:,} actions, the task {actions:,}")
    return "; ".join(told)
