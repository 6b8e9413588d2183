"""Chains of layers, described by data: networks of other libraries without a class of theirs.

A description is built from a manifest that may be hostile, so every number is checked, and the
sizes of all layers are worked out before anything is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

MAX_LAYERS = 256
MAX_SIZE = 1 << 24  # of any side, channel or unit, and of the numbers between two layers for one
# state; more is the lie of a hostile file
_MAX_AXES = 4

Shape = tuple[int, ...]
Number = bool | int | float | tuple[int, ...]

# The numbers of each kind of layer, with their types.
_FIELDS: dict[str, dict[str, type]] = {
    "conv2d": {"in": int, "out": int, "kernel": int, "stride": int, "padding": int, "bias": bool},
    "linear": {"in": int, "out": int, "bias": bool},
    "affine": {"shape": tuple},
    "flatten": {},
    "relu": {},
    "tanh": {},
    "sigmoid": {},
    "elu": {"alpha": float},
    "leaky_relu": {"slope": float},
}
_PLAIN: dict[str, Callable[[], nn.Module]] = {
    "flatten": nn.Flatten,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class Affine(nn.Module):
    """Each number times its own, and another one added; (B, *shape) → the same.

    What other libraries scale states with. A ``shape`` of nothing is one number for all.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))

    def forward(self, states: Tensor) -> Tensor:
        return states * self.weight + self.bias


@dataclass(frozen=True)
class Layer:
    """One layer: its kind and its numbers.

    Raises:
        ValueError: there is no such kind, or a number is missing, too much, or out of range.
    """

    kind: str
    numbers: tuple[tuple[str, Number], ...] = ()

    def __post_init__(self) -> None:
        given: dict[str, Any] = dict(self.numbers)
        fields = _FIELDS.get(self.kind)
        if fields is None:
            raise ValueError(f"there is no layer {str(self.kind)[:40]!r}")
        if set(given) != set(fields) or len(given) != len(self.numbers):
            raise ValueError(f"layer {self.kind} needs {', '.join(fields) or 'no numbers'}")
        for name, value in given.items():
            if type(value) is not fields[name] or not _in_range(name, value):
                raise ValueError(f"{name} of layer {self.kind} is {str(value)[:40]}")
        if self.kind == "conv2d" and given["padding"] >= given["kernel"]:
            raise ValueError(
                f"padding of layer conv2d is {given['padding']}, no less than its kernel, "
                f"{given['kernel']}"
            )

    @classmethod
    def of(cls, kind: str, **numbers: Number) -> Layer:
        """The layer with these numbers; ``inputs`` and ``outputs`` are ``in`` and ``out``."""
        names = {"inputs": "in", "outputs": "out"}
        return cls(kind, tuple((names.get(name, name), value) for name, value in numbers.items()))

    @classmethod
    def from_json(cls, table: Any) -> Layer:
        """The inverse of :meth:`to_json`. Raises ValueError."""
        if not isinstance(table, Mapping) or not isinstance(table.get("layer"), str):
            raise ValueError("a layer is no table with its kind")
        numbers = {name: value for name, value in table.items() if name != "layer"}
        if isinstance(shape := numbers.get("shape"), list):
            numbers["shape"] = tuple(shape)
        return cls(table["layer"], tuple(numbers.items()))

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it."""
        numbers = {n: list(v) if isinstance(v, tuple) else v for n, v in self.numbers}
        return {"layer": self.kind, **numbers}

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of one state after it. Raises ValueError where it does not take ``shape``."""
        given: dict[str, Any] = dict(self.numbers)
        if self.kind == "flatten":
            return (math.prod(shape),)
        if self.kind == "affine":
            if given["shape"] not in ((), shape):
                raise ValueError(f"layer affine of {given['shape']} gets {shape}")
            return shape
        if self.kind not in ("conv2d", "linear"):
            return shape
        if len(shape) != (3 if self.kind == "conv2d" else 1) or shape[0] != given["in"]:
            raise ValueError(f"layer {self.kind} takes {given['in']} inputs and gets {shape}")
        if self.kind == "linear":
            return (given["out"],)
        sides = tuple(
            (side + 2 * given["padding"] - given["kernel"]) // given["stride"] + 1
            for side in shape[1:]
        )
        if min(sides) < 1:
            raise ValueError(f"pictures of {shape[1]} × {shape[2]} are too small for layer conv2d")
        return (given["out"], *sides)

    def build(self) -> nn.Module:
        """A new layer."""
        given: dict[str, Any] = dict(self.numbers)
        if self.kind == "conv2d":
            return nn.Conv2d(
                given["in"],
                given["out"],
                given["kernel"],
                given["stride"],
                given["padding"],
                bias=given["bias"],
            )
        if self.kind == "linear":
            return nn.Linear(given["in"], given["out"], bias=given["bias"])
        if self.kind == "affine":
            return Affine(given["shape"])
        if self.kind == "elu":
            return nn.ELU(given["alpha"])
        if self.kind == "leaky_relu":
            return nn.LeakyReLU(given["slope"])
        return _PLAIN[self.kind]()


def _in_range(name: str, value: Any) -> bool:
    if name == "shape":
        return len(value) <= _MAX_AXES and all(
            type(side) is int and 0 < side <= MAX_SIZE for side in value
        )
    if isinstance(value, bool):
        return True
    if isinstance(value, float):
        return math.isfinite(value)
    return bool(int(name != "padding") <= value <= MAX_SIZE)


Layers = tuple[Layer, ...]


@dataclass(frozen=True)
class Chain:
    """The layers of a policy: what both heads look at, the logits, and the critic V(s) if any."""

    features: Layers
    logits: Layers
    critic: Layers | None = None

    @classmethod
    def from_json(cls, table: Any) -> Chain:
        """The inverse of :meth:`to_json`. Raises ValueError."""
        if not isinstance(table, Mapping) or not {"features", "logits"} <= set(table) <= {
            "features",
            "logits",
            "critic",
        }:
            raise ValueError("a chain has features, logits and perhaps a critic")
        return cls(**{name: _layers(layers) for name, layers in table.items()})

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it."""
        parts = {"features": self.features, "logits": self.logits, "critic": self.critic}
        return {
            name: [layer.to_json() for layer in layers]
            for name, layers in parts.items()
            if layers is not None
        }

    def check(self, state_shape: Shape, actions: int) -> None:
        """Raise ValueError unless each layer fits the one before, and the ends fit the task."""
        between = _after(self.features, state_shape)
        if (logits := _after(self.logits, between)) != (actions,):
            raise ValueError(f"its logits have the shape {logits}, for {actions} actions")
        if self.critic is not None and (value := _after(self.critic, between)) != (1,):
            raise ValueError(f"its critic has values of the shape {value}")


def _layers(tables: Any) -> Layers:
    if not isinstance(tables, Sequence) or isinstance(tables, str) or len(tables) > MAX_LAYERS:
        raise ValueError(f"the layers of a chain are no list of at most {MAX_LAYERS}")
    return tuple(Layer.from_json(table) for table in tables)


def _after(layers: Layers, shape: Shape) -> Shape:
    for layer in layers:
        shape = layer.output_shape(shape)
        if math.prod(shape) > MAX_SIZE:
            raise ValueError(f"layer {layer.kind} makes {math.prod(shape):,} numbers of a state")
    return shape


def build_layers(layers: Layers) -> nn.Sequential:
    """New layers, one after the other."""
    return nn.Sequential(*(layer.build() for layer in layers))
