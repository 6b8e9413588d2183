"""Which of corrtool's Q-functions weights are, and whether they fit a task."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Size, Tensor

from corrtool.exchange.foreign import ForeignFile
from corrtool.project.networks import MAX_BLOCKS
from corrtool.q_learning.network import ARCHITECTURES
from corrtool.q_learning.saved import QDescription
from corrtool.states import StateSpec

Shapes = Mapping[str, Size]


def description_of(
    file: ForeignFile, weights: Mapping[str, Tensor], spec: StateSpec, actions: int
) -> QDescription:
    """The Q-function for states of ``spec`` that has weights of these names and shapes.

    Raises:
        ArtifactError: there is none; the message says what differs.
    """
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    alike: Shapes | None = None  # of the architecture that has the same names
    for architecture in ARCHITECTURES[spec.kind]:
        widths = _widths(shapes) if architecture == "mlp" else None
        description = QDescription(spec, actions, architecture, widths=widths)
        try:
            with torch.device("meta"):  # takes no memory
                network = description.build()
        except (ValueError, RuntimeError):  # the pictures are too small, or a layer has no units
            continue
        expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
        if expected == shapes:
            return description
        if set(expected) == set(shapes) and alike is None:
            alike = expected
    if alike is None:
        raise file.refused(
            f"holds no Q-function for the states of the task ({spec}): {_names(shapes)}",
            f"corrtool's are {', '.join(ARCHITECTURES[spec.kind])} (docs/exchange.md)",
        )
    raise file.refused(f"does not fit the task: {_differences(shapes, alike)}")


def _widths(shapes: Shapes) -> tuple[int, ...] | None:
    """The units of each hidden layer of an mlp; None where the weights are not of one."""
    weights = [shapes.get(f"layers.{2 * i}.weight") for i in range(len(shapes) // 2)]
    sizes = [shape for shape in weights if shape is not None and len(shape) == 2]
    if len(sizes) != len(weights) or not 0 < len(sizes) <= MAX_BLOCKS:
        return None
    if any(0 in shape for shape in sizes):
        return None
    return tuple(shape[0] for shape in sizes[:-1])


def _names(shapes: Shapes, most: int = 12) -> str:
    shown = [f"{name[:60]} {tuple(shape)}" for name, shape in list(shapes.items())[:most]]
    return ", ".join(shown) + (" …" if len(shapes) > most else "") or "it has no weights"


def _differences(shapes: Shapes, expected: Shapes) -> str:
    """In what sizes a file's weights differ from those that the task needs."""
    has, needs = _sizes(expected, shapes), _sizes(expected, expected)
    told = [
        f"it has {has[what]:,} {what}, the task {needs[what]:,}"
        for what in has
        if has[what] != needs[what]
    ]
    if told:
        return "; ".join(told)
    name = next(name for name in expected if shapes[name] != expected[name])
    return f"{name} has the shape {tuple(shapes[name])}, not {tuple(expected[name])}"


def _sizes(order: Shapes, shapes: Shapes) -> dict[str, int]:
    """Inputs and outputs of weights in the order of the network's, as a person knows them."""
    layers = [name for name in order if name.endswith("weight") and len(order[name]) > 1]
    first, last = layers[0], layers[-1]
    if any(len(shapes[name]) != len(order[name]) for name in layers):
        return {}
    sizes = {"numbers in a state": shapes[first][1]}
    if len(order[first]) > 2:
        channels = "channels in a state (frames times colours)" if len(order[first]) == 4 else ""
        dense = next(name for name in layers if len(order[name]) == 2)
        sizes = {
            channels or "channels in a state": shapes[first][1],
            "numbers after the convolutions": shapes[dense][1],
        }
    return {**sizes, "actions": shapes[last][0]}
