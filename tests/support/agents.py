"""Small agents with a correspondence, one of each kind of generator, and random raw states."""

from __future__ import annotations

import torch
from torch import Tensor

from corrtool.correspondence.actions import ActionMap
from corrtool.correspondence.description import GeneratorDescription
from corrtool.correspondence.model import Correspondence
from corrtool.exchange.played_values import PlayedValues
from corrtool.q_learning.network import build_q_function
from corrtool.state_scaling import StateScaling
from corrtool.states import StateSpec

PICTURES = StateSpec("image", (1, 36, 32), 2)
COLOURS = StateSpec("image", (3, 36, 32), 2)
GRID = StateSpec("image", (3, 10, 10), 1)
SIGNALS, STEREO = StateSpec("signal", (1, 40), 2), StateSpec("signal", (2, 40), 2)
VECTORS, MORE = StateSpec("vector", (3,), 2), StateSpec("vector", (5,), 1)
SOURCE_ACTIONS = 4
ACTION_MAP = ActionMap((2, 0, 3, 2, 1), SOURCE_ACTIONS)

# Under a name: the target's states, the source's, the generator.
AGENTS = {
    "rotation": (PICTURES, PICTURES, GeneratorDescription("rotation", angle_init=30.0)),
    "affine": (PICTURES, PICTURES, GeneratorDescription("affine", angle_init=90.0)),
    "affine-tone": (COLOURS, PICTURES, GeneratorDescription("affine", tone="before")),
    "affine-resnet": (
        COLOURS,
        PICTURES,
        GeneratorDescription("affine-resnet", 2, 1, framewise=True, skips=True, tone="before"),
    ),
    "resnet": (PICTURES, COLOURS, GeneratorDescription("resnet", 2, 1)),
    "resnet-framewise": (
        PICTURES,
        PICTURES,
        GeneratorDescription("resnet", 2, 1, "batch", framewise=True),
    ),
    "resnet-grid": (GRID, GRID, GeneratorDescription("resnet", 2, 1)),
    "resnet-rotation": (PICTURES, PICTURES, GeneratorDescription("resnet-rotation", 2, 1)),
    "linear": (VECTORS, MORE, GeneratorDescription("linear")),
    "mlp": (VECTORS, MORE, GeneratorDescription("mlp", 8, 2)),
    "gain-shift": (SIGNALS, STEREO, GeneratorDescription("gain-shift")),
    "signal-resnet": (SIGNALS, STEREO, GeneratorDescription("resnet", 2, 1, framewise=True)),
    "gain-shift-resnet": (SIGNALS, STEREO, GeneratorDescription("gain-shift-resnet", 2, 1)),
}
ARCHITECTURES = {"image": "grid", "vector": "auto", "signal": "auto"}


def small_agent(
    name: str, action_map: ActionMap | None = None
) -> tuple[PlayedValues, Correspondence]:
    """The agent of that name with random weights, and the correspondence in it."""
    target, source, description = AGENTS[name]
    torch.manual_seed(0)
    correspondence = Correspondence(
        random_scaling(source), random_scaling(target), description, action_map
    )
    for parameter in correspondence.target_to_source.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)  # what starts at zero does something
    q = build_q_function(source, SOURCE_ACTIONS, ARCHITECTURES[source.kind], 16)
    return PlayedValues(q, target, correspondence.eval()), correspondence


def random_scaling(spec: StateSpec) -> StateScaling:
    """Scaling by statistics that are neither 0 nor 1."""
    scaling = StateScaling(spec)
    for buffer in scaling.buffers():
        buffer.copy_(1.0 + torch.rand(buffer.shape))
    return scaling


def raw_states(spec: StateSpec, count: int = 8) -> Tensor:
    """Random raw states."""
    random = torch.Generator().manual_seed(1)
    if spec.kind == "image":
        return torch.randint(0, 256, (count, *spec.state_shape), generator=random).byte()
    return torch.randn(count, *spec.state_shape, generator=random)
