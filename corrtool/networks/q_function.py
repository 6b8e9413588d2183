"""Q-functions: states in the q range → one value per action, (B, A)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from corrtool.networks.layers import init_normal, mlp
from corrtool.states import IMAGE, StateSpec

IMAGE_ARCHITECTURES = ("nature", "paper")
VECTOR_ARCHITECTURES = ("mlp", "linear")


class ConvolutionalQ(nn.Module):
    """``c-8-s-32, c-4-2-64, c-3-1-64, f-512, f-A`` of appendix 6.1; (B, C, H, W) in [0, 1] → (B, A).

    ``first_stride`` is 1 as printed, or 4 as in [23] and in the authors' code ("nature"). The last layer is
    linear although f-6 is called Fully connected-ReLU: Q-values in Pong are negative.
    """

    def __init__(self, state_shape: tuple[int, ...], actions: int, first_stride: int) -> None:
        super().__init__()
        channels, height, width = state_shape
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, 32, 8, stride=first_stride),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, stride=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        for size, stride in ((8, first_stride), (4, 2), (3, 1)):
            height, width = (height - size) // stride + 1, (width - size) // stride + 1
        self.head = nn.Sequential(nn.Linear(64 * height * width, 512), nn.ReLU(), nn.Linear(512, actions))

    def forward(self, states: Tensor) -> Tensor:
        q_values: Tensor = self.head(self.convolutions(states))
        return q_values


class VectorQ(nn.Module):
    """Fully connected Q-function, (B, n) → (B, A); two hidden layers of ``width`` units."""

    def __init__(self, size: int, actions: int, width: int) -> None:
        super().__init__()
        self.layers = mlp(size, width, 2, actions)

    def forward(self, states: Tensor) -> Tensor:
        q_values: Tensor = self.layers(states)
        return q_values


class LinearQ(nn.Module):
    """Q(s, a) = w_a · s, starting at zero. Over one-hot states it is the table of Algorithm 1."""

    def __init__(self, size: int, actions: int) -> None:
        super().__init__()
        self.table = nn.Linear(size, actions, bias=False)
        nn.init.zeros_(self.table.weight)

    def forward(self, states: Tensor) -> Tensor:
        q_values: Tensor = self.table(states)
        return q_values


def build_q_function(
    spec: StateSpec,
    actions: int,
    architecture: str = "auto",
    width: int = 256,
    init: Literal["default", "normal"] = "default",
) -> nn.Module:
    """A Q-function for states of ``spec``: 'nature' or 'paper' for images, 'mlp' or 'linear' for vectors.

    Raises:
        ValueError: the architecture does not go with the kind of state, or the picture is too small for it.
    """
    if architecture == "auto":
        architecture = "nature" if spec.kind == IMAGE else "mlp"
    fitting = IMAGE_ARCHITECTURES if spec.kind == IMAGE else VECTOR_ARCHITECTURES
    if architecture not in fitting:
        raise ValueError(f"Q-function {architecture!r} does not take {spec.kind} states; choose {' or '.join(fitting)}")
    network: nn.Module
    if spec.kind == IMAGE:
        stride = 1 if architecture == "paper" else 4
        if min(spec.state_shape[1:]) < (36 if stride == 4 else 15):
            raise ValueError(f"pictures of {spec.state_shape[1:]} are too small for Q-function {architecture!r}")
        network = ConvolutionalQ(spec.state_shape, actions, stride)
    elif architecture == "mlp":
        network = VectorQ(spec.state_shape[0], actions, width)
    else:
        return LinearQ(spec.state_shape[0], actions)
    if init == "normal":
        init_normal(network)
    return network
