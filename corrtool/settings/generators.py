"""Kinds of generators, and those that have a layer whose start is searched for."""

from typing import Literal, TypeAlias

SPATIAL = ("rotation", "affine", "resnet-rotation", "affine-resnet")  # with a spatial layer
TONED = ("affine", "affine-resnet")  # that may have a tone layer
GAIN_SHIFT = ("gain-shift", "gain-shift-resnet")  # with a gain-and-shift layer, for signals

Generator: TypeAlias = Literal[
    "auto",
    "resnet",
    "rotation",
    "resnet-rotation",
    "affine",
    "affine-resnet",
    "gain-shift",
    "gain-shift-resnet",
    "linear",
    "mlp",
]
