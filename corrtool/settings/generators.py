"""Kinds of generators by name, and which of them have a layer whose start is searched for."""

from __future__ import annotations

from typing import Literal

Generator = Literal[
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
SPATIAL = ("rotation", "affine", "resnet-rotation", "affine-resnet")  # with a spatial layer
TONED = ("affine", "affine-resnet")  # that may have a tone layer
GAIN_SHIFT = ("gain-shift", "gain-shift-resnet")  # with a gain-and-shift layer, for signals
